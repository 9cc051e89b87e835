"""What each bad answer of an API server, or none at all, turns into: callers decide by these types."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException
from tests.unit.cluster.api_server import ApiServer, closed_port

from mtls_operator.cluster import (
    AlreadyExistsError,
    Body,
    ClusterError,
    ConflictError,
    Kind,
    KubernetesCluster,
    NotFoundError,
    RejectedError,
    UnavailableError,
)

BODY: Body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "a"}}
#: Every way to ask: a success that is not an answer must not pass as one in any of them.
ASKED: list[Callable[[KubernetesCluster], Awaitable[object]]] = [
    lambda cluster: cluster.get(Kind.SECRET, "shop", "a"),
    lambda cluster: cluster.list(Kind.SECRET, "shop"),
    lambda cluster: cluster.create(BODY),
    lambda cluster: cluster.apply(BODY),
    lambda cluster: cluster.patch(Kind.SECRET, "shop", "a", {}),
    lambda cluster: cluster.delete(Kind.SECRET, "shop", "a", uid="u"),
]
IDS = ["get", "list", "create", "apply", "patch", "delete"]
anyway = pytest.mark.parametrize("ask", ASKED, ids=IDS)


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (409, "", ConflictError),
        (400, "BadRequest", RejectedError),
        (401, "Unauthorized", RejectedError),
        (403, "Forbidden", RejectedError),
        (413, "RequestEntityTooLarge", RejectedError),
        (422, "Invalid", RejectedError),
        (410, "Expired", UnavailableError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "ServiceUnavailable", UnavailableError),
        (504, "Timeout", UnavailableError),
    ],
)
async def test_a_refusal_is_typed_by_status_and_reason(
    server: ApiServer, cluster: KubernetesCluster, status: int, reason: str, error: type[ClusterError]
) -> None:
    server.refuses(status, reason, message="because of it")
    with pytest.raises(ClusterError, match="because of it") as caught:
        await cluster.create(BODY)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.reason) == (status, reason)


async def test_the_message_says_what_was_asked_for(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.refuses(403, "Forbidden", message="cannot create secrets")
    with pytest.raises(RejectedError, match=r"^POST /api/v1/namespaces/shop/secrets: cannot create secrets$"):
        await cluster.create(BODY)


async def test_a_refusal_that_is_no_json_keeps_its_first_words(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.answers(b"<html>Bad gateway" + b"x" * 10_000, status=502)
    with pytest.raises(UnavailableError, match="<html>Bad gateway") as caught:
        await cluster.create(BODY)
    assert len(str(caught.value)) < 300


async def test_a_refusal_never_repeats_what_was_sent(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.refuses(422, "Invalid", message="data: invalid")
    with pytest.raises(RejectedError) as caught:
        await cluster.create({**BODY, "data": {"tls.key": "c2VjcmV0"}})
    assert "c2VjcmV0" not in str(caught.value)


@anyway
@pytest.mark.parametrize(
    "text",
    [b"", b"<html>Sign in</html>", b"[]", b'"ok"', b"null", b'{"items": [', b"\xff\xfe\x00"],
    ids=["empty", "page", "array", "text", "null", "cut", "binary"],
)
async def test_success_without_an_object_is_no_answer(
    server: ApiServer,
    cluster: KubernetesCluster,
    ask: Callable[[KubernetesCluster], Awaitable[object]],
    text: bytes,
) -> None:
    """G1, G3: read as an empty list it would be a ledger without revocations."""
    server.answers(text)
    with pytest.raises(UnavailableError):
        await ask(cluster)


@pytest.mark.parametrize("items", ["x", {"a": 1}, 3])
async def test_a_list_whose_items_are_none_is_no_answer(
    server: ApiServer, cluster: KubernetesCluster, items: object
) -> None:
    server.answers({"items": items})
    with pytest.raises(UnavailableError, match="no list"):
        await cluster.list(Kind.SECRET, "shop")


async def test_an_object_where_a_list_was_asked_for_is_no_answer(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    """G3: a Status with code 200 is not an empty list."""
    server.answers({"kind": "Status", "status": "Success"})
    with pytest.raises(UnavailableError, match="no list"):
        await cluster.list(Kind.SECRET, "shop")


async def test_a_list_that_breaks_off_between_two_pages_is_no_list(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.answers({"metadata": {"continue": "x"}, "items": [BODY]}, b"")
    with pytest.raises(UnavailableError):
        await cluster.list(Kind.SECRET, "shop")


async def test_a_page_that_expired_makes_the_list_fail_as_a_whole(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if "continue" not in request.query:
            return web.json_response({"metadata": {"continue": "x"}, "items": [BODY]})
        return web.json_response({"reason": "Expired", "message": "too old"}, status=410)

    server.calls(answer)
    with pytest.raises(UnavailableError, match="too old"):
        await cluster.list(Kind.SECRET, "shop")


async def test_a_body_that_breaks_off_is_no_answer(server: ApiServer, cluster: KubernetesCluster) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"items": []}')
        assert request.transport is not None
        request.transport.close()
        return response

    server.calls(answer)
    with pytest.raises(UnavailableError):
        await cluster.list(Kind.SECRET, "shop")


@anyway
async def test_an_api_server_that_is_not_there_is_unavailable(
    ask: Callable[[KubernetesCluster], Awaitable[object]],
) -> None:
    cluster = KubernetesCluster(Configuration(host=f"http://127.0.0.1:{await closed_port()}"))
    with pytest.raises(UnavailableError) as caught:
        await ask(cluster)
    assert caught.value.status == 0
    await cluster.close()


@anyway
async def test_an_api_server_that_does_not_answer_in_time_is_unavailable(
    server: ApiServer, ask: Callable[[KubernetesCluster], Awaitable[object]]
) -> None:
    answering = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await answering.wait()
        return web.json_response({"items": []})

    server.calls(answer)
    cluster = server.cluster(timeout_seconds=0.1)
    with pytest.raises(UnavailableError, match="TimeoutError"):
        await ask(cluster)
    answering.set()
    await cluster.close()


async def test_credentials_that_cannot_be_read_just_now_are_tried_again(
    server: ApiServer, tmp_path: Path
) -> None:
    """The kubelet replaces the token's file: a moment without it is no defect of an object."""
    configuration = Configuration(host=server.url)

    def refresh(_: Configuration) -> None:
        raise ConfigException(f"{tmp_path}: token file exists but empty")

    configuration.refresh_api_key_hook = refresh
    configuration.api_key = {"BearerToken": "Bearer t0ken"}
    cluster = KubernetesCluster(configuration)
    with pytest.raises(UnavailableError, match="token file exists but empty") as caught:
        await cluster.get(Kind.SECRET, "shop", "a")
    assert "t0ken" not in str(caught.value)
    assert server.seen == []
    await cluster.close()


async def test_after_an_outage_the_same_client_goes_on(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.refuses(503)
    with pytest.raises(UnavailableError):
        await cluster.get(Kind.SECRET, "shop", "a")
    server.answers(BODY)
    assert await cluster.get(Kind.SECRET, "shop", "a") == BODY
