"""The real client against a small HTTP server: what goes over the wire, and what its answers become."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from mtls_operator.cluster import (
    AlreadyExistsError,
    ConflictError,
    Kind,
    KubernetesCluster,
    NotFoundError,
    RejectedError,
    UnavailableError,
)

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "s"}}


@dataclass(slots=True)
class ApiServer:
    """Answers from a list, and remembers the requests."""

    answers: list[tuple[int, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], Any, str]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    slowly: bool = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        text = await request.text()
        if self.slowly:
            await asyncio.sleep(0.01)
        self.accepted.append(request.headers.get("Accept", ""))
        self.requests.append(
            (
                request.method,
                request.path,
                dict(request.query),
                json.loads(text) if text else None,
                request.headers.get("Content-Type", ""),
            )
        )
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        self.busy -= 1
        if isinstance(answer, str):
            return web.Response(status=status, text=answer)
        return web.json_response(answer, status=status)


@pytest.fixture
async def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
async def cluster(api: ApiServer) -> AsyncIterator[KubernetesCluster]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(application, host="127.0.0.1") as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        client = KubernetesCluster(configuration, concurrency=3)
        yield client
        await client.close()


async def test_a_missing_object_is_none(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.answers = [(404, {"reason": "NotFound", "message": "not found"})]
    assert await cluster.get(Kind.SECRET, "shop", "s") is None


async def test_a_list_is_read_to_its_last_page(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.answers = [
        (200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}}),
        (200, {"items": [{"metadata": {"name": "b"}}], "metadata": {}}),
    ]
    found = await cluster.list(Kind.SECRET, "shop", labels="a=b")
    assert [body["metadata"]["name"] for body in found] == ["a", "b"]
    assert {(body["apiVersion"], body["kind"]) for body in found} == {("v1", "Secret")}
    assert [query.get("continue") for _, _, query, _, _ in api.requests] == [None, "more"]
    assert {query["labelSelector"] for _, _, query, _, _ in api.requests} == {"a=b"}


async def test_names_are_listed_without_what_is_in_the_objects(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    item = {"metadata": {"namespace": "shop", "name": "s"}}
    api.answers = [
        (200, {"items": [item], "metadata": {"continue": "more"}}),
        (200, {"items": [{"metadata": {"name": "shop"}}], "metadata": {}}),
    ]
    assert await cluster.names(Kind.SECRET, labels="a=b") == {("shop", "s"), ("", "shop")}
    assert [query for _, _, query, *_ in api.requests] == [
        {"limit": "500", "labelSelector": "a=b"},
        {"limit": "500", "labelSelector": "a=b", "continue": "more"},
    ]
    assert all("PartialObjectMetadataList" in accept for accept in api.accepted)


async def test_names_of_an_answer_that_is_no_list_are_no_names(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    """Read as an empty list, it would let work begin on half a world."""
    api.answers = [(200, {"kind": "Status"})]
    with pytest.raises(UnavailableError, match="is no list"):
        await cluster.names(Kind.SECRET)


async def test_a_page_that_fails_fails_the_list(cluster: KubernetesCluster, api: ApiServer) -> None:
    """G3: half a ledger is no ledger."""
    api.answers = [
        (200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}}),
        (410, {"reason": "Expired", "message": "too old"}),
    ]
    with pytest.raises(UnavailableError):
        await cluster.list(Kind.CONFIG_MAP, "shop")


async def test_an_apply_forces_our_fields(cluster: KubernetesCluster, api: ApiServer) -> None:
    await cluster.apply(SECRET)
    method, path, query, body, content_type = api.requests[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/shop/secrets/s")
    assert query == {"fieldManager": "mtls-operator", "force": "true"}
    assert content_type == "application/apply-patch+yaml"
    assert body == SECRET


async def test_a_replace_without_a_version_is_refused_before_it_is_sent(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    """A replace that fences nothing must not exist."""
    with pytest.raises(ConflictError):
        await cluster.replace(SECRET)
    assert api.requests == []


async def test_a_status_is_patched_at_its_subresource(cluster: KubernetesCluster, api: ApiServer) -> None:
    await cluster.patch(Kind.HOST, "shop", "api", {"status": {}}, subresource="status")
    method, path, _, _, content_type = api.requests[0]
    assert (method, content_type) == ("PATCH", "application/merge-patch+json")
    assert path.endswith("/mtlshosts/api/status")


async def test_a_delete_names_the_uid(cluster: KubernetesCluster, api: ApiServer) -> None:
    await cluster.delete(Kind.SECRET, "shop", "s", uid="u1")
    assert api.requests[0][3] == {"preconditions": {"uid": "u1"}}


async def test_deleting_what_is_gone_is_no_error(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.answers = [(404, {"reason": "NotFound", "message": "not found"})]
    await cluster.delete(Kind.SECRET, "shop", "s", uid="u1")


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (404, "NotFound", NotFoundError),
        (422, "Invalid", RejectedError),
        (503, "ServiceUnavailable", UnavailableError),
    ],
)
async def test_a_refused_write_raises_its_error(
    cluster: KubernetesCluster, api: ApiServer, status: int, reason: str, kind: type[Exception]
) -> None:
    api.answers = [(status, {"reason": reason, "message": "no"})]
    with pytest.raises(kind, match="no"):
        await cluster.create(SECRET)


async def test_an_answer_that_is_no_json_is_an_error_like_any_other(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    api.answers = [(502, "<html>bad gateway</html>")]
    with pytest.raises(UnavailableError, match="bad gateway"):
        await cluster.create(SECRET)


async def test_an_error_does_not_repeat_what_was_sent(cluster: KubernetesCluster, api: ApiServer) -> None:
    """G5."""
    api.answers = [(422, {"reason": "Invalid", "message": "data: too long"})]
    with pytest.raises(RejectedError) as refused:
        await cluster.create({**SECRET, "data": {"tls.key": "c2VjcmV0"}})
    assert "c2VjcmV0" not in str(refused.value)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    cluster = KubernetesCluster(configuration)
    with pytest.raises(UnavailableError):
        await cluster.get(Kind.SECRET, "shop", "s")
    await cluster.close()


async def test_writes_at_the_same_time_are_bounded(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.slowly = True
    await asyncio.gather(*(cluster.create(SECRET) for _ in range(20)))
    assert api.busiest <= 3
    assert len(api.requests) == 20
