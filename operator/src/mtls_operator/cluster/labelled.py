"""Follows the objects of a kind that have a label, in one namespace or all.

Kopf watches a kind with one selector; what users mark with a label of their own needs a second watch. Every event
comes in order, and after a gap everything is listed anew, so that nothing is missed and nothing stays that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from mtls_operator.cluster.errors import ClusterError
from mtls_operator.cluster.kinds import Kind
from mtls_operator.cluster.port import Body

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 2.0
#: Between two streams: an API server that ends every stream at once is not asked without pause.
_PAUSE_SECONDS = 0.1


class Source(Protocol):
    """The part of the client that this needs."""

    async def snapshot(
        self, kind: Kind, namespace: str | None, *, labels: str = ""
    ) -> tuple[Sequence[Body], str]:
        """Return the objects and the version of the list."""

    def follow(
        self, kind: Kind, *, labels: str, version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[str, Body]]:
        """Yield type and object of every change since a version."""


@dataclass(slots=True)
class LabelledWatch:
    """``on_seen`` is called with every object that is there or has changed, ``on_gone`` with namespace and name.

    ``namespace`` is the only one that is looked at; None: all.
    """

    source: Source
    kind: Kind
    labels: str
    on_seen: Callable[[Body], None]
    on_gone: Callable[[str, str], None]
    namespace: str | None = None
    _version: str = ""
    _known: set[tuple[str, str]] = field(default_factory=set)

    async def load(self) -> None:
        """List everything; what was known and is not there any more is gone.

        Raises:
            ClusterError: no list could be read, and nothing has changed.
        """
        items, version = await self.source.snapshot(self.kind, self.namespace, labels=self.labels)
        found = {_place(item) for item in items}
        for namespace, name in sorted(self._known - found):
            self._gone(namespace, name)
        for item in items:
            self._seen(item)
        self._version = version

    async def run(self) -> None:
        """Follow for ever, from where :meth:`load` ended."""
        while True:
            try:
                if not self._version:
                    await self.load()
                await self._follow()
            except ClusterError as error:
                self._version = ""
                _log.info("watch.interrupted", kind=self.kind.kind, labels=self.labels, error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        """Take in one stream of events; without a version afterwards, a new list is needed."""
        events = self.source.follow(
            self.kind, labels=self.labels, version=self._version, namespace=self.namespace
        )
        async for event, item in events:
            version = str((item.get("metadata") or {}).get("resourceVersion") or "")
            if event not in _EVENTS or not version:
                self._version = ""
                await asyncio.sleep(_RETRY_SECONDS)
                return
            if event == "DELETED":
                self._gone(*_place(item))
            elif event != "BOOKMARK":
                self._seen(item)
            self._version = version
        await asyncio.sleep(_PAUSE_SECONDS)

    def _seen(self, item: Body) -> None:
        self._known.add(_place(item))
        self.on_seen(item)

    def _gone(self, namespace: str, name: str) -> None:
        self._known.discard((namespace, name))
        self.on_gone(namespace, name)


_EVENTS = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")


def _place(item: Body) -> tuple[str, str]:
    metadata = item["metadata"]
    return str(metadata["namespace"]), str(metadata["name"])
