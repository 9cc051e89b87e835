"""Clients that send the same request again and again over connections that stay open, with little work of their own.

They do not interpret answers beyond what is needed to count them: every answer must have the status 200. Requests of
all connections are sent before any answer is read, so that the proxy always has several under way.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence
from typing import Final, Protocol

import hpack
from tests.support.clients import _Connection

#: What a program sends that calls an API.
HEADERS: Final = (
    ("user-agent", "inventory-sync/4.2 (+https://example.com)"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJpbnZlbnRvcnkifQ.c2lnbmF0dXJl"),
    ("x-request-id", "5f2b7c1e-8a0d-4e43-9d55-1f4f0f6f3c11"),
)

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_FRAME_HEAD: Final = 9
#: The largest window, given once: bodies of a benchmark stay below it.
_WINDOW: Final = 2**31 - 1 - 65_535
#: ":status: 200" is entry 8 of the static table (RFC 7541, appendix A).
_OK: Final = b"\x88"


class Load(Protocol):
    """Connections that can be asked in turn."""

    def ask(self, count: int) -> None:
        """Have this many requests answered; fails when an answer is not 200."""

    def close(self) -> None:
        """Close the connections."""


class Http1Load:
    """HTTP/1.1: one request at a time on each connection."""

    def __init__(self, port: int, context: ssl.SSLContext, host: str, path: str, *, connections: int) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in HEADERS)]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._connections = [_Connection(port, context, host) for _ in range(connections)]

    def ask(self, count: int) -> None:
        """See ``Load``."""
        sockets = [connection.socket for connection in self._connections]
        for _ in range(count // len(sockets)):
            for socket in sockets:
                socket.sendall(self._request)
            for socket in sockets:
                _read_answer(socket)

    def close(self) -> None:
        """See ``Load``."""
        for connection in self._connections:
            connection.close()


def _read_answer(socket: ssl.SSLSocket) -> None:
    data = socket.recv(65_536)
    while b"\r\n\r\n" not in data:
        data += _more(socket)
    assert data.startswith(b"HTTP/1.1 200 "), data[:200]
    head, _, body = data.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length: ")
    missing = int(length.partition(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(_more(socket))


def _more(socket: ssl.SSLSocket) -> bytes:
    data = socket.recv(65_536)
    assert data, "the proxy closed the connection"
    return data


class Http2Load:
    """HTTP/2: several requests at a time on each connection."""

    def __init__(
        self, port: int, context: ssl.SSLContext, host: str, path: str, *, connections: int, streams: int
    ) -> None:
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path)]
        self._streams = streams
        self._connections = [
            _Http2Connection(port, context, host, [*pseudo, *HEADERS]) for _ in range(connections)
        ]

    def ask(self, count: int) -> None:
        """See ``Load``."""
        for _ in range(count // (self._streams * len(self._connections))):
            for connection in self._connections:
                connection.send(self._streams)
            for connection in self._connections:
                connection.read(self._streams)

    def close(self) -> None:
        """See ``Load``."""
        for connection in self._connections:
            connection.close()


class _Http2Connection(_Connection):
    def __init__(
        self, port: int, context: ssl.SSLContext, host: str, request: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__(port, context, host)
        encoder = hpack.Encoder()
        # The first block fills the proxy's table; from then on a block is a list of indices.
        self._first, self._block = encoder.encode(request), encoder.encode(request)
        self._stream = 1
        self._unread = b""
        self.socket.sendall(
            _PREFACE + _frame(_SETTINGS) + _frame(_WINDOW_UPDATE, payload=struct.pack(">I", _WINDOW))
        )

    def send(self, count: int) -> None:
        """Send some requests in one write."""
        frames = []
        for _ in range(count):
            block = self._first if self._stream == 1 else self._block
            frames.append(_frame(_HEADERS, _END_STREAM | _END_HEADERS, self._stream, block))
            self._stream += 2
        self.socket.sendall(b"".join(frames))

    def read(self, count: int) -> None:
        """Read until as many requests are answered."""
        data = self._unread
        while count:
            length = int.from_bytes(data[:3], "big") + _FRAME_HEAD if len(data) >= _FRAME_HEAD else None
            if length is None or len(data) < length:
                data += _more(self.socket)
                continue
            kind, flags, payload = data[3], data[4], data[_FRAME_HEAD:length]
            data = data[length:]
            if kind in (_DATA, _HEADERS):
                # The proxy can announce the size of its table (0x3fe11f and the like) before the first header.
                assert kind == _DATA or _OK in payload[:8], payload
                count -= flags & _END_STREAM
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                self.socket.sendall(_frame(kind, _ACK, payload=payload if kind == _PING else b""))
            else:
                assert kind in (_SETTINGS, _PING, _WINDOW_UPDATE), f"frame {kind}: {payload!r}"
        self._unread = data


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload
