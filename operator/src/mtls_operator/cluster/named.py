"""Watches single objects by name: what users refer to, without reading every Secret of the cluster for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from mtls_operator.cluster.client import KubernetesCluster
from mtls_operator.cluster.errors import ClusterError
from mtls_operator.cluster.kinds import Kind

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 2.0

Target = tuple[Kind, str, str]


@dataclass(slots=True)
class NamedWatches:
    """One watch for each object that is referred to; ``on_change`` is called after every event and reconnect."""

    cluster: KubernetesCluster
    on_change: Callable[[Target], None]
    _tasks: dict[Target, asyncio.Task[None]] = field(default_factory=dict)

    def watch(self, target: Target) -> None:
        """Start to watch an object, existing or not; does nothing when it is watched already."""
        if target not in self._tasks:
            self._tasks[target] = asyncio.create_task(self._follow(target))

    def keep(self, wanted: set[Target]) -> None:
        """Stop the watches of objects that nothing refers to any more."""
        for target in set(self._tasks) - wanted:
            self._tasks.pop(target).cancel()

    async def close(self) -> None:
        """Stop every watch."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, target: Target) -> None:
        kind, namespace, name = target
        while True:
            try:
                async for _ in self.cluster.watch(kind, namespace, name):
                    self.on_change(target)
            except ClusterError as error:
                _log.info(
                    "watch.interrupted", kind=kind.kind, namespace=namespace, name=name, error=str(error)
                )
            self.on_change(target)
            await asyncio.sleep(_RETRY_SECONDS)
