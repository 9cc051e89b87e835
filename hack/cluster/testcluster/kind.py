"""The kind provider: a cluster in Docker containers, for machines with Docker and kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from testcluster import binaries, layout, providers
from testcluster.commands import run, succeeds
from testcluster.errors import ClusterError
from testcluster.images import ECHO, OPERATOR, PROXY
from testcluster.places import IMAGE_SOURCES, REPOSITORY, Places
from testcluster.providers import Provider

#: Image name in the arguments -> name and Dockerfile.
_IMAGES: Final[dict[str, str]] = {"echo": ECHO, "operator": OPERATOR, "proxy": PROXY}


def missing() -> str:
    """Return why kind cannot be used here; empty when it can."""
    if shutil.which("kind") is None:
        return "the program kind is not on PATH"
    if shutil.which("docker") is None:
        return "the program docker is not on PATH"
    if not succeeds(["docker", "info"]):
        return "'docker info' fails: no Docker engine answers"
    return ""


def cluster_name(places: Places) -> str:
    """Return kind's name of the cluster; kind's context is this with ``kind-`` before it."""
    return layout.namespace(places.name)


def up(places: Places) -> None:
    """Create the cluster unless it is there; its kubeconfig is a file of its own.

    Raises:
        ClusterError: kind or Docker does not work here.
    """
    require()
    binaries.build(["helm"] if shutil.which("kubectl") else ["kubernetes", "helm"], cache=places.cache)
    places.state.mkdir(parents=True, exist_ok=True)
    name = cluster_name(places)
    if name in run(["kind", "get", "clusters"]).split():
        run(["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", places.kubeconfig])
    else:
        print("creating the kind cluster (a few minutes the first time)", flush=True)
        run(
            ["kind", "create", "cluster", "--name", name, "--kubeconfig", places.kubeconfig, "--wait", "180s"]
        )
    places.kubeconfig.chmod(0o600)
    providers.record(places, Provider.KIND)


def down(places: Places) -> None:
    """Delete the cluster and its kubeconfig; safe to call twice."""
    require()
    run(["kind", "delete", "cluster", "--name", cluster_name(places), "--kubeconfig", places.kubeconfig])
    shutil.rmtree(places.state, ignore_errors=True)


def status(places: Places) -> bool:
    """Print and return whether the cluster is there."""
    require()
    there = cluster_name(places) in run(["kind", "get", "clusters"]).split()
    print(f"kind cluster {cluster_name(places)}: {'up' if there else 'not there'}")
    return there


def load(places: Places, image: str) -> None:
    """Build one image with Docker and load it into the cluster's nodes."""
    require()
    name = _IMAGES[image]
    dockerfile = IMAGE_SOURCES / image / "Dockerfile"
    run(["docker", "build", "--tag", name, "--file", dockerfile, _context(image)])
    run(["kind", "load", "docker-image", name, "--name", cluster_name(places)])


def require() -> None:
    """Refuse to go on where kind does not work.

    Raises:
        ClusterError: says what is missing.
    """
    reason = missing()
    if reason:
        raise ClusterError(f"kind cannot be used here: {reason}")


def _context(image: str) -> Path:
    return IMAGE_SOURCES / image if image == "echo" else REPOSITORY
