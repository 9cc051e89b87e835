"""A work queue: deduplicated, delayed, with back-off for each key, never two workers on one key.

The semantics are those of Kubernetes' own client-go work queue: a key that is added while it is being worked on runs
once more afterwards; a key that is added twice runs once. Time comes in as a function, so that tests can turn it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """Keys that are due, in order of their due times.

    ``interval_of`` gives the least time between two runs of a key: the first runs at once, a burst becomes few
    runs. Not thread-safe: everything happens on one event loop.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        interval_of: Callable[[K], float] = lambda _: 0.0,
    ) -> None:
        self._clock = clock
        self._interval_of = interval_of
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._running: set[K] = set()
        self._again: dict[K, float] = {}
        self._last: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._running)

    @property
    def failures(self) -> Mapping[K, int]:
        """How often in a row each failing key has failed."""
        return self._failures

    def ready_length(self) -> int:
        """Return how many keys are due now or being worked on."""
        now = self._clock()
        return len(self._running) + sum(due <= now for due in self._due.values())

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Make a key due after a delay in seconds; an earlier due time wins."""
        due = self._clock() + delay
        if key in self._running:
            self._again[key] = min(due, self._again.get(key, due))
            return
        interval = self._interval_of(key)
        if interval and key in self._last:
            due = max(due, self._last[key] + interval)
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._changed.set()

    async def get(self) -> K:
        """Wait for the next due key and mark it as being worked on; call ``done`` or ``failed`` after."""
        while True:
            self._changed.clear()
            wait = None
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due:
                    heapq.heappop(self._heap)
                    continue
                wait = due - self._clock()
                if wait > 0:
                    break
                heapq.heappop(self._heap)
                del self._due[key]
                self._running.add(key)
                if self._heap:
                    self._changed.set()
                return key
            await self._wait(wait)

    async def _wait(self, seconds: float | None) -> None:
        if seconds is None:
            await self._changed.wait()
            return
        try:
            await asyncio.wait_for(self._changed.wait(), timeout=seconds)
        except TimeoutError:
            return

    def done(self, key: K, *, again_in: float | None = None) -> None:
        """Say that a key was worked on; optionally when to look again without being asked."""
        self._failures.pop(key, None)
        self._finish(key, again_in)

    def failed(self, key: K) -> float:
        """Say that working on a key failed; it runs again after a delay that doubles; return the delay."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = float(min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS))
        self._again.pop(key, None)
        self._finish(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key whose object is gone."""
        self._last.pop(key, None)
        self._failures.pop(key, None)

    def _finish(self, key: K, again_in: float | None) -> None:
        self._running.discard(key)
        if self._interval_of(key):
            self._last[key] = self._clock()
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, delay=max(0.0, again - self._clock()))
        if again_in is not None:
            self.add(key, delay=again_in)
