"""The test cluster as tests see it: kubectl, helm, and the environment that goes with them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def cluster_environment() -> dict[str, str]:
    """Return the environment of the cluster that is up; fail the test when there is none."""
    done = subprocess.run(
        [sys.executable, "hack/cluster", "env"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"no test cluster is up (make local-cluster-up): {done.stderr.strip()}")
    environment = dict(os.environ)
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            environment[name] = value.replace("$PATH", os.environ.get("PATH", ""))
    return environment


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Run kubectl against the test cluster; the arguments are its own, ``stdin`` is text."""
    environment = cluster_environment()

    def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    return run
