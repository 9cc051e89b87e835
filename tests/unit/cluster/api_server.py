"""An HTTP server on this machine that answers what a test wants and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from mtls_operator.cluster import KubernetesCluster

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class ApiServer:
    """Answers are given in order, the last one again and again."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)

    def answers(self, *bodies: Any, status: int = 200) -> None:
        """Answer with JSON bodies (bytes: as they are), one after the other."""
        self._answers = [self._fixed(body, status) for body in bodies]

    def refuses(self, status: int, reason: str = "", message: str = "no") -> None:
        """Answer with a Status object."""
        self.answers(
            {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status},
            status=status,
        )

    def calls(self, answer: Answer) -> None:
        """Answer with what a coroutine function returns."""
        self._answers = [answer]

    @property
    def last(self) -> Seen:
        """The last request."""
        return self.seen[-1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Remember and answer one request."""
        body = await request.read()
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return await answer(request)

    @staticmethod
    def _fixed(body: Any, status: int) -> Answer:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=text, content_type="application/json")

        return answer

    def cluster(
        self, *, token: str | None = None, ca_pem: str | None = None, **wishes: Any
    ) -> KubernetesCluster:
        """Return a client of this server."""
        configuration = Configuration(host=self.url)
        if token is not None:
            configuration.api_key = {"BearerToken": f"Bearer {token}"}
        if ca_pem is not None:
            configuration.ca_cert_data = ca_pem
        return KubernetesCluster(configuration, **wishes)


@asynccontextmanager
async def running(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """Serve on a free port of 127.0.0.1."""
    server = ApiServer()
    server.answers({})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def lines(*events: Any, then: Callable[[], Awaitable[None]] | None = None) -> Answer:
    """Return an answer that streams watch events, and then waits before it ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            text = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
            await response.write(text)
        if then is not None:
            await then()
        return response

    return answer


async def closed_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
