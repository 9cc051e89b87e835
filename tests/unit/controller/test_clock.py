from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from mtls_operator.controller.clock import BEAT_SECONDS, LEAP, PAUSE_SECONDS, Pulse

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(slots=True)
class Times:
    """A time of day that can be set, beside the loop's clock, and what was noticed."""

    skew: timedelta = timedelta()
    leaps: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return START + timedelta(seconds=_time()) + self.skew


def _time() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
async def pulse(times: Times) -> Iterator[Pulse]:
    pulse = Pulse(
        times.now, on_leap=lambda: times.leaps.append(_time()), on_pause=lambda: times.pauses.append(_time())
    )
    pulse.start()
    yield pulse
    pulse.stop()


pytestmark = pytest.mark.usefixtures("pulse")


async def test_time_that_goes_as_it_should_is_nothing_to_notice(times: Times) -> None:
    await asyncio.sleep(3600)
    assert (times.leaps, times.pauses) == ([], [])


@pytest.mark.parametrize("skew", [timedelta(days=400), timedelta(seconds=3), timedelta(days=-400)])
async def test_a_clock_that_is_set_is_noticed_once_within_one_beat(times: Times, skew: timedelta) -> None:
    await asyncio.sleep(12)
    times.skew, moment = skew, _time()
    await asyncio.sleep(100)
    (noticed,) = times.leaps
    assert noticed - moment <= BEAT_SECONDS
    assert times.pauses == []


async def test_a_clock_that_is_set_again_is_noticed_again(times: Times) -> None:
    times.skew = timedelta(hours=1)
    await asyncio.sleep(10)
    times.skew = timedelta()
    await asyncio.sleep(10)
    assert len(times.leaps) == 2


async def test_a_clock_that_is_slewed_is_noticed_when_the_differences_add_up(times: Times) -> None:
    for _ in range(30):
        times.skew += LEAP / 20
        await asyncio.sleep(BEAT_SECONDS)
    assert len(times.leaps) == 1


async def test_a_loop_that_stood_still_is_noticed_before_anything_that_was_due_meanwhile(
    times: Times,
) -> None:
    loop, order = asyncio.get_running_loop(), []
    times_before = times.pauses
    loop.call_later(BEAT_SECONDS + 1, lambda: order.append(len(times_before)))
    loop.advance(PAUSE_SECONDS + 2 * BEAT_SECONDS)  # type: ignore[attr-defined]  # of the virtual loop
    await asyncio.sleep(0.01)
    assert order == [1]
    assert times.leaps == []


async def test_work_that_holds_the_loop_up_for_seconds_is_no_pause(times: Times) -> None:
    asyncio.get_running_loop().advance(PAUSE_SECONDS - 1)  # type: ignore[attr-defined]  # of the virtual loop
    await asyncio.sleep(20)
    assert times.pauses == []
