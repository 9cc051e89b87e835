"""The programs of the local cluster, built from pinned Go modules and cached.

Each set has a folder with ``go.mod`` and ``go.sum``: the build is pinned and verified by them, and the cache is keyed
by them and by the build flags. Which proxy the modules come from is the environment's matter.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testcluster.commands import locked
from testcluster.errors import ClusterError, CommandError
from testcluster.places import GO_SETS

_FLAGS: Final = ("-mod=readonly", "-trimpath", "-buildvcs=false")
_STRIP: Final = "-s -w"
_PROGRESS_SECONDS: Final = 15.0
_KUBERNETES: Final = "v1.36.3"
_VERSION: Final = {
    "gitVersion": _KUBERNETES,
    "gitMajor": _KUBERNETES[1:].split(".")[0],
    "gitMinor": _KUBERNETES[1:].split(".")[1],
    "gitCommit": "modules",
    "gitTreeState": "clean",
}


@dataclass(frozen=True, slots=True)
class BinarySet:
    """Programs that are built from one module: file name -> import path."""

    name: str
    programs: Mapping[str, str]
    stamp: tuple[str, ...] = ()

    @property
    def linker(self) -> str:
        """The value of ``-ldflags``."""
        return " ".join([_STRIP, *(f"-X {stamp}" for stamp in self.stamp)])


SETS: Final = (
    BinarySet(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            )
        },
        # The second package is what clients call themselves: without it the audit log shows v0.0.0.
        stamp=tuple(
            f"{package}.{variable}={value}"
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for variable, value in _VERSION.items()
        ),
    ),
    BinarySet("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    BinarySet(
        "containerd",
        {
            name: f"github.com/containerd/containerd/v2/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
    ),
    BinarySet(
        "cni",
        {
            "host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
            "bridge": "github.com/containernetworking/plugins/plugins/main/bridge",
            "loopback": "github.com/containernetworking/plugins/plugins/main/loopback",
            "portmap": "github.com/containernetworking/plugins/plugins/meta/portmap",
        },
    ),
    BinarySet("coredns", {"coredns": "github.com/coredns/coredns"}),
    BinarySet("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
)

#: What a user of the cluster types, whatever the provider.
CLIENT_PROGRAMS: Final = ("kubectl", "helm")


def digest(module: str, sums: str, *, linker: str, machine: str) -> str:
    """Return the cache key of a build: of the pinned modules, the flags and the machine's architecture."""
    whole = hashlib.sha256()
    for part in (module, sums, *_FLAGS, linker, machine):
        encoded = part.encode()
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()[:16]


def folder(binaries: BinarySet, *, cache: Path, sources: Path = GO_SETS) -> Path:
    """Return the folder in which the programs of a set are, or will be."""
    source = sources / binaries.name
    key = digest(
        (source / "go.mod").read_text(encoding="utf-8"),
        (source / "go.sum").read_text(encoding="utf-8"),
        linker=binaries.linker,
        machine=platform.machine(),
    )
    return cache / "bin" / f"{binaries.name}-{key}"


def program(name: str, *, cache: Path) -> Path:
    """Return the path of one program, built or not.

    Raises:
        ClusterError: no set contains such a program.
    """
    for binaries in SETS:
        if name in binaries.programs:
            return folder(binaries, cache=cache) / name
    raise ClusterError(f"no program named {name!r} is built here")


def built(binaries: BinarySet, *, cache: Path) -> bool:
    """Tell whether a set is in the cache; a folder appears there only when it is complete."""
    return folder(binaries, cache=cache).is_dir()


def build(names: Sequence[str], *, cache: Path) -> None:
    """Build the sets with these names which are not in the cache yet, with progress on standard output.

    Two runs do not collide: the second waits and finds the work done.

    Raises:
        ClusterError: Go is missing or a build failed.
    """
    with locked(cache / "bin" / ".lock", waiting="waiting for another build of the programs to end ..."):
        missing = [one for one in SETS if one.name in names and not built(one, cache=cache)]
        if missing and shutil.which("go") is None:
            raise ClusterError(
                "Go is missing: the local cluster is built from source. Install Go (its version is the go line of "
                f"{GO_SETS / 'kubernetes' / 'go.mod'}) and put it on PATH."
            )
        for number, binaries in enumerate(missing, start=1):
            build_set(binaries, cache=cache, title=f"[{number}/{len(missing)}] {binaries.name}")


def build_set(binaries: BinarySet, *, cache: Path, title: str) -> None:
    """Build one set into a temporary folder and move it into the cache when it is complete."""
    target = folder(binaries, cache=cache)
    started = time.monotonic()
    print(f"{title}: building {', '.join(binaries.programs)}", flush=True)
    for stale in target.parent.glob(f".{binaries.name}-*"):  # of a build that was killed; the lock is ours
        shutil.rmtree(stale)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{binaries.name}-"))
    try:
        for name, package in binaries.programs.items():
            argv = ["go", "build", *_FLAGS, "-ldflags", binaries.linker, "-o", str(work / name), package]
            _go(argv, cwd=GO_SETS / binaries.name, title=f"{title}: {name}", started=started)
        work.chmod(0o755)
        work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{title}: built in {time.monotonic() - started:.0f} s", flush=True)


def _go(argv: list[str], *, cwd: Path, title: str, started: float) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    done = threading.Event()

    def report() -> None:
        while not done.wait(_PROGRESS_SECONDS):
            print(f"{title} ... {time.monotonic() - started:.0f} s", flush=True)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        ended = subprocess.run(
            argv, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    finally:
        done.set()
        reporter.join()
    if ended.returncode != 0:
        raise CommandError(tuple(argv), ended.returncode, ended.stdout.decode(errors="replace"))


def client_path(*, cache: Path) -> str:
    """Return the folders of kubectl and helm, joined for PATH, without doubles, in a fixed order."""
    folders = dict.fromkeys(str(program(name, cache=cache).parent) for name in CLIENT_PROGRAMS)
    return os.pathsep.join(folders)


def report(*, cache: Path) -> None:
    """Print, for each set, whether it is in the cache."""
    for binaries in SETS:
        word = "built" if built(binaries, cache=cache) else "not built"
        print(f"{binaries.name:12} {word:10} {folder(binaries, cache=cache)}", file=sys.stdout)
