"""Runs ``kubectl mtls`` in this process, as somebody at a terminal or a pipe sees it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

from mtls_operator.cli.main import main


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``-o json`` printed."""
        return dict(json.loads(self.out))


def run(*arguments: str, stdin: str = "") -> Ended:
    """Run a command without a terminal, with a text on standard input."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
    finally:
        sys.stdin = before
    return Ended(code, out.getvalue(), err.getvalue())
