"""Asking a server of ours whether it is ready: only its own word counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from tests.support.certs import SERVER, Pair, authority, leaf

from mtls_operator.cluster.readiness import ReadinessProbe

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority("internal")


@pytest.fixture
async def serve(ca: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serve]:
    """Return a function that serves one handler over HTTPS, and returns the URL."""
    runners: list[web.AppRunner] = []
    pair = leaf(ca, "webhook", usage=SERVER, addresses=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(tmp_path_factory.mktemp("tls")))

    async def start(handler: Handler) -> str:
        application = web.Application()
        application.router.add_get("/readyz", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return f"https://127.0.0.1:{runner.addresses[0][1]}/readyz"

    yield start
    for runner in runners:
        await runner.cleanup()


async def ready(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def test_a_server_that_is_ready_answers(serve: Serve, ca: Pair) -> None:
    assert await ReadinessProbe(await serve(ready), ca.certificate_pem).answers()


@pytest.mark.parametrize("code", [204, 301, 404, 500, 503])
async def test_every_other_answer_is_a_no(serve: Serve, ca: Pair, code: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=code, headers={"location": "/readyz"})

    assert not await ReadinessProbe(await serve(answer), ca.certificate_pem).answers()


async def test_a_server_that_another_ca_vouches_for_is_not_ours(serve: Serve) -> None:
    other = authority("somebody else")
    assert not await ReadinessProbe(await serve(ready), other.certificate_pem).answers()


async def test_no_answer_in_time_is_a_no(serve: Serve, ca: Pair) -> None:

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    url = await serve(hang)
    assert not await ReadinessProbe(url, ca.certificate_pem, timeout_seconds=0.1).answers()


async def test_nobody_there_is_a_no(ca: Pair) -> None:
    assert not await ReadinessProbe("https://127.0.0.1:1/readyz", ca.certificate_pem).answers()
    assert not await ReadinessProbe("https://no-such-host.invalid/readyz", ca.certificate_pem).answers()
