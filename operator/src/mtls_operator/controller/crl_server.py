"""The operator's port for signed revocation lists: plain HTTP, served from memory, no other path.

A list proves itself by its signature, and whoever looks a list up over TLS would need another list for that TLS (RFC
5280, 8). Everybody may ask here, so nothing that asks costs much: connections are bounded in number and in time, and a
reader who is too slow is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

import structlog
from aiohttp import web

from mtls_operator.controller.served import ServedLists
from mtls_operator.pki import CrlForms

_log = structlog.get_logger(__name__)

#: Where lists are: ``{namespace}`` and ``{generation}`` as in the name of the CA's Secret.
PATH: Final = "/crl/{namespace}/{generation}.{form}"
MOST_CONNECTIONS: Final = 128
#: A connection ends after this many seconds, whatever it is doing: a list of many megabytes takes some.
CONNECTION_SECONDS: Final = 120.0
_LONGEST_NUMBER: Final = 9
#: RFC 2585, 4.2; there is no registered type for PEM.
_TYPES: Final = {"crl": "application/pkix-crl", "pem": "application/x-pem-file"}


def path_of(namespace: str, generation: int, form: str = "crl") -> str:
    """Return the path of a list."""
    return PATH.format(namespace=namespace, generation=generation, form=form)


class _Refused(asyncio.Protocol):
    """A connection too many: closed as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


@dataclass(slots=True)
class CrlServer:
    """Serves what is in ``lists``."""

    lists: ServedLists
    now: Callable[[], datetime]
    most_connections: int = MOST_CONNECTIONS
    connection_seconds: float = CONNECTION_SECONDS
    _runner: web.AppRunner | None = None
    _server: asyncio.Server | None = None
    _closed: set[asyncio.TimerHandle] = field(default_factory=set)

    async def start(self, port: int, *, address: str = "0.0.0.0") -> int:
        """Listen; return the port, which is another one for 0."""
        app = web.Application(client_max_size=1024)
        app.add_routes([web.get(PATH.replace("{form}", "{form:crl|pem}"), self._answer)])
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15.0)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, address, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for timer in self._closed:
            timer.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server if self._runner is not None else None
        if server is None or self.open_connections >= self.most_connections:
            return _Refused()
        protocol = server()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.connection_seconds, self._end, protocol)
        self._closed = {one for one in self._closed if not one.cancelled() and one.when() > loop.time()}
        self._closed.add(timer)
        return protocol

    def _end(self, protocol: web.RequestHandler) -> None:
        transport = protocol.transport
        if transport is not None and not transport.is_closing():
            transport.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        namespace, number = request.match_info["namespace"], request.match_info["generation"]
        if not (number.isascii() and number.isdigit()) or len(number) > _LONGEST_NUMBER or number[0] == "0":
            raise web.HTTPNotFound
        generation, form = int(number), request.match_info["form"]
        forms = self.lists.get(namespace, generation)
        if forms is None:
            raise web.HTTPNotFound
        body, tag = (forms.der, forms.der_tag) if form == "crl" else (forms.pem, forms.pem_tag)
        fresh = int(self.lists.fresh_for(namespace, generation, now=self.now()).total_seconds())
        headers = {
            "ETag": tag,
            "Last-Modified": format_datetime(forms.this_update.astimezone(UTC), usegmt=True),
            "Cache-Control": f"public, max-age={fresh}" if fresh > 0 else "no-cache",
        }
        if _is_current(request, forms, tag):
            return web.Response(status=304, headers=headers)
        headers["X-Content-Type-Options"] = "nosniff"
        return web.Response(body=body, content_type=_TYPES[form], headers=headers)


def _is_current(request: web.Request, forms: CrlForms, tag: str) -> bool:
    """Say whether the client has this very list already (RFC 9110, 13.2.2: a tag goes before a date)."""
    with contextlib.suppress(ValueError):
        tags = request.if_none_match
        if tags is not None:
            return any(one.value in ("*", tag.strip('"')) for one in tags)
    if "If-None-Match" in request.headers:
        return False
    since = request.if_modified_since
    return since is not None and forms.this_update <= since
