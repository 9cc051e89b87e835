"""Watches by name, in virtual time, on a source of events that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.cluster.named import NamedWatches, Target

ONE: Target = (Kind.SECRET, "shop", "api-tls")
OTHER: Target = (Kind.SECRET, "shop", "web-tls")


@dataclass(slots=True)
class Source:
    """Streams by target: a test puts events in; None ends a stream, an error breaks it."""

    streams: dict[Target, asyncio.Queue[str | Exception | None]] = field(default_factory=dict)
    begun: list[tuple[Target, float]] = field(default_factory=list)
    running: set[Target] = field(default_factory=set)

    def of(self, target: Target) -> asyncio.Queue[str | Exception | None]:
        return self.streams.setdefault(target, asyncio.Queue())

    async def watch(self, kind: Kind, namespace: str, name: str) -> AsyncIterator[str]:
        target = (kind, namespace, name)
        self.begun.append((target, asyncio.get_running_loop().time()))
        self.running.add(target)
        try:
            while (event := await self.of(target).get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.running.discard(target)


@dataclass(slots=True)
class Lab:
    source: Source
    changed: list[Target]
    watches: NamedWatches


@pytest.fixture
def lab() -> Lab:
    source, changed = Source(), list[Target]()
    return Lab(source, changed, NamedWatches(source, changed.append))  # type: ignore[arg-type]  # the one method that it uses


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


async def test_every_event_is_a_change(lab: Lab) -> None:
    lab.watches.watch(ONE)
    for event in ("ADDED", "MODIFIED", "DELETED"):
        lab.source.of(ONE).put_nowait(event)
    await asyncio.sleep(0.1)
    assert lab.changed == [ONE, ONE, ONE]
    await lab.watches.close()


async def test_an_object_that_is_watched_already_is_watched_once(lab: Lab) -> None:
    lab.watches.watch(ONE)
    lab.watches.watch(ONE)
    await asyncio.sleep(0.1)
    assert [target for target, _ in lab.source.begun] == [ONE]
    await lab.watches.close()


async def test_a_stream_that_ends_begins_again_after_a_pause(lab: Lab) -> None:
    lab.watches.watch(ONE)
    lab.source.of(ONE).put_nowait(None)
    await asyncio.sleep(10)
    (_, first), (_, second) = lab.source.begun
    assert 1.5 < second - first < 3
    await lab.watches.close()


async def test_the_end_of_a_stream_counts_as_a_change(lab: Lab) -> None:
    """What happened between two streams has no event of its own."""
    lab.watches.watch(ONE)
    lab.source.of(ONE).put_nowait(None)
    await asyncio.sleep(0.1)
    assert lab.changed == [ONE]
    await lab.watches.close()


async def test_a_stream_that_breaks_begins_again_and_says_why(lab: Lab, logged: list[Any]) -> None:
    lab.watches.watch(ONE)
    lab.source.of(ONE).put_nowait(UnavailableError("connection refused"))
    lab.source.of(ONE).put_nowait("ADDED")
    await asyncio.sleep(10)
    assert lab.changed == [ONE, ONE]
    assert [(line["event"], line["name"], line["error"]) for line in logged] == [
        ("watch.interrupted", "api-tls", "connection refused")
    ]
    await lab.watches.close()


async def test_an_api_server_that_is_away_for_long_is_not_hammered(lab: Lab) -> None:
    for _ in range(100):
        lab.source.of(ONE).put_nowait(UnavailableError("away"))
    lab.watches.watch(ONE)
    await asyncio.sleep(60)
    assert 25 < len(lab.source.begun) < 35
    await lab.watches.close()


async def test_what_nothing_refers_to_any_more_is_not_watched(lab: Lab) -> None:
    lab.watches.watch(ONE)
    lab.watches.watch(OTHER)
    await asyncio.sleep(0.1)
    lab.watches.keep({OTHER})
    await asyncio.sleep(0.1)
    assert lab.source.running == {OTHER}
    lab.source.of(ONE).put_nowait("MODIFIED")
    await asyncio.sleep(10)
    assert lab.changed == []
    await lab.watches.close()


async def test_what_is_referred_to_again_is_watched_again(lab: Lab) -> None:
    lab.watches.watch(ONE)
    await asyncio.sleep(0.1)
    lab.watches.keep(set())
    lab.watches.watch(ONE)
    await asyncio.sleep(0.1)
    assert lab.source.running == {ONE}
    await lab.watches.close()


async def test_closing_ends_every_watch(lab: Lab) -> None:
    lab.watches.watch(ONE)
    lab.watches.watch(OTHER)
    await asyncio.sleep(0.1)
    await lab.watches.close()
    assert lab.source.running == set()
