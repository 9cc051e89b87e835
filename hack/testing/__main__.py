"""``make test``: every check and every test, in the order in which a mistake is found soonest.

The cluster is started before the tests that need it and stopped at the end, whatever happened, unless it was
running before.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CLUSTER = (sys.executable, "hack/cluster")


def main() -> int:
    """Run everything; return 0 only when everything passed."""
    began = time.monotonic()
    with_cluster = subprocess.Popen([*CLUSTER, "build"], cwd=ROOT)
    try:
        failed = _stages(
            ("style", [BIN / "ruff", "check", "."]),
            ("format", [BIN / "ruff", "format", "--check", "."]),
            ("imports", [BIN / "lint-imports", "--no-cache"]),
            ("types", [BIN / "mypy"]),
        )
        if with_cluster.wait() != 0:
            return _end(began, ["build of the cluster"])
        failed += _stages(("generated files", [sys.executable, "hack/manifests/render.py", "--check"]))
        failed += _with_cluster()
    finally:
        with_cluster.terminate()
        with_cluster.wait()
    return _end(began, failed)


def _with_cluster() -> list[str]:
    was_up = _quietly([*CLUSTER, "status"]) == 0
    try:
        failed = _stages(("cluster", [*CLUSTER, "up"]), ("images", [*CLUSTER, "images"]))
        if failed:
            return failed
        pytest = [sys.executable, "-m", "pytest", "--durations=15"]
        # The definitions are tested first, on an API server where no operator answers to the examples.
        return _stages(
            ("tests without the operator in the cluster", [*pytest, "tests", "--ignore=tests/e2e"]),
            ("tests of the operator in the cluster", [*pytest, "tests/e2e"]),
        )
    finally:
        if not was_up:
            _run([*CLUSTER, "down"])


def _stages(*stages: tuple[str, Sequence[str | Path]]) -> list[str]:
    failed = []
    for name, command in stages:
        began = time.monotonic()
        print(f"==> {name}", flush=True)
        code = _run(command)
        print(
            f"<== {name}: {'ok' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if code != 0:
            failed.append(name)
    return failed


def _run(command: Sequence[str | Path]) -> int:
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode


def _quietly(command: Sequence[str | Path]) -> int:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, check=False
    ).returncode


def _end(began: float, failed: Sequence[str]) -> int:
    print(
        f"make test: {time.monotonic() - began:.0f} s; "
        + (f"FAILED: {', '.join(failed)}" if failed else "all passed")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
