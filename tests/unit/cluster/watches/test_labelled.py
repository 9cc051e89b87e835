"""Objects with a label, in virtual time, on a source of events that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.cluster.labelled import LabelledWatch

Event = tuple[str, dict[str, Any]] | Exception | None


def item(name: str, version: int = 1, namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "resourceVersion": str(version)}}


@dataclass(slots=True)
class Source:
    """What is listed, and one stream: None ends it, an error breaks it."""

    lists: list[Sequence[dict[str, Any]] | Exception]
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    listed: int = 0
    asked: list[str] = field(default_factory=list)
    places: set[str | None] = field(default_factory=set)

    async def snapshot(
        self, kind: Kind, namespace: str | None, *, labels: str = ""
    ) -> tuple[Sequence[dict[str, Any]], str]:
        assert (kind, labels) == (Kind.CONFIG_MAP, "mtls-operator.dev/list")
        self.places.add(namespace)
        self.listed += 1
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, str(100 * self.listed)

    async def follow(
        self, kind: Kind, *, labels: str, version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        assert (kind, labels) == (Kind.CONFIG_MAP, "mtls-operator.dev/list")
        self.places.add(namespace)
        self.asked.append(version)
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


@dataclass(slots=True)
class Lab:
    source: Source
    told: list[str] = field(default_factory=list)

    def watch(self, namespace: str | None = None) -> LabelledWatch:
        return LabelledWatch(
            self.source,
            Kind.CONFIG_MAP,
            "mtls-operator.dev/list",
            on_seen=lambda body: self.told.append(f"+{body['metadata']['name']}"),
            on_gone=lambda namespace, name: self.told.append(f"-{namespace}/{name}"),
            namespace=namespace,
        )


async def follow(lab: Lab, *events: Event) -> None:
    """Load, and take in some events."""
    watch = lab.watch()
    await watch.load()
    for event in events:
        lab.source.events.put_nowait(event)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(10)
    assert not task.done()
    task.cancel()


async def test_everything_is_listed_and_then_followed_from_there() -> None:
    lab = Lab(Source([[item("a"), item("b")]]))
    await follow(lab, ("ADDED", item("c", 101)), ("MODIFIED", item("a", 102)), ("DELETED", item("b", 103)))
    assert lab.told == ["+a", "+b", "+c", "+a", "-shop/b"]
    assert lab.source.asked == ["100"]


@pytest.mark.parametrize("namespace", [None, "mtls-system"])
async def test_only_the_given_namespace_is_looked_at(namespace: str | None) -> None:
    lab = Lab(Source([[item("a")]]))
    watch = lab.watch(namespace)
    await watch.load()
    lab.source.events.put_nowait(None)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(1)
    task.cancel()
    assert lab.source.places == {namespace}


async def test_a_stream_that_ends_goes_on_where_it_was() -> None:
    lab = Lab(Source([[]]))
    await follow(lab, ("ADDED", item("a", 101)), ("BOOKMARK", item("", 150)), None, ("ADDED", item("b", 151)))
    assert lab.told == ["+a", "+b"]
    assert (lab.source.asked, lab.source.listed) == (["100", "150"], 1)


@pytest.mark.parametrize(
    "gap",
    [
        ("ERROR", {"kind": "Status", "code": 410}),
        ("", {}),
        ("ADDED", {"metadata": {"namespace": "shop", "name": "x"}}),
        UnavailableError("watch: reset"),
    ],
    ids=["too old", "no event", "no version", "broken"],
)
async def test_after_a_gap_what_is_gone_is_told(gap: Event) -> None:
    lab = Lab(Source([[item("a"), item("b")], [item("b"), item("c")]]))
    with capture_logs():
        await follow(lab, gap)
    assert lab.told == ["+a", "+b", "-shop/a", "+b", "+c"]
    assert lab.source.asked == ["100", "200"]


async def test_a_list_that_cannot_be_read_changes_nothing_and_is_tried_again() -> None:
    lab = Lab(Source([[item("a")], UnavailableError("down"), UnavailableError("down"), [item("a")]]))
    with capture_logs() as logs:
        await follow(lab, UnavailableError("reset"))
    assert lab.told == ["+a", "+a"]
    assert [entry["event"] for entry in logs] == ["watch.interrupted"] * 3


async def test_a_first_list_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(UnavailableError):
        await Lab(Source([UnavailableError("down")])).watch().load()


async def test_streams_that_end_at_once_are_not_asked_for_without_pause() -> None:
    lab = Lab(Source([[]]))
    await follow(lab, *[None] * 1000)
    assert len(lab.source.asked) < 150
