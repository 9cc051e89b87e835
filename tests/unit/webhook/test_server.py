"""The server over real HTTPS on the loopback address."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from tests.support.certs import Pair
from tests.unit.webhook.mounted_secret import MountedSecret

from mtls_operator.inject import InjectSettings
from mtls_operator.webhook import server
from mtls_operator.webhook.review import Review
from mtls_operator.webhook.server import Webhook

Build = Callable[..., dict[str, Any]]


def url(webhook: Webhook, path: str) -> str:
    return f"https://127.0.0.1:{webhook.port}{path}"


async def asked(http: aiohttp.ClientSession, webhook: Webhook, review: dict[str, Any]) -> dict[str, Any]:
    async with http.post(url(webhook, "/mutate-pods"), json=review) as response:
        assert response.status == 200
        answer: dict[str, Any] = (await response.json())["response"]
        return answer


async def status(http: aiohttp.ClientSession, webhook: Webhook, path: str) -> int:
    async with http.get(url(webhook, path)) as response:
        return response.status


async def test_a_labelled_pod_is_injected(
    webhook: Webhook, http: aiohttp.ClientSession, review: Build
) -> None:
    answer = await asked(http, webhook, review())
    assert answer["allowed"] is True
    assert answer["patchType"] == "JSONPatch"


async def test_a_pod_that_cannot_have_the_sidecar_is_refused(
    webhook: Webhook, http: aiohttp.ClientSession, review: Build
) -> None:
    pod = {"metadata": {"labels": {"mtls-operator.dev/host": "API"}}, "spec": {}}
    answer = await asked(http, webhook, review(pod))
    assert answer["allowed"] is False
    assert "not the name of an MTLSHost" in answer["status"]["message"]


async def test_a_pod_that_it_stumbles_over_is_refused_and_the_next_one_answered(
    webhook: Webhook,
    http: aiohttp.ClientSession,
    review: Build,
    monkeypatch: pytest.MonkeyPatch,
    captured_logs: list[dict[str, Any]],
) -> None:
    def stumble(_review: Review, *, settings: InjectSettings) -> None:
        raise KeyError(settings.image)

    with monkeypatch.context() as patched:
        patched.setattr(server, "decide", stumble)
        refused = await asked(http, webhook, review())
    assert refused["allowed"] is False
    assert "log" in refused["status"]["message"]
    assert "review_failed" in [entry["event"] for entry in captured_logs]
    assert (await asked(http, webhook, review()))["allowed"] is True


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 50_000, b"\xff", b'{"kind":"AdmissionReview"}'])
async def test_a_malformed_review_is_a_400(
    body: bytes, webhook: Webhook, http: aiohttp.ClientSession
) -> None:
    headers = {"content-type": "application/json"}
    async with http.post(url(webhook, "/mutate-pods"), data=body, headers=headers) as response:
        assert response.status == 400
    assert await status(http, webhook, "/healthz") == 200


async def test_another_content_type_is_a_415(webhook: Webhook, http: aiohttp.ClientSession) -> None:
    async with http.post(url(webhook, "/mutate-pods"), data=b"{}") as response:
        assert response.status == 415


async def test_a_body_that_is_too_large_is_a_413(
    small_webhook: Webhook, http: aiohttp.ClientSession, review: Build
) -> None:
    async with http.post(url(small_webhook, "/mutate-pods"), json=review(name="x" * 2000)) as response:
        assert response.status == 413


async def test_a_body_that_does_not_come_is_a_408(
    small_webhook: Webhook, client_context: ssl.SSLContext
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", small_webhook.port, ssl=client_context)
    writer.write(
        b"POST /mutate-pods HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    )
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize(("path", "code"), [("/mutate-pods", 405), ("/", 404), ("/metrics", 404)])
async def test_nothing_else_is_served(
    path: str, code: int, webhook: Webhook, http: aiohttp.ClientSession
) -> None:
    assert await status(http, webhook, path) == code


async def test_plain_http_is_not_spoken(webhook: Webhook) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", webhook.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_it_is_healthy_and_ready_while_it_runs(webhook: Webhook, http: aiohttp.ClientSession) -> None:
    assert await status(http, webhook, "/healthz") == 200
    assert await status(http, webhook, "/readyz") == 200


async def test_while_stopping_it_still_answers_but_is_not_ready_and_keeps_no_connection(
    webhook: Webhook, http: aiohttp.ClientSession, review: Build
) -> None:
    webhook.draining.set()
    assert await status(http, webhook, "/healthz") == 200
    assert await status(http, webhook, "/readyz") == 503
    async with http.post(url(webhook, "/mutate-pods"), json=review()) as response:
        assert (await response.json())["response"]["allowed"] is True
        assert response.headers["connection"] == "close"


async def test_a_certificate_is_rotated_without_dropping_an_open_connection(
    webhook: Webhook, client_context: ssl.SSLContext, mounted: MountedSecret, issue: Callable[[], Pair]
) -> None:
    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", webhook.port, ssl=client_context)

    async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        return head.startswith(b"HTTP/1.1 200")

    def shown(writer: asyncio.StreamWriter) -> bytes:
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found

    opened = await connect()
    assert await healthy(*opened)
    following = issue()
    mounted.publish_pair(following)
    async with asyncio.timeout(10):
        while True:
            _, writer = await connect()
            writer.close()
            if shown(writer) == ssl.PEM_cert_to_DER_cert(following.certificate_pem):
                break
    assert shown(opened[1]) != ssl.PEM_cert_to_DER_cert(following.certificate_pem)
    assert await healthy(*opened)
    opened[1].close()


async def test_the_log_says_what_was_decided_and_nothing_of_the_pods_content(
    webhook: Webhook, http: aiohttp.ClientSession, review: Build, captured_logs: list[dict[str, Any]]
) -> None:
    asked_for = review()
    asked_for["request"]["object"]["spec"]["containers"][0]["env"] = [
        {"name": "PASSWORD", "value": "hunter2"}
    ]
    await asked(http, webhook, asked_for)
    entry = next(entry for entry in captured_logs if entry["event"] == "pod_admitted")
    assert (entry["namespace"], entry["pod"], entry["host"]) == ("shop", "api-", "api")
    assert (entry["changed"], entry["dry_run"]) == (True, False)
    assert "hunter2" not in str(captured_logs)
