"""Brings up the test cluster and installs the chart of this checkout into it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = (sys.executable, str(ROOT / "hack" / "cluster"))
NAMESPACE = "mtls-system"
RELEASE = "mtls-operator"


class CommandError(Exception):
    """A command failed; the message has its words."""


def up() -> None:
    """Start the cluster and load our images into it."""
    for verb in ("up", "images"):
        if subprocess.run([*CLUSTER, verb], check=False).returncode != 0:
            raise CommandError(f"hack/cluster {verb} failed, see above")


def down() -> None:
    """Stop the cluster and remove every trace of it."""
    if subprocess.run([*CLUSTER, "down"], check=False).returncode != 0:
        raise CommandError("hack/cluster down failed, see above")


class Shell:
    """Runs kubectl and helm against the test cluster, and nothing else."""

    def __init__(self) -> None:
        self.environment = {**os.environ, **_cluster_environment()}
        # kubectl finds its plugin `kubectl mtls` on the PATH, where `make` has put it: beside this Python.
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.environment['PATH']}"

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command and return what it printed.

        Raises:
            CommandError: it failed and ``check`` is set.
        """
        done = subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT
        )
        if check and done.returncode != 0:
            raise CommandError(f"{shlex.join(command[:6])}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin, check=check)

    def get(self, *arguments: str) -> Any:
        """Return what ``kubectl get -o json`` gives."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


def _cluster_environment() -> dict[str, str]:
    done = subprocess.run([*CLUSTER, "env"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"no cluster is up: {done.stderr.strip()}")
    exports = {}
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            exports[name] = value.replace("$PATH", os.environ.get("PATH", ""))
    return exports


def install(shell: Shell, *values: str) -> None:
    """Install or upgrade the chart with the images of this checkout, and wait until it is ready.

    ``values`` stand in the place of the chart's defaults, as Helm's ``--set`` takes them.
    """
    began = time.monotonic()
    print("Installing the chart ...", flush=True)
    shell.run(
        "helm",
        "upgrade",
        "--install",
        RELEASE,
        str(ROOT / "charts" / "mtls-operator"),
        f"--namespace={NAMESPACE}",
        "--create-namespace",
        "--take-ownership",
        f"--set={','.join(('image.tag=dev', 'proxy.image.tag=dev', _same_tag_other_image(), *values))}",
        "--wait=legacy",
        "--timeout=180s",
    )
    print(f"The operator is ready ({time.monotonic() - began:.0f} s).", flush=True)


def _same_tag_other_image() -> str:
    """Return values that make pods start anew when the source changed under the same tag."""
    sources = (
        file for file in (ROOT / "operator" / "src").rglob("*") if file.suffix in (".py", ".lua", ".pem")
    )
    newest = max(file.stat().st_mtime_ns for file in sources)
    return ",".join(f"{component}.podAnnotations.source=t{newest}" for component in ("operator", "webhook"))
