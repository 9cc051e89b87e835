"""Commands as a person would type them: shown, then run, with what they answer."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from release import CommandError, Shell


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell in a folder, for the cluster of the demo."""

    shell: Shell
    folder: Path

    def type(self, command: str, *, show: bool = True) -> str:
        """Show a command, run it, and return what it printed; ``show``: print that, too.

        Raises:
            CommandError: it failed.
        """
        return self._run(command, show=show, clock=False)

    def follow(self, command: str) -> str:
        """The same, for a command that takes long: every line when it comes, behind the seconds since the start."""
        return self._run(command, show=True, clock=True)

    def _run(self, command: str, *, show: bool, clock: bool) -> str:
        print(f"  $ {command}", flush=True)
        began, lines = time.monotonic(), []
        with subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            env={**self.shell.environment, "PYTHONUNBUFFERED": "1"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in process.stdout:
                lines.append(line)
                if show:
                    when = f"{time.monotonic() - began:6.1f} s  " if clock else ""
                    print(f"    {when}{line.rstrip()}", flush=True)
        if process.returncode != 0:
            raise CommandError(f"{command}: {''.join(lines).strip()}")
        return "".join(lines)
