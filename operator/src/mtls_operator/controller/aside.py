"""Runs what takes long beside the event loop, one thing at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

V = TypeVar("V")


class Aside(Protocol):
    """Does a piece of work beside the event loop and returns what comes of it."""

    def __call__(self, work: Callable[[], V], /) -> Awaitable[V]:
        """Do it."""


@dataclass(slots=True)
class OneThread:
    """One thread at a time: each more that works in Python is one more that the loop waits for whenever it wakes up."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, work: Callable[[], V], /) -> V:
        """Do a piece of work when those that came before are done."""
        async with self._lock:
            return await asyncio.to_thread(work)
