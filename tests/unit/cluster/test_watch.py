"""The watch of one object, by the real client."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from aiohttp import web
from tests.unit.cluster.api_server import ApiServer, lines

from mtls_operator.cluster import (
    ClusterError,
    Kind,
    KubernetesCluster,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from mtls_operator.cluster.named import NamedWatches, Target

DEADLINE = 10.0
ADDED = {"type": "ADDED", "object": {"metadata": {"name": "api-tls"}}}
CHANGED = {"type": "MODIFIED", "object": {"metadata": {"name": "api-tls"}}}


async def watched(cluster: KubernetesCluster) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return [kind async for kind in cluster.watch(Kind.SECRET, "shop", "api-tls")]


async def test_a_watch_asks_for_exactly_one_object(server: ApiServer, cluster: KubernetesCluster) -> None:
    """The right to watch one name is all that it uses: no other Secret of the namespace is sent."""
    server.calls(lines())
    await watched(cluster)
    assert server.last.path == "/api/v1/namespaces/shop/secrets"
    assert server.last.query["watch"] == "1"
    assert server.last.query["fieldSelector"] == "metadata.name=api-tls"
    assert server.last.headers["Authorization"] == "Bearer t0ken"


async def test_a_watch_tells_every_event_and_ends_with_the_stream(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.calls(lines(ADDED, CHANGED, {"type": "DELETED", "object": {}}))
    assert await watched(cluster) == ["ADDED", "MODIFIED", "DELETED"]


async def test_an_event_is_told_while_the_stream_goes_on(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    ending = asyncio.Event()

    async def until_told() -> None:
        await ending.wait()

    server.calls(lines(ADDED, then=until_told))
    async with asyncio.timeout(DEADLINE):
        events = cluster.watch(Kind.SECRET, "shop", "api-tls")
        assert await anext(aiter(events)) == "ADDED"
        ending.set()


async def test_an_event_in_two_pieces_is_one(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.calls(lines(b'{"type": "ADD', b'ED", "object": {}}\n'))
    assert await watched(cluster) == ["ADDED"]


async def test_an_object_of_the_largest_size_passes(server: ApiServer, cluster: KubernetesCluster) -> None:
    """Two MiB: more than an API server stores."""
    server.calls(lines({"type": "ADDED", "object": {"data": {"x": "A" * (2 << 20)}}}))
    assert await watched(cluster) == ["ADDED"]


async def test_a_version_that_is_too_old_ends_the_watch_after_its_event(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.calls(lines(ADDED, {"type": "ERROR", "object": {"kind": "Status", "code": 410}}))
    assert await watched(cluster) == ["ADDED", "ERROR"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (403, RejectedError), (410, UnavailableError), (500, UnavailableError)],
)
async def test_a_watch_that_is_refused_says_how(
    server: ApiServer, cluster: KubernetesCluster, status: int, error: type[ClusterError]
) -> None:
    server.refuses(status)
    with pytest.raises(error, match="watch /api/v1/namespaces/shop/secrets"):
        await watched(cluster)


async def test_a_line_that_is_no_event_still_counts_as_a_change(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    """Whoever watches then looks at the object itself: better once too often."""
    server.calls(lines(b"<html>\n"))
    assert await watched(cluster) == [""]


async def test_a_line_without_end_interrupts_the_watch_and_is_not_repeated(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    """G5: the line may be a Secret, and errors are logged."""
    server.calls(lines(b"c2VjcmV0" * (1 << 20)))
    with pytest.raises(UnavailableError, match="longer than any object") as caught:
        await watched(cluster)
    assert "c2VjcmV0" not in "".join(traceback.format_exception(caught.value))


async def test_a_connection_that_breaks_interrupts_the_watch(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED"}\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    server.calls(answer)
    with pytest.raises(UnavailableError):
        await watched(cluster)


async def test_a_change_of_the_object_reaches_whoever_watches_names(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    target: Target = (Kind.SECRET, "shop", "api-tls")
    ending, changes = asyncio.Event(), asyncio.Queue[Target]()

    async def until_told() -> None:
        await ending.wait()

    server.calls(lines(ADDED, CHANGED, then=until_told))
    watches = NamedWatches(cluster, changes.put_nowait)
    watches.watch(target)
    async with asyncio.timeout(DEADLINE):
        assert [await changes.get(), await changes.get()] == [target, target]
        await watches.close()
    ending.set()


async def test_a_label_is_followed_in_all_namespaces_from_a_version(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    gone = {"type": "DELETED", "object": {"metadata": {"name": "office"}}}
    server.calls(lines(ADDED, b"not json\n", gone))
    async with asyncio.timeout(DEADLINE):
        events = cluster.follow(Kind.CONFIG_MAP, labels="mtls-operator.dev/list", version="7")
        seen = [event async for event in events]
    assert seen == [("ADDED", ADDED["object"]), ("", {}), ("DELETED", gone["object"])]
    assert server.last.path == "/api/v1/configmaps"
    assert server.last.query["labelSelector"] == "mtls-operator.dev/list"
    assert (server.last.query["resourceVersion"], server.last.query["watch"]) == ("7", "1")


async def test_a_snapshot_says_from_which_version_to_follow(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.answers({"items": [{"metadata": {"name": "office"}}], "metadata": {"resourceVersion": "41"}})
    items, version = await cluster.snapshot(Kind.CONFIG_MAP, None, labels="mtls-operator.dev/list")
    assert ([each["metadata"]["name"] for each in items], version) == (["office"], "41")
    assert server.last.query["labelSelector"] == "mtls-operator.dev/list"
