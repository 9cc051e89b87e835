"""Notices that time has jumped: the clock was set, the machine slept, or this process stood still.

The work queue waits by a clock that nobody sets, and what is due by the calendar was counted from the time of day as it
was then. After a jump, forward or back, everything is looked at again at once: a certificate is renewed, ends, or a
list is signed anew within one beat, not when the former reckoning would have come to it.

A process that stood still may have been replaced meanwhile. What it holds in memory of the CAs and ledgers is read
again before it does anything: see `Authorities.doubt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 5.0
#: The time of day and the clock that nobody sets may drift apart by this: clocks are slewed.
LEAP: Final = timedelta(seconds=2)
#: Longer than any work holds the event loop up, and shorter than a cluster takes to replace a pod.
PAUSE_SECONDS: Final = 15.0


@dataclass(slots=True)
class Pulse:
    """Beats on the event loop; ``on_leap`` is called after a jump of the clock, ``on_pause`` after standing still.

    A beat is a callback of the loop, not a task: of all that is overdue after a pause it is among the first to run.
    """

    now: Callable[[], datetime]
    on_leap: Callable[[], None]
    on_pause: Callable[[], None]
    beat_seconds: float = BEAT_SECONDS
    #: By how much the time of day is ahead of the loop's clock, as of the last jump.
    _ahead: timedelta = timedelta()
    _due: float = 0.0
    _next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beat from now on, on the running event loop."""
        self._ahead = self._difference()
        self._arm()

    def stop(self) -> None:
        """Beat no more."""
        if self._next is not None:
            self._next.cancel()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self.beat_seconds
        self._next = loop.call_at(self._due, self._beat)

    def _difference(self) -> timedelta:
        loop = asyncio.get_running_loop()
        return self.now() - datetime.fromtimestamp(loop.time(), UTC)

    def _beat(self) -> None:
        late = asyncio.get_running_loop().time() - self._due
        leap = self._difference() - self._ahead
        self._arm()
        if late >= PAUSE_SECONDS:
            _log.warning("clock.paused", seconds=round(late))
            self.on_pause()
        if abs(leap) >= LEAP:  # small differences add up until they are one
            self._ahead += leap
            _log.warning("clock.leapt", seconds=round(leap.total_seconds()))
            self.on_leap()
