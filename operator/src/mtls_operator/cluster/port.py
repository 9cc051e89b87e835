"""The port to the cluster: what the operator asks of an API server, and nothing else.

Why a port: reconcilers are tested, crashed and delayed at exactly these calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from mtls_operator.cluster.kinds import Kind

#: A Kubernetes object as JSON.
Body: TypeAlias = dict[str, Any]


class Cluster(Protocol):
    """Reads and writes of Kubernetes objects; every method raises :class:`~.errors.ClusterError`."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        """Return an object, or None when it does not exist."""

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> Sequence[Body]:
        """Return the objects of a namespace (None: of all) that match a label selector."""

    async def create(self, body: Body) -> Body:
        """Create an object and return it; ``AlreadyExistsError`` when the name is taken."""

    async def apply(self, body: Body) -> Body:
        """Apply an object with our field manager and force, and return it.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """

    async def replace(self, body: Body) -> Body:
        """Replace an object at exactly its ``metadata.resourceVersion``; ``ConflictError`` otherwise."""

    async def patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Body, *, subresource: str | None = None
    ) -> Body:
        """Merge-patch an object (RFC 7386) and return it."""

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str, version: str = ""
    ) -> None:
        """Delete an object if it still has this UID and version (empty: any); one that is gone is no error."""
