"""The ``mtls-operator`` command as a process of its own, as in its container."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SECONDS = 30
COMMAND = (sys.executable, "-m", "mtls_operator.main")


def completed(*arguments: str, program: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command (or a program's text) to its end."""
    command = [sys.executable, "-c", program] if program else [*COMMAND, *arguments]
    return subprocess.run(
        command,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


async def started(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Start the command; its log can be read from ``stderr``."""
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=os.environ | variables, stderr=asyncio.subprocess.PIPE
    )


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the lines of a log in JSON."""
    return [json.loads(line) for line in text.splitlines()]


def kubeconfig(folder: Path, server: str) -> str:
    """Write a kubeconfig and return its path."""
    file = folder / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t0ken"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return str(file)
