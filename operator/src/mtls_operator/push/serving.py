"""The streams on the wire: reads requests, writes pushes, keeps time. All decisions are the registry's.

Runs in the server's own event loop. A slow reader cannot hold up the others: the places for writes are
bounded, a write that is blocked gives its place back after a quarter of a second, and who was slow once uses
a few places of its own until it has read in time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass
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
#: Ends that need nobody's attention.
_ORDINARY: Final = frozenset({Code.GONE, Code.REPLACED})


@dataclass(slots=True)
class _Stream:
    """One stream with what is under way on it."""

    session: Session
    context: Any
    awake: asyncio.Event
    reader: asyncio.Task[None] | None = None
    write: asyncio.Task[None] | None = None

    @property
    def ending(self) -> bool:
        """Whether the server or the proxy has ended it."""
        return self.session.close is not None or self.reader is None or self.reader.done()

    @property
    def writing(self) -> bool:
        """Whether a write is under way."""
        return self.write is not None and not self.write.done()


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

        The end cannot be sent before a blocked write is through, and until then the stream counts for its
        namespace: a proxy that never reads cannot pile up pushes by connecting again and again. Where nobody
        reads because nobody is there any more, our pings end the connection, and with it the write.
        """
        awake = asyncio.Event()
        try:
            session = self._registry.admit(identity_of(context.auth_context()), awake.set, now=_now())
        except StreamEnded as end:
            await _abort(context, end.close)
            return
        stream = _Stream(session, context, awake)
        stream.reader = self._start(stream, self._read(session, requests))
        try:
            await self._serve(stream)
            if stream.write is not None:
                await asyncio.wait({stream.write})
            if session.close is not None:
                await _abort(context, session.close)
        finally:
            self._registry.release(session)

    async def finished(self, timeout: float) -> None:  # noqa: ASYNC109 - cancels nothing, unlike a timeout around it
        """Wait until no read and no write is left: they end when the server has stopped."""
        if self._operations:
            await asyncio.wait(self._operations, timeout=timeout)

    async def _serve(self, stream: _Stream) -> None:
        try:
            while not stream.ending:
                stream.awake.clear()
                if stream.writing or not await self._push(stream):
                    await self._wait(stream)
        finally:
            self._registry.detach(stream.session)

    async def _read(self, session: Session, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            self._registry.receive(session, data, now=_now())

    async def _push(self, stream: _Stream) -> bool:
        """Start to write what the stream must get now; return whether there was anything."""
        session = stream.session
        async with self._slow_places if session.slow else self._places:
            data = self._registry.next_push(session, now=_now())
            if data is None:
                return False
            stream.write = self._start(stream, stream.context.write(data))
            await asyncio.wait({stream.write}, timeout=self._limits.slow_seconds)
        session.mark_slow(slow=stream.writing)
        return True

    async def _wait(self, stream: _Stream) -> None:
        """Wait until there is something to do; a deadline that is over ends the stream."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(stream.session.deadline):
                await stream.awake.wait()
        self._registry.expire(stream.session, now=_now())

    def _start(self, stream: _Stream, operation: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a read or write that nobody cancels.

        In grpc.aio (1.85), cancelling a read frees the memory that gRPC's core will write the next message to.
        Left alone, each operation ends by itself, at the latest when its connection does.
        """
        task = asyncio.create_task(operation)
        self._operations.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._operations.discard(task)
            if not task.cancelled() and task.exception() is not None:
                log.debug("stream.broken", error=str(task.exception()))
            stream.awake.set()

        task.add_done_callback(ended)
        return task


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
        facts = {"code": close.code.value, "reason": close.message, "peer": context.peer()}
        if close.code in _ORDINARY:
            log.debug("stream.ended", **facts)
        else:
            log.info("stream.ended", **facts)
        await context.abort(grpc.StatusCode[close.code.value], close.message)


def _now() -> float:
    return asyncio.get_running_loop().time()
