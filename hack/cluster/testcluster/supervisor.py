"""One daemon that starts the processes of the local cluster, starts them again when they end, and ends them.

It runs in the cluster's network namespace and in a mount namespace of its own, so that every mount of the container
runtime goes away with the processes. It is a single thread: its children ask the kernel to be killed when the thread
that made them is gone, so that nothing survives the supervisor but containers and their shims, which ``cleanup`` finds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testcluster import identity, probes
from testcluster.commandlines import Daemon, Plan, decode
from testcluster.commands import run, write_whole

PID_NAME: Final = "supervisor"
_PR_SET_PDEATHSIG: Final = 1
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 10.0
_STEADY_SECONDS: Final = 30.0
_TICK: Final = 0.1
_GRACE: Final = 3.0


@dataclass(slots=True)
class Slot:
    """What the supervisor knows about one of its processes; the only thing here that changes."""

    daemon: Daemon
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = _FIRST_DELAY
    due: float = 0.0


def next_delay(previous: float, *, ran: float) -> float:
    """Return how long to wait before a process that ended is started again: doubling, reset by a steady run."""
    return _FIRST_DELAY if ran >= _STEADY_SECONDS else min(previous * 2, _LONGEST_DELAY)


def supervise(plan_file: Path) -> None:
    """Run the processes of a plan until SIGTERM, then end them, the last started first."""
    plan = decode(plan_file.read_bytes())
    mine = identity.observe(os.getpid())
    if mine is None:
        raise RuntimeError("a running process must find itself in /proc")
    write_whole(Path(plan.pids) / f"{PID_NAME}.pid", mine.encode())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    _mount(plan)
    slots = [Slot(daemon) for daemon in plan.daemons]
    try:
        while not _stop_requested():
            for slot in slots:
                _step(slot, plan, now=time.monotonic())
    finally:
        _stop(slots, plan)
        (Path(plan.pids) / f"{PID_NAME}.pid").unlink(missing_ok=True)


def _mount(plan: Plan) -> None:
    run(["mount", "--make-rshared", "/"])  # shared inside this namespace only: mountPropagation works in pods
    for folder, source in sorted(plan.mounts.items()):
        Path(source).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", source, folder])


def _stop_requested() -> bool:
    received = signal.sigtimedwait({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}, _TICK)
    return received is not None and received.si_signo != signal.SIGCHLD


def _step(slot: Slot, plan: Plan, *, now: float) -> None:
    """Collect a process that ended; start one whose time has come and whose dependencies are ready."""
    if slot.child is not None:
        code = slot.child.poll()
        if code is None:
            return
        slot.delay = next_delay(slot.delay, ran=now - slot.started)
        slot.due = now + slot.delay
        slot.child = None
        _log(f"{slot.daemon.name} ended with code {code}; again in {slot.delay:.1f} s")
    if now < slot.due:
        return
    if all(probes.succeeds(probe) for probe in slot.daemon.after):
        slot.child = _start(slot.daemon, plan)
        slot.started = time.monotonic()
    else:
        slot.due = time.monotonic() + _TICK


def _start(daemon: Daemon, plan: Plan) -> subprocess.Popen[bytes]:
    with (Path(plan.logs) / f"{daemon.name}.log").open("ab") as log:
        child = subprocess.Popen(
            daemon.argv,
            env={"PATH": daemon.path, "HOME": "/root", "LANG": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_child(os.getpid()),  # noqa: PLW1509 - safe: this process has one thread
        )
    seen = identity.observe(child.pid)
    if seen is not None:
        write_whole(Path(plan.pids) / f"{daemon.name}.pid", seen.encode())
    _log(f"{daemon.name} started as {child.pid}")
    return child


def _child(parent: int) -> Callable[[], None]:
    """Return what a child does before it becomes the program: die with the parent, take signals as usual."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return prepare


def _stop(slots: list[Slot], plan: Plan) -> None:
    """End the processes, the last started first; each gets a few seconds, because what it keeps is deleted anyway."""
    for slot in reversed(slots):
        if slot.child is None:
            continue
        slot.child.terminate()
        try:
            slot.child.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            slot.child.kill()
            slot.child.wait()
        (Path(plan.pids) / f"{slot.daemon.name}.pid").unlink(missing_ok=True)
        _log(f"{slot.daemon.name} stopped")


def _log(message: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), message, flush=True)
