"""The Go programs of the tests (tests/support/go): built once for a run, from the standard library alone."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).with_name("go")
DEADLINE = 60


def run(program: str, order: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a program with an order on its standard input."""
    return subprocess.run(
        [_programs() / program],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def start(program: str) -> subprocess.Popen[str]:
    """Start a program that is told what to do, line by line, as it runs; what it complains of goes to our own."""
    return subprocess.Popen([_programs() / program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@functools.cache
def _programs() -> Path:
    """Build every program and return their folder; Go's own cache makes this quick from the second run on."""
    if shutil.which("go") is None:
        raise RuntimeError("Go is missing: CONTRIBUTING.md says what the tests need")
    # Kept until the tests end; a parallel run has its own.
    folder = tempfile.TemporaryDirectory(prefix="mtls-operator-go-")
    _folders.append(folder)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOWORK": "off",
        "GOPROXY": "off",
    }
    built = subprocess.run(
        ["go", "build", "-trimpath", "-buildvcs=false", "-o", f"{folder.name}/", "./..."],
        cwd=SOURCES,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        raise RuntimeError(f"the Go programs of the tests do not build:\n{built.stderr}")
    return Path(folder.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []
