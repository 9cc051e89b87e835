"""Slow work waits in line, not for long, and never in front of the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from mtls_operator.webhook.backlog import Backlog, Overloaded


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def backlog(gate: threading.Event) -> Iterator[Backlog]:
    made = Backlog(length=2, seconds=30)
    yield made
    gate.set()
    made.close()


async def test_what_the_work_returns_is_returned(backlog: Backlog) -> None:
    assert await backlog.run(lambda: 5) == 5


async def test_what_the_work_raises_is_raised(backlog: Backlog) -> None:
    with pytest.raises(ZeroDivisionError):
        await backlog.run(lambda: 1 // 0)
    assert await backlog.run(lambda: 5) == 5


async def test_the_event_loop_goes_on_meanwhile(backlog: Backlog, gate: threading.Event) -> None:
    """The work can only end after the loop has done something."""
    slow = asyncio.create_task(backlog.run(lambda: gate.wait(30)))
    await asyncio.sleep(0)
    gate.set()
    assert await slow is True


async def test_one_more_than_may_wait_is_turned_away_at_once(backlog: Backlog, gate: threading.Event) -> None:
    waiting = [asyncio.create_task(backlog.run(lambda: gate.wait(30))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 reviews are waiting already"):
        await backlog.run(lambda: True)
    gate.set()
    await asyncio.gather(*waiting)
    assert await backlog.run(lambda: 5) == 5


async def test_nobody_waits_for_longer_than_the_limit(gate: threading.Event) -> None:
    backlog = Backlog(length=2, seconds=0.05)
    began: list[int] = []
    first = asyncio.create_task(backlog.run(lambda: gate.wait(30)))
    second = asyncio.create_task(backlog.run(lambda: began.append(2)))
    for late in (first, second):
        with pytest.raises(Overloaded, match=r"no answer within 0\.05 s"):
            await late
    gate.set()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(lambda: backlog._taken):
            pass
    assert began == [], "what did not begin in time never begins"
    backlog.close()


async def test_work_that_runs_on_after_the_limit_still_counts(gate: threading.Event) -> None:
    """Else as many as somebody likes could run behind each other."""
    backlog = Backlog(length=1, seconds=0.05)
    with pytest.raises(Overloaded):
        await backlog.run(lambda: gate.wait(30))
    with pytest.raises(Overloaded, match="waiting already"):
        await backlog.run(lambda: True)
    gate.set()
    backlog.close()
