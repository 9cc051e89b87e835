"""The streams on the wire: reads requests, writes pushes, keeps time. All decisions are the registry's.

Runs in the server's own event loop. A slow reader cannot hold up the others: the places for writes are
bounded, a write that is blocked gives its place back after a quarter of a second, and who was slow once uses
a few places of its own until it has read in time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog

from mtls_operator.push.errors import Close, Code, StreamEnded
from mtls_operator.push.identity import identity_of
from mtls_operator.push.messages import SERVICE, STREAM_METHOD
from mtls_operator.push.model import Limits
from mtls_operator.push.registry import Registry, Session

log = structlog.get_logger(__name__)

_MILLISECONDS: Final = 1000
#: A proxy opens two streams on one connection; more only while it reconnects.
_STREAMS_PER_CONNECTION: Final = 8


class Streams:
    """The handler of ``StreamExtensionConfigs``."""

    def __init__(self, registry: Registry, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._places = asyncio.Semaphore(limits.writes)
        self._slow_places = asyncio.Semaphore(limits.slow_writes)
        self._operations: set[asyncio.Task[None]] = set()

    async def handle(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Serve one stream until it ends; gRPC calls this once per stream.

        The stream counts for its namespace until its end is delivered: a proxy that never reads cannot pile up
        unread pushes by connecting again and again.
        """
        awake = asyncio.Event()
        try:
            session = self._registry.admit(identity_of(context.auth_context()), awake.set, now=_now())
        except StreamEnded as end:
            await _abort(context, end.close)
            return
        try:
            await self._serve(session, requests, context, awake)
            if session.close is not None:
                await _abort(context, session.close)
        finally:
            self._registry.release(session)

    async def finished(self) -> None:
        """Wait until no read and no write is left; they end when the server has stopped."""
        await asyncio.gather(*self._operations, return_exceptions=True)

    async def _serve(
        self, session: Session, requests: AsyncIterator[bytes], context: Any, awake: asyncio.Event
    ) -> None:
        reader = self._operation(self._read(session, requests), awake)
        try:
            while session.close is None and not reader.done():
                awake.clear()
                if not await self._push(session, context, awake=awake, reader=reader):
                    await self._wait(session, awake)
        except grpc.aio.BaseError as error:
            log.debug("stream broken", namespace=session.identity.namespace, error=str(error))
        finally:
            self._registry.detach(session)

    async def _read(self, session: Session, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            self._registry.receive(session, data, now=_now())

    async def _push(
        self, session: Session, context: Any, *, awake: asyncio.Event, reader: asyncio.Task[None]
    ) -> bool:
        """Write what the stream must get now; return whether there was anything."""
        async with self._slow_places if session.slow else self._places:
            data = self._registry.next_push(session, now=_now())
            if data is None:
                return False
            write = self._operation(context.write(data), awake)
            await asyncio.wait({write}, timeout=self._limits.slow_seconds)
        session.mark_slow(slow=not write.done())
        while not write.done() and session.close is None and not reader.done():
            awake.clear()
            await self._wait(session, awake)
        if write.done() and not write.cancelled():
            write.result()
        return True

    def _operation(self, coroutine: Coroutine[Any, Any, None], awake: asyncio.Event) -> asyncio.Task[None]:
        """Start a read or write that nobody cancels.

        In grpc.aio (1.85), cancelling one frees memory that gRPC's core still writes to when a message arrives:
        the process crashes. Left alone, each ends by itself at the latest when its connection does.
        """
        task = asyncio.create_task(coroutine)
        self._operations.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._operations.discard(task)
            if not task.cancelled():
                task.exception()
            awake.set()

        task.add_done_callback(ended)
        return task

    async def _wait(self, session: Session, awake: asyncio.Event) -> None:
        """Wait until there is something to do; a deadline that is over ends the stream."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(session.deadline):
                await awake.wait()
        self._registry.expire(session, now=_now())


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Return gRPC's channel arguments for the server.

    Envoy pings more often than gRPC tolerates by default, which would cut every stream with "too many pings".
    Our own pings find proxies that vanished without a word, so that they do not count as connected.
    """
    return [
        ("grpc.http2.min_ping_interval_without_data_ms", 1 * _MILLISECONDS),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 15 * _MILLISECONDS),
        ("grpc.keepalive_timeout_ms", 10 * _MILLISECONDS),
        ("grpc.server_handshake_timeout_ms", 10 * _MILLISECONDS),
        ("grpc.max_connection_idle_ms", 60 * _MILLISECONDS),
        ("grpc.max_connection_age_ms", int(limits.connection_seconds * _MILLISECONDS)),
        ("grpc.max_connection_age_grace_ms", 1 * _MILLISECONDS),
        ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION),
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]


def service(streams: Streams) -> Any:
    """Return the gRPC handler of the discovery service: bytes in, bytes out."""
    method = grpc.stream_stream_rpc_method_handler(streams.handle)
    return grpc.method_handlers_generic_handler(SERVICE, {STREAM_METHOD: method})


async def _abort(context: Any, close: Close) -> None:
    if close.code is not Code.DONE:
        log.info("stream ended", code=close.code.value, reason=close.message, peer=context.peer())
        await context.abort(grpc.StatusCode[close.code.value], close.message)


def _now() -> float:
    return asyncio.get_running_loop().time()
