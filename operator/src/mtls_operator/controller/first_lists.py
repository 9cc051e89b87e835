"""Until when the operator only looks: nothing is decided before everything that is there has been seen.

The names of all objects are listed, without what is in them, and waited for one kind after the other: only kopf's own
stream fills the world, so that nothing is missed between two lists. Kopf has such a barrier itself, for its indices:
it holds every object in memory until the last has come, and wakes the tasks of all of them at each, which took
minutes for thousands of certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from mtls_operator.cluster import ClusterError, Kind

_log = structlog.get_logger(__name__)

#: What has not come by then may have been deleted: the names are listed anew.
PATIENCE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 2.0

Place = tuple[str, str]


class Names(Protocol):
    """The part of the client that this needs."""

    async def names(self, kind: Kind, *, labels: str = "") -> frozenset[Place]:
        """Return namespace and name of every object of a kind, in all namespaces; no namespace: an empty text."""


@dataclass(slots=True)
class FirstLists:
    """``watched`` are the kinds and their label selectors; ``saw`` is called with each of their objects."""

    source: Names
    watched: Mapping[Kind, str]
    patience: float = PATIENCE_SECONDS
    _seen: set[tuple[Kind, Place]] = field(default_factory=set)
    _missing: set[tuple[Kind, Place]] = field(default_factory=set)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _complete: bool = False

    def saw(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Take note that an object has been taken in."""
        if self._complete:
            return
        metadata = body["metadata"]
        place = kind, (str(metadata.get("namespace") or ""), str(metadata["name"]))
        self._seen.add(place)
        self._missing.discard(place)
        if not self._missing:
            self._arrived.set()

    async def wait(self) -> None:
        """Wait until every object of every kind has been seen, however long the API server takes."""
        for kind, labels in self.watched.items():
            while not await self._has_all(kind, labels):
                pass
        self._complete = True
        self._seen.clear()

    async def _has_all(self, kind: Kind, labels: str) -> bool:
        """Say whether all that is there now has come, giving it some time."""
        try:
            there = await self.source.names(kind, labels=labels)
        except ClusterError as error:
            _log.warning("operator.waiting", error=str(error), retry_in=_RETRY_SECONDS)
            await asyncio.sleep(_RETRY_SECONDS)
            return False
        self._missing = {(kind, place) for place in there} - self._seen
        if self._missing:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), self.patience)
        return not self._missing
