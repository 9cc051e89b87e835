"""Removes what is left in the operator's namespace of tenant namespaces that are gone: CA keys and ledgers.

They are bound to the UID of a namespace, which never comes back: a namespace that is made again gets a new one, and
with it a new CA. Until then they are worth nothing to us and much to a thief. Removed is only what a second, direct
question to the API server confirms: what is seen here may be old, or not complete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from mtls_operator.cluster import Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.observed import Written, tenant_of

_log = structlog.get_logger(__name__)

#: How long a namespace must have been gone, by a clock that nobody sets: time to notice a mistake, and to save a key.
GONE: Final = timedelta(hours=1)
#: The same where a namespace of that name was made again: it may be a restore whose labels are still being mended.
MADE_AGAIN: Final = timedelta(hours=24)
LOOK_SECONDS: Final = 600.0
_ROLES: Final = {Kind.SECRET: ("authority", "serving-authority"), Kind.CONFIG_MAP: ("ledger",)}

_Life = tuple[str, str]


@dataclass(slots=True)
class Leftovers:
    """Remembers since when each life of a namespace is gone; ``clock`` is in seconds and only goes forward."""

    context: Context
    clock: Callable[[], float]
    _since: dict[_Life, float] = field(default_factory=dict)

    async def reconcile(self) -> float:
        """Remove what has been left for long enough; return in how many seconds to look again."""
        left = self._left()
        now = self.clock()
        self._since = {life: self._since.get(life, now) for life in left}
        for life, objects in sorted(left.items()):
            if now - self._since[life] >= self._patience(life).total_seconds() and await self._is_gone(life):
                await self._remove(life, objects)
        return LOOK_SECONDS

    def _left(self) -> dict[_Life, list[Written]]:
        """Return what belongs to lives of namespaces that do not exist as far as is seen."""
        namespace = self.context.settings.operator_namespace
        left: dict[_Life, list[Written]] = defaultdict(list)
        for kind, roles in _ROLES.items():
            for seen in self.context.world.written[kind].of(namespace).values():
                name, uid = seen.tenant
                if seen.role in roles and name and uid and not self._exists((name, uid)):
                    left[name, uid].append(seen)
        return left

    def _exists(self, life: _Life) -> bool:
        seen = self.context.world.namespaces.get("", life[0])
        return seen is not None and seen.uid == life[1]

    def _patience(self, life: _Life) -> timedelta:
        return GONE if self.context.world.namespaces.get("", life[0]) is None else MADE_AGAIN

    async def _is_gone(self, life: _Life) -> bool:
        """Ask the API server itself."""
        name, uid = life
        found = await self.context.cluster.get(Kind.NAMESPACE, None, name)
        if found is not None and found["metadata"]["uid"] == uid:
            _log.warning("leftovers.kept", namespace=name, uid=uid)
            self._since.pop(life, None)
            return False
        return True

    async def _remove(self, life: _Life, objects: list[Written]) -> None:
        name, uid = life
        for seen in sorted(objects, key=lambda one: (one.kind.kind, one.name)):
            if await self._still_belongs(seen, life):
                await self.context.cluster.delete(seen.kind, seen.namespace, seen.name, uid=seen.uid)
        self._since.pop(life, None)
        _log.info("leftovers.removed", namespace=name, uid=uid, objects=len(objects))

    async def _still_belongs(self, seen: Written, life: _Life) -> bool:
        """Say whether an object is labelled as it was seen: somebody may have given it to another life meanwhile."""
        body = await self.context.cluster.get(seen.kind, seen.namespace, seen.name)
        return body is not None and tenant_of(body) == life
