"""Work begins when everything that is there has been seen, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.controller.first_lists import FirstLists, Place

KINDS = {Kind.NAMESPACE: "", Kind.CERTIFICATE: "", Kind.SECRET: "managed=yes"}


@dataclass(slots=True)
class Server:
    """What is there, by kind; the first answers fail."""

    there: dict[Kind, set[Place]] = field(default_factory=dict)
    failures: int = 0
    asked: list[tuple[Kind, str]] = field(default_factory=list)
    on_ask: Callable[[], None] = lambda: None

    async def names(self, kind: Kind, *, labels: str = "") -> frozenset[Place]:
        self.asked.append((kind, labels))
        self.on_ask()
        if self.failures:
            self.failures -= 1
            raise UnavailableError("not now")
        return frozenset(self.there.get(kind, set()))


@pytest.fixture
def server() -> Server:
    return Server({Kind.NAMESPACE: {("", "shop")}, Kind.CERTIFICATE: {("shop", "a"), ("shop", "b")}})


@pytest.fixture
def first(server: Server) -> FirstLists:
    return FirstLists(server, KINDS, patience=3600)


@pytest.fixture
async def waiting(first: FirstLists) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(first.wait())
    yield task
    task.cancel()


def saw(first: FirstLists, kind: Kind, *names: str, namespace: str = "shop") -> None:
    for name in names:
        metadata = {"name": name} if kind is Kind.NAMESPACE else {"name": name, "namespace": namespace}
        first.saw(kind, {"metadata": metadata})


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_waits_for_the_last_object_of_every_kind(
    first: FirstLists, waiting: asyncio.Task[None]
) -> None:
    saw(first, Kind.NAMESPACE, "shop")
    saw(first, Kind.CERTIFICATE, "a")
    await settled()
    assert not waiting.done()
    saw(first, Kind.CERTIFICATE, "b")
    await asyncio.wait_for(waiting, 5)


async def test_what_was_seen_before_the_names_were_listed_counts(first: FirstLists) -> None:
    saw(first, Kind.NAMESPACE, "shop")
    saw(first, Kind.CERTIFICATE, "a", "b")
    await asyncio.wait_for(first.wait(), 5)


async def test_an_object_of_the_same_name_elsewhere_does_not_count(
    first: FirstLists, waiting: asyncio.Task[None]
) -> None:
    saw(first, Kind.NAMESPACE, "shop")
    saw(first, Kind.CERTIFICATE, "a")
    saw(first, Kind.CERTIFICATE, "b", namespace="other")
    saw(first, Kind.SECRET, "b")
    await settled()
    assert not waiting.done()


async def test_an_empty_cluster_is_complete_at_once(server: Server, first: FirstLists) -> None:
    server.there.clear()
    await asyncio.wait_for(first.wait(), 5)


async def test_each_kind_is_listed_by_its_own_labels(server: Server, first: FirstLists) -> None:
    server.there.clear()
    await first.wait()
    assert server.asked == list(KINDS.items())


async def test_what_was_deleted_before_it_was_seen_is_not_waited_for(server: Server) -> None:
    first = FirstLists(server, KINDS, patience=0.01)
    saw(first, Kind.NAMESPACE, "shop")
    saw(first, Kind.CERTIFICATE, "a")
    server.on_ask = lambda: (
        server.there[Kind.CERTIFICATE].discard(("shop", "b")) if len(server.asked) > 2 else None
    )
    await asyncio.wait_for(first.wait(), 5)
    assert server.asked.count((Kind.CERTIFICATE, "")) > 1


async def test_a_server_that_does_not_answer_is_asked_again(
    server: Server, first: FirstLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_operator.controller.first_lists._RETRY_SECONDS", 0.0)
    server.there.clear()
    server.failures = 2
    await asyncio.wait_for(first.wait(), 5)
    assert len(server.asked) == len(KINDS) + 2
