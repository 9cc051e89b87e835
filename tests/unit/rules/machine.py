"""Runs compiled rules as the proxy does, and reads the corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mtls_operator.cli.rule.machine import Machine

__all__ = ["Machine", "corpus"]


def corpus() -> list[dict[str, Any]]:
    """Return the cases of ``corpus.jsonl``."""
    text = Path(__file__).with_name("corpus.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]
