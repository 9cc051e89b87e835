"""Works the queue: each key by its reconciler, failures with back-off, no failure stops another key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from mtls_operator.cluster import ClusterError, ConflictError
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.queue import Lane, WorkQueue

_log = structlog.get_logger(__name__)

#: Least time between two runs of what many events touch at once.
BURST_SECONDS = 0.1
#: Least time between two makings of the readable parts of a long list: each signs and writes megabytes.
LISTS_SECONDS = 30.0

#: So many workers more take nothing but what is urgent.
RESERVED: Final = 4

Reconcile = Callable[[Key], Awaitable[float | None]]


def interval_of(key: Key) -> float:
    """Return the least time in seconds between two runs of a key."""
    if key.topic is Topic.LISTS:
        return LISTS_SECONDS
    return BURST_SECONDS if key.topic in (Topic.AUTHORITY, Topic.HOST) else 0.0


def is_urgent(key: Key) -> bool:
    """Say whether revocations wait for a key, whatever else there is to do: rules to compile, hosts, keys to make."""
    return key.topic is Topic.AUTHORITY


@dataclass(slots=True)
class Workers:
    """A bounded number of workers on one queue; ``alive`` tells the probe whether work gets done.

    A few more than ``count`` are there for what is urgent alone.
    """

    queue: WorkQueue[Key]
    reconcilers: Mapping[Topic, Reconcile]
    metrics: Metrics
    count: int
    last_success: float = field(default_factory=time.monotonic)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Start the workers on the running event loop."""
        usual = [asyncio.create_task(self._work(tuple(Lane)), name=f"worker-{n}") for n in range(self.count)]
        urgent = [
            asyncio.create_task(self._work((Lane.URGENT,)), name=f"urgent-{n}") for n in range(RESERVED)
        ]
        self._tasks = usual + urgent

    async def stop(self) -> None:
        """Let no further key begin and give up those in progress: the next start takes them up again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether every worker is running."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def _work(self, lanes: tuple[Lane, ...]) -> None:
        while True:
            await self._one(await self.queue.get(lanes))

    async def _one(self, key: Key) -> None:
        began = time.perf_counter()
        try:
            again = await self.reconcilers[key.topic](key)
        except asyncio.CancelledError:
            self.queue.done(key)
            raise
        except ConflictError as error:
            delay = self.queue.failed(key)
            self.metrics.failed(key.topic.value, "conflict")
            _log.info("reconcile.conflict", key=str(key), retry_in=round(delay, 2), error=str(error))
        except ClusterError as error:
            delay = self.queue.failed(key)
            self.metrics.failed(key.topic.value, "cluster")
            _log.warning("reconcile.failed", key=str(key), retry_in=round(delay, 2), error=str(error))
        except Exception:  # noqa: BLE001 - a bug in one key must not stop the others; it is counted and logged
            delay = self.queue.failed(key)
            self.metrics.failed(key.topic.value, "bug")
            _log.exception("reconcile.crashed", key=str(key), retry_in=round(delay, 2))
        else:
            self.queue.done(key, again_in=again)
            self.last_success = time.monotonic()
        self.metrics.reconciled(key.topic.value, time.perf_counter() - began)
