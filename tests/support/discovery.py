"""A stand-in for the operator on the discovery stream: mutual TLS, one script per filter, answers recorded.

Written apart from the product's own server on purpose: it proves what the generated configuration asks for.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
from tests.support.certs import Pair
from tests.support.envoy import eventually

from mtls_operator.envoy import script_version

_SERVICE = "envoy.service.extension.v3.ExtensionConfigDiscoveryService"
_EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a proxy said on a stream: ``error`` None is an acknowledgement of ``version`` in force."""

    node: str
    resource: str
    version: str
    error: str | None


@dataclass(slots=True)
class _Stream:
    resource: str
    outbox: queue.Queue[str | None] = field(default_factory=queue.Queue)


class Discovery:
    """Serves the extension discovery service on a free port of 127.0.0.1."""

    def __init__(self, server: Pair, client_ca_pem: str, *, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, str] = {}
        self._streams: list[_Stream] = []
        self._replies: list[Reply] = []
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            options=[("grpc.http2.max_ping_strikes", 0), ("grpc.keepalive_permit_without_calls", 1)],
        )
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {"StreamExtensionConfigs": handler}),)
        )
        credentials = grpc.ssl_server_credentials(
            [(server.key_pem, server.certificate_pem.encode())], client_ca_pem.encode(), True
        )
        self.port: int = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self._server.start()

    def offer(self, resource: str, script: str) -> None:
        """Send a script to every stream of a filter, and to those that come later."""
        with self._lock:
            self._scripts[resource] = script
            for stream in self._streams:
                if stream.resource == resource:
                    stream.outbox.put(script)

    def push(self, resource: str, script: str) -> None:
        """Send a script and wait until a proxy has acknowledged it."""
        version = script_version(script)
        before = len(self.replies())
        self.offer(resource, script)
        eventually(
            lambda: any(
                reply.resource == resource and reply.version == version and reply.error is None
                for reply in self.replies()[before:]
            ),
            f"{resource} {version} is acknowledged; last answers: {self.replies()[-2:]}",
        )

    def refusal(self, resource: str, script: str) -> str:
        """Send a script and wait for the proxy's refusal; returns its text."""
        before = len(self.replies())
        self.offer(resource, script)

        def refused() -> list[str]:
            return [
                r.error for r in self.replies()[before:] if r.resource == resource and r.error is not None
            ]

        eventually(lambda: bool(refused()), f"{resource} is refused")
        return refused()[0]

    def replies(self) -> list[Reply]:
        """Return every message of the proxies so far."""
        with self._lock:
            return list(self._replies)

    def close(self) -> None:
        """Cut every stream."""
        with self._lock:
            for stream in self._streams:
                stream.outbox.put(None)
        self._server.stop(0).wait(5)

    def _serve(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        first = _request(next(requests))
        stream = _Stream(first.resource)
        self._note(first)
        with self._lock:
            self._streams.append(stream)
            if first.resource in self._scripts:
                stream.outbox.put(self._scripts[first.resource])
        threading.Thread(target=self._listen, args=(requests, stream, first.node), daemon=True).start()
        context.add_callback(lambda: stream.outbox.put(None))
        nonce = 0
        while (script := stream.outbox.get()) is not None:
            nonce += 1
            yield _response(first.resource, script, str(nonce))
        with self._lock:
            self._streams.remove(stream)

    def _listen(self, requests: Iterator[bytes], stream: _Stream, node: str) -> None:
        try:
            for message in requests:
                reply = _request(message)
                self._note(Reply(node, stream.resource, reply.version, reply.error))
        except grpc.RpcError:
            return

    def _note(self, reply: Reply) -> None:
        with self._lock:
            self._replies.append(reply)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _field(number: int, content: str | bytes) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _any(url: str, content: bytes) -> bytes:
    return _field(1, url) + _field(2, content)


def _response(resource: str, script: str, nonce: str) -> bytes:
    lua = _field(3, _field(3, script)) + _field(4, resource)
    extension = _field(1, resource) + _field(2, _any(_LUA, lua))
    return (
        _field(1, script_version(script))
        + _field(2, _any(_EXTENSION, extension))
        + _field(4, _EXTENSION)
        + _field(5, nonce)
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        tag = varint()
        if tag & 7 == 0:
            varint()
            continue
        length = varint()
        yield tag >> 3, message[position : position + length]
        position += length


def _request(message: bytes) -> Reply:
    version = node = resource = ""
    error = None
    for number, content in _fields(message):
        if number == 1:
            version = content.decode()
        elif number == 2:
            node = next((inner.decode() for key, inner in _fields(content) if key == 1), "")
        elif number == 3:
            resource = content.decode()
        elif number == 6:
            error = next((inner.decode() for key, inner in _fields(content) if key == 2), "")
    return Reply(node, resource, version, error)
