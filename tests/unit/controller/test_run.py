"""The discovery server's certificate is renewed by the clock that proxies look at."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mtls_operator.controller import run
from mtls_operator.controller.internal import SERVER_LIFETIME


class World:
    """An operator of which only the clock and the discovery server are there."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, tzinfo=UTC)
        self.rotated: list[datetime] = []
        self.internal = None
        self.context = SimpleNamespace(now=lambda: self.time, settings=None)
        self.discovery = SimpleNamespace(rotate=lambda _: self.rotated.append(self.time))

    async def look(self, **later: float) -> int:
        """Set the clock, let it be looked at, and say how often there was a new certificate so far."""
        self.time += timedelta(**later)
        await asyncio.sleep(61)
        return len(self.rotated)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(run, "credentials", lambda *_: None)
    return World()


async def test_the_certificate_is_renewed_at_two_thirds_of_its_life(world: World) -> None:
    operator: Any = world
    task = asyncio.create_task(run._rotate(operator))
    await asyncio.sleep(1)
    assert await world.look(days=59) == 0
    assert await world.look(days=1) == 1
    assert await world.look(days=59) == 1
    assert await world.look(days=1) == 2
    task.cancel()


@pytest.mark.parametrize("leap", [10 * SERVER_LIFETIME, -timedelta(days=1)], ids=["forward", "back"])
async def test_a_clock_that_is_set_leaves_no_proxy_without_a_server_that_it_believes(
    world: World, leap: timedelta
) -> None:
    operator: Any = world
    task = asyncio.create_task(run._rotate(operator))
    await asyncio.sleep(1)
    assert await world.look(days=leap.days) == 1
    assert await world.look() == 1
    task.cancel()
