"""Slow work of one kind, one piece at a time in a thread of its own, with an end to waiting.

Compiling the largest expression that is allowed takes about a second. In the event loop that would hold up every
pod that is created meanwhile, and many at once would take all the memory: so they wait for one another, not for
long, and not in any number.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Overloaded(Exception):  # noqa: N818 - reads as the sentence it is
    """There is too much to do: nothing was decided."""


@dataclass(slots=True)
class Backlog:
    """At most ``length`` pieces of work wait or run; none is waited for longer than ``seconds``."""

    length: int
    seconds: float
    _taken: int = 0
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="validation")
    )

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises.

        Work that began is not interrupted and counts until it ends; work that did not begin in time never begins.

        Raises:
            Overloaded: too much is waiting, or it took too long.
        """
        if self._taken >= self.length:
            raise Overloaded(f"{self._taken} reviews are waiting already")
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._thread.submit(work)
        future.add_done_callback(lambda _: self._tell(loop))
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise Overloaded(f"no answer within {self.seconds:g} s") from None

    def close(self) -> None:
        """Let nothing begin any more; what runs is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the end of a piece of work, from its thread; when the loop has ended nobody counts any more."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        self._taken -= 1
