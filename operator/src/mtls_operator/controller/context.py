"""What every reconciler works with: the cluster, the world as seen, the queue, the clock, the proxies' reports."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from mtls_operator.cluster import Body, Cluster, Kind, NotFoundError, RejectedError
from mtls_operator.controller.aside import Aside, OneThread
from mtls_operator.controller.keys import Key
from mtls_operator.controller.queue import WorkQueue
from mtls_operator.controller.recorder import Recorder
from mtls_operator.controller.reports import Reports
from mtls_operator.controller.settings import Settings
from mtls_operator.controller.world import World
from mtls_operator.plan.objects import Document, differs
from mtls_operator.push import Scope, Script


class Push(Protocol):
    """The part of the discovery server that reconcilers use."""

    def publish(self, scope: Scope, script: Script) -> None:
        """Make a script the wanted one of its scope and offer it to the proxies."""

    def withdraw(self, scope: Scope, name: str) -> None:
        """Stop offering a script."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Context:
    """Shared by all reconcilers; everything happens on one event loop."""

    settings: Settings
    cluster: Cluster
    world: World
    queue: WorkQueue[Key]
    push: Push
    reports: Reports
    recorder: Recorder
    #: Runs what takes long beside the event loop.
    aside: Aside = field(default_factory=OneThread)
    now: Callable[[], datetime] = utc_now
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes)

    async def ensure(self, document: Document) -> bool:
        """Apply an object of ours unless what is there has the same content; return whether it was written."""
        kind = _written_kind(document)
        metadata = document["metadata"]
        seen = self.world.written[kind].get(metadata.get("namespace", ""), metadata["name"])
        if not differs(document, seen.content if seen is not None else None):
            return False
        self.world.observe(kind, await self.overwrite(document), answer=True)
        return True

    async def overwrite(self, document: Document) -> Body:
        """Apply an object of ours, in the place of one of that name that cannot be changed.

        Whoever may write in a namespace can mark what we wrote as immutable, or make a Secret of another type before
        we do. Anything else that the API server refuses leaves what is there.
        """
        try:
            return await self.cluster.apply(document)
        except RejectedError:
            kind, metadata = _written_kind(document), document["metadata"]
            found = await self.cluster.get(kind, metadata.get("namespace"), metadata["name"])
            if found is None or not (found.get("immutable") or found.get("type") != document.get("type")):
                raise
            await self.cluster.delete(
                kind, metadata.get("namespace"), metadata["name"], uid=found["metadata"]["uid"]
            )
        return await self.cluster.apply(document)

    async def remove(self, kind: Kind, namespace: str, name: str, *, owner_uid: str) -> None:
        """Delete an object of ours if it is there and belongs to this owner."""
        seen = self.world.written[kind].get(namespace, name)
        if seen is not None and owner_uid in seen.owners:
            await self.cluster.delete(kind, namespace, name, uid=seen.uid)

    async def patch_status(self, kind: Kind, body: Body, previous: Mapping[str, Any]) -> None:
        """Write the status of one of our kinds; fields that are gone are removed."""
        metadata = body["metadata"]
        status = {key: None for key in previous if key not in body["status"]} | body["status"]
        try:
            answer = await self.cluster.patch(
                kind, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
            )
        except NotFoundError:
            return
        self.world.observe(kind, answer, answer=True)


def _written_kind(document: Document) -> Kind:
    return {
        "Secret": Kind.SECRET,
        "ConfigMap": Kind.CONFIG_MAP,
        "NetworkPolicy": Kind.NETWORK_POLICY,
    }[document["kind"]]
