"""A work queue: deduplicated, delayed, with back-off for each key, never two workers on one key.

The semantics are those of Kubernetes' own client-go work queue: a key that is added while it is being worked on runs
once more afterwards; a key that is added twice runs once. Time comes in as a function, so that tests can turn it.

What can wait is added as ``patient``: it runs when nothing else is due. Thousands of renewals after an outage hold up
neither a new certificate nor a revocation. What must not wait is ``urgent``: it runs before everything else, and some
workers take nothing else, for the others may all be at something long.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
#: Keys with their due times, in the order of these.
Heap = list[tuple[float, int, K]]


class Lane(IntEnum):
    """How much a key hurries: what is due in a lane runs before what is due in the next."""

    URGENT = 0
    USUAL = 1
    PATIENT = 2


FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 60.0
#: More than there are between the two; what fails for a day is tried more than a thousand times.
_DOUBLINGS = 32


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
        is_urgent: Callable[[K], bool] = lambda _: False,
    ) -> None:
        self._clock = clock
        self._interval_of = interval_of
        self._is_urgent = is_urgent
        self._heaps: dict[Lane, Heap[K]] = {lane: [] for lane in Lane}
        self._patient: set[K] = set()
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._running: set[K] = set()
        self._again: dict[K, tuple[float, bool]] = {}
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

    def add(self, key: K, *, delay: float = 0.0, patient: bool = False) -> None:
        """Make a key due after a delay in seconds; an earlier due time wins, and at once wins over ``patient``."""
        due = self._clock() + delay
        if key in self._running:
            before = self._again.get(key, (due, patient))
            self._again[key] = min(due, before[0]), patient and before[1]
            return
        interval = self._interval_of(key)
        if interval and key in self._last:
            due = max(due, self._last[key] + interval)
        hurries = key in self._patient and not patient and not delay
        if key in self._due and self._due[key] <= due and not hurries:
            return
        self._due[key] = due
        (self._patient.add if patient else self._patient.discard)(key)
        heapq.heappush(self._heaps[self._lane_of(key)], (due, next(self._order), key))
        self._changed.set()

    def hurry(self) -> None:
        """Make every key that waits due now: what it waits for may have come meanwhile."""
        for key in [*self._due, *self._running]:
            self.add(key)

    def _lane_of(self, key: K) -> Lane:
        if self._is_urgent(key):
            return Lane.URGENT
        return Lane.PATIENT if key in self._patient else Lane.USUAL

    async def get(self, lanes: Iterable[Lane] = Lane) -> K:
        """Wait for the next due key of these lanes and mark it as being worked on; then call ``done`` or ``failed``."""
        while True:
            self._changed.clear()
            waits = []
            for lane in lanes:
                wait = self._wait_of(lane)
                if wait is not None and wait <= 0:
                    return self._take(lane)
                if wait is not None:
                    waits.append(wait)
            await self._wait(min(waits, default=None))

    def _wait_of(self, lane: Lane) -> float | None:
        """Return in how many seconds the first key of a lane is due; None: there is none."""
        heap = self._heaps[lane]
        while heap:
            due, _, key = heap[0]
            if self._due.get(key) == due and self._lane_of(key) is lane:
                return due - self._clock()
            heapq.heappop(heap)
        return None

    def _take(self, lane: Lane) -> K:
        _, _, key = heapq.heappop(self._heaps[lane])
        del self._due[key]
        self._patient.discard(key)
        self._running.add(key)
        if any(self._heaps.values()):
            self._changed.set()
        return key

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
        delay = float(min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS), LONGEST_RETRY_SECONDS))
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
            due, patient = again
            self.add(key, delay=max(0.0, due - self._clock()), patient=patient)
        if again_in is not None:
            self.add(key, delay=again_in)
