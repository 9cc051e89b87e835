"""The status port of a sidecar: what is there belongs to a tenant, who may answer anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from tests.unit.cluster.api_server import ApiServer, closed_port, running

from mtls_operator.api import names
from mtls_operator.cluster.proxies import ProxyStatus, url_of

ADDRESS = "127.0.0.1"
MIB = 1 << 20


@pytest.fixture
async def sidecar(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    monkeypatch.setattr(names, "STATUS_PORT", urlsplit(server.url).port)
    return server


@pytest.fixture
async def status() -> AsyncIterator[ProxyStatus]:
    client = ProxyStatus(timeout_seconds=5)
    yield client
    await client.close()


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert url_of("fd00::1f", "/stats") == "http://[fd00::1f]:9902/stats"


def test_an_ipv4_address_stands_as_it_is() -> None:
    assert url_of("10.0.0.7", "/stats?filter=x") == "http://10.0.0.7:9902/stats?filter=x"


async def test_the_text_is_returned(sidecar: ApiServer, status: ProxyStatus) -> None:
    sidecar.answers(b"a: 1\nb: 2\n")
    assert await status.read(ADDRESS, "/stats?filter=version") == "a: 1\nb: 2\n"
    assert (sidecar.last.path, sidecar.last.query) == ("/stats", {"filter": "version"})


async def test_a_text_in_several_pieces_is_read_to_its_end(sidecar: ApiServer, status: ProxyStatus) -> None:
    """G4: half a text would lack versions that are in force."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(6):
            await response.write(b"%d" % number * (MIB // 8))
        return response

    sidecar.calls(answer)
    assert await status.read(ADDRESS, "/stats") == "".join(str(number) * (MIB // 8) for number in range(6))


@pytest.mark.parametrize("code", [204, 404, 500, 503])
async def test_another_status_than_200_is_nothing(sidecar: ApiServer, status: ProxyStatus, code: int) -> None:
    sidecar.answers(b"", status=code)
    assert await status.read(ADDRESS, "/stats") is None


async def test_a_redirect_is_not_followed(sidecar: ApiServer, status: ProxyStatus) -> None:
    """A pod must not make the operator ask anybody else: it has a network that the pod may not have."""
    async with running() as elsewhere:
        elsewhere.answers(b"inner")

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": f"{elsewhere.url}/latest/meta-data"})

        sidecar.calls(answer)
        assert await status.read(ADDRESS, "/stats") is None
        assert elsewhere.seen == []


async def test_a_text_of_the_largest_size_is_read(sidecar: ApiServer, status: ProxyStatus) -> None:
    sidecar.answers(b"x" * MIB)
    text = await status.read(ADDRESS, "/stats")
    assert text is not None
    assert len(text) == MIB


async def test_a_larger_text_is_nothing(sidecar: ApiServer, status: ProxyStatus) -> None:
    sidecar.answers(b"x" * (MIB + 1))
    assert await status.read(ADDRESS, "/stats") is None


async def test_a_text_without_end_does_not_fill_the_memory(sidecar: ApiServer, status: ProxyStatus) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 * MIB:
            await response.write(b"x" * (MIB // 4))
            sent += MIB // 4
        return response

    sidecar.calls(answer)
    assert await status.read(ADDRESS, "/stats") is None
    assert sent < 32 * MIB


async def test_a_small_answer_that_unpacks_to_a_large_one_is_nothing(
    sidecar: ApiServer, status: ProxyStatus
) -> None:
    async def answer(_: web.Request) -> web.Response:
        response = web.Response(body=b"\0" * (16 * MIB))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    sidecar.calls(answer)
    assert await status.read(ADDRESS, "/stats") is None


async def test_bytes_that_are_no_text_do_no_harm(sidecar: ApiServer, status: ProxyStatus) -> None:
    sidecar.answers(b"\xff\xfe version: 1")
    assert "version: 1" in (await status.read(ADDRESS, "/stats") or "")


async def test_a_port_that_is_closed_is_nothing(status: ProxyStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "STATUS_PORT", await closed_port())
    assert await status.read(ADDRESS, "/stats") is None


async def test_an_address_that_is_none_is_nothing(status: ProxyStatus) -> None:
    """A pod that has no address yet."""
    assert await status.read("", "/stats") is None


async def test_an_answer_that_takes_too_long_is_nothing(sidecar: ApiServer) -> None:
    answering = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await answering.wait()
        return web.Response()

    sidecar.calls(answer)
    status = ProxyStatus(timeout_seconds=0.1)
    assert await status.read(ADDRESS, "/stats") is None
    answering.set()
    await status.close()
