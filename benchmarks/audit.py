"""What the operator wrote, as the API server's audit log has it; needs the local provider of ``hack/cluster``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import cluster_environment

_OPERATOR_USER = "system:serviceaccount:mtls-system:mtls-operator"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the log: what follows was written later."""

    inode: int
    offset: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the operator."""

    verb: str
    resource: str
    namespace: str
    name: str


def mark() -> Mark:
    """Return the present end of the log."""
    status = (_folder() / "audit.log").stat()
    return Mark(status.st_ino, status.st_size)


def operator_writes(since: Mark) -> Iterator[Write]:
    """Yield what the operator wrote after a mark, in order.

    Raises:
        SystemExit: that part of the log has been thrown away.
    """
    files = sorted(_folder().glob("audit*.log"), key=lambda file: file.stat().st_mtime)
    inodes = [file.stat().st_ino for file in files]
    if since.inode not in inodes:
        raise SystemExit("the audit log was rotated too often: measure fewer at a time")
    for file in files[inodes.index(since.inode) :]:
        with file.open("rb") as log:
            log.seek(since.offset if file.stat().st_ino == since.inode else 0)
            for line in log:
                found = _write(line)
                if found is not None:
                    yield found


def _folder() -> Path:
    return Path(cluster_environment()["KUBECONFIG"]).parent / "logs"


def _write(line: bytes) -> Write | None:
    if _OPERATOR_USER.encode() not in line:
        return None
    event = json.loads(line)
    if event["user"]["username"] != _OPERATOR_USER or event["verb"] not in _WRITES:
        return None
    thing = event.get("objectRef") or {}
    return Write(event["verb"], thing.get("resource", ""), thing.get("namespace", ""), thing.get("name", ""))
