"""Which process is ours: a pid alone is not enough, because the kernel uses numbers again.

A process is named by its pid, its start time (field 22 of ``/proc/<pid>/stat``, in clock ticks since boot; proc(5))
and the boot that these ticks count from.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one boot of the machine."""

    pid: int
    start: int
    boot: str

    def encode(self) -> bytes:
        """Return the content of a pid file."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


def decode(content: bytes) -> Process | None:
    """Return the process that a pid file names; None when the file is damaged (a crash while it was written)."""
    try:
        fields = json.loads(content)
        return Process(pid=int(fields["pid"]), start=int(fields["start"]), boot=str(fields["boot"]))
    except (ValueError, KeyError, TypeError):
        return None


def start_time(stat: str) -> int:
    """Return field 22 of a ``/proc/<pid>/stat`` line; the command name before it may contain spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[19])


def state(stat: str) -> str:
    """Return field 3 of a ``/proc/<pid>/stat`` line: ``Z`` is a process that ended and was not collected yet."""
    return stat.rpartition(")")[2].split()[0]


def boot_id(*, proc: Path = _PROC) -> str:
    """Return the kernel's random name of this boot."""
    return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def observe(pid: int, *, proc: Path = _PROC) -> Process | None:
    """Return the running process with this pid; None when there is none, or only its remains."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state(stat) in "ZX":
        return None
    return Process(pid=pid, start=start_time(stat), boot=boot_id(proc=proc))


def read_pid_file(path: Path) -> Process | None:
    """Return the process that a pid file names if it still runs; None for a missing, damaged or stale file."""
    try:
        named = decode(path.read_bytes())
    except FileNotFoundError:
        return None
    return named if named is not None and runs(named) else None


def runs(process: Process) -> bool:
    """Tell whether exactly this process still runs."""
    return observe(process.pid) == process


def end(processes: Iterable[Process], *, grace: float) -> list[Process]:
    """End processes: SIGTERM, after ``grace`` seconds SIGKILL; return those that are still there 10 s later."""
    left = [process for process in processes if runs(process)]
    for process in left:
        _send(process, signal.SIGTERM if grace > 0 else signal.SIGKILL)
    left = _wait(left, seconds=grace)
    for process in left:
        _send(process, signal.SIGKILL)
    return _wait(left, seconds=10)


def with_arguments(*words: str) -> list[Process]:
    """Return the running processes whose command line contains all these words, each as one whole argument."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if all(word in arguments for word in words):
            process = observe(int(entry.name))
            if process is not None:
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def _send(process: Process, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if runs(
            process
        ):  # asked after the handle is held: from here on the number cannot mean another process
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _wait(processes: list[Process], *, seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    left = [process for process in processes if runs(process)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [process for process in left if runs(process)]
    return left
