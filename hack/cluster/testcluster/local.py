"""The local provider: a single-node cluster of real components in a network namespace of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from testcluster import (
    binaries,
    cgroups,
    cleanup,
    commandlines,
    configs,
    identity,
    images,
    layout,
    machine,
    network,
    pki,
    probes,
    providers,
)
from testcluster.archive import Image
from testcluster.commands import run, write_whole
from testcluster.errors import ClusterError, CommandError
from testcluster.places import REPOSITORY, Places
from testcluster.providers import Provider

_START_SECONDS: Final = 120.0
#: Sets without which the cluster does not run; helm and kubectl are for those who use it.
_BINARIES: Final = tuple(one.name for one in binaries.SETS)


def up(places: Places) -> None:
    """Bring the cluster up: a no-op when it is, a rebuild from nothing when it crashed or was left half-built.

    Raises:
        ClusterError: something is missing on this machine, or a component did not become ready (its log is named).
    """
    machine.require_root()
    machine.install_missing()
    binaries.build(_BINARIES, cache=places.cache)
    network.require_free(places.name)
    started = time.monotonic()
    if cleanup.supervisors(places) and network.exists(places.name) and places.kubeconfig.exists():
        if cleanup.plan_file(places).read_bytes() != commandlines.plan(places).encode():
            print("this cluster was started from an older definition; 'down' and 'up' renew it", flush=True)
    else:
        if places.state.exists():
            print("removing what an earlier cluster left", flush=True)
        cleanup.remove(places)
        _prepare(places)
        _launch(places)
    _await_ready(places, started=started)


def down(places: Places) -> None:
    """Remove the cluster and all it left; safe to call twice and after a crash."""
    machine.require_root()
    cleanup.remove(places)


def status(places: Places) -> bool:
    """Print what runs; return whether the cluster is up and its node ready."""
    running = cleanup.supervisors(places)
    print(f"supervisor: {'runs' if running else 'does not run'}")
    for daemon in commandlines.plan(places).daemons:
        process = daemon_pid(places, daemon.name)
        print(f"{daemon.name:24} {f'pid {process}' if process else 'does not run'}")
    ready = bool(running) and probes.succeeds(commandlines.api_ready(places)) and _node_ready(places)
    print(f"node: {'ready' if ready else 'not ready'}")
    return ready


def daemon_pid(places: Places, name: str) -> int | None:
    """Return the pid of one supervised process; None when it does not run."""
    process = identity.read_pid_file(places.pids / f"{name}.pid")
    return process.pid if process else None


def load(places: Places, image: Image) -> bool:
    """Load an image into the container runtime; return False when exactly this one was loaded before."""
    record = places.state / "images" / image.name.replace("/", "_").replace(":", "_")
    if record.exists() and record.read_text(encoding="ascii") == image.digest:
        return False
    ctr = binaries.program("ctr", cache=places.cache)
    socket = configs.socket(places)
    run([ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", image.file])
    write_whole(record, image.digest.encode("ascii"))
    return True


def _prepare(places: Places) -> None:
    """Make everything that the processes read: folders, certificates, configuration, network, control groups."""
    for folder in (places.state, places.run):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    for folder in (places.logs, places.pids):
        folder.mkdir(exist_ok=True)
    providers.record(places, Provider.LOCAL)
    machine.save_settings(cleanup.settings_file(places))
    cleanup.make_folders(places)
    network.create(places.name)
    cgroups.create(places.name)
    pki.write_all(places.certificates, now=datetime.now(tz=UTC))
    for user in pki.USERS:
        target = (
            places.kubeconfig if user.file == "admin" else places.certificates / f"{user.file}.kubeconfig"
        )
        write_whole(target, _kubeconfig(places, user.file), mode=0o600)
    cni = binaries.program("bridge", cache=places.cache).parent
    for name, text in configs.files(places, cni=cni).items():
        write_whole(places.configs / name, text.encode())
    write_whole(cleanup.plan_file(places), commandlines.plan(places).encode())


def _kubeconfig(places: Places, user: str) -> bytes:
    pki_folder = places.certificates
    return configs.kubeconfig(
        context=layout.namespace(places.name),
        authority=(pki_folder / "ca.crt").read_bytes(),
        certificate=(pki_folder / f"{user}.crt").read_bytes(),
        key=(pki_folder / f"{user}.key").read_bytes(),
    )


def _launch(places: Places) -> None:
    """Start the supervisor in namespaces of its own; it outlives this command."""
    argv = [
        *("unshare", "--mount", "--propagation", "slave", "--"),
        *("nsenter", f"--net={network.path(places.name)}", "--"),
        *(sys.executable, str(REPOSITORY / "hack" / "cluster"), "supervise", str(cleanup.plan_file(places))),
    ]
    with (places.logs / "supervisor.log").open("ab") as log:
        subprocess.Popen(
            argv,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(places: Places, *, started: float) -> None:
    """Wait until a pod could run, and say after how many seconds each step was done."""

    def step(what: str, ready: Callable[[], bool], log: str) -> None:
        hint = f"{what} (see {places.logs / log})"
        probes.wait(ready, seconds=_START_SECONDS, what=hint)
        print(f"{time.monotonic() - started:5.1f} s  {what}", flush=True)

    runtime = probes.Probe(probes.Kind.UNIX, str(configs.socket(places)))
    step("containerd accepts", lambda: probes.succeeds(runtime), "containerd.log")
    load(places, images.pause(places.cache))
    api = commandlines.api_ready(places)
    step("API server is ready", lambda: probes.succeeds(api), "kube-apiserver.log")
    step("cluster DNS has its Service", lambda: _apply_dns(places), "kube-apiserver.log")
    step("node is ready", lambda: _node_ready(places), "kubelet.log")
    step(
        "default service account exists", lambda: _has_service_account(places), "kube-controller-manager.log"
    )


def kubectl(places: Places, *arguments: str, stdin: bytes = b"") -> str:
    """Run our kubectl against the cluster and return what it printed."""
    program = binaries.program("kubectl", cache=places.cache)
    return run([program, f"--kubeconfig={places.kubeconfig}", *arguments], stdin=stdin, timeout=60)


def _apply_dns(places: Places) -> bool:
    file = places.configs / "dns-service.yaml"
    try:
        kubectl(places, "apply", "--server-side", "--force-conflicts", "--filename", str(file))
    except CommandError:  # the API server is a second old: its own namespaces may not exist yet
        return False
    return True


def _node_ready(places: Places) -> bool:
    try:
        node: dict[str, Any] = json.loads(kubectl(places, "get", "node", layout.NODE_NAME, "--output=json"))
    except CommandError:
        return False
    conditions = {one["type"]: one["status"] for one in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _has_service_account(places: Places) -> bool:
    try:
        kubectl(places, "get", "serviceaccount", "default", "--namespace=default")
    except CommandError:
        return False
    return True


def require_up(places: Places) -> None:
    """Refuse to go on without a running cluster.

    Raises:
        ClusterError: it is not up; the message says how to bring it up.
    """
    if not cleanup.supervisors(places) or not probes.succeeds(commandlines.api_ready(places)):
        raise ClusterError(
            f"the cluster {places.name!r} is not up: python hack/cluster up --name {places.name}"
        )
