"""An application for tests: answers every request with what it received, and keeps it for assertions.

``Http1Upstream`` speaks HTTP/1.1 (and accepts WebSocket upgrades, echoing bytes), ``Http2Upstream`` HTTP/2
without TLS. Both read bytes as they come, so that a test sees what really arrived.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar

import h2.config
import h2.connection
import h2.events


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the application saw it; header names are lower-case."""

    method: str
    target: str
    authority: str
    headers: tuple[tuple[str, str], ...]
    trailers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Return the values of a header, in order of arrival."""
        return [value for key, value in self.headers if key == name]

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "method": self.method,
                "target": self.target,
                "authority": self.authority,
                "headers": self.headers,
                "trailers": self.trailers,
            }
        ).encode()


@dataclass(slots=True)
class Inbox:
    """Requests in order of arrival."""

    _requests: list[Received] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, request: Received) -> None:
        with self._lock:
            self._requests.append(request)

    def all(self) -> list[Received]:
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()


#: Here the HTTP/1.1 application knows nothing of WebSockets, as most do, and answers as ever.
NO_SOCKET = "/no-socket"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    inbox: Inbox


class _Upstream:
    handler: ClassVar[type[socketserver.BaseRequestHandler]]

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), self.handler)
        self.inbox = self._server.inbox = Inbox()
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Http1(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self._one():
                pass

    def _one(self) -> bool:
        line = self.rfile.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return False
        method, target, _ = line.split(" ", 2)
        headers = self._fields()
        lookup = dict(headers)
        body, trailers = self._body(lookup)
        request = Received(method, target, lookup.get("host", ""), headers, trailers, body)
        self.server.inbox.put(request)
        if lookup.get("upgrade", "").lower() == "websocket" and target != NO_SOCKET:
            self._echo_bytes()
            return False
        answer = request.to_json()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
        self.wfile.write(head.encode() + (b"" if method == "HEAD" else answer))
        return True

    def _fields(self) -> tuple[tuple[str, str], ...]:
        found = []
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            found.append((name.lower(), value.strip()))
        return tuple(found)

    def _body(self, headers: dict[str, str]) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0"))), ()
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body, self._fields()

    def _echo_bytes(self) -> None:
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        while data := self.connection.recv(4096):
            self.wfile.write(data)


class _Http2(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        streams: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65_536):
                for event in connection.receive_data(data):
                    self._event(connection, streams, event)
                self.request.sendall(connection.data_to_send())

    def _event(
        self,
        connection: h2.connection.H2Connection,
        streams: dict[int, dict[str, Any]],
        event: h2.events.Event,
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            streams[event.stream_id] = {"headers": event.headers, "trailers": (), "body": b""}
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id]["body"] += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            streams[event.stream_id]["trailers"] = tuple(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(connection, event.stream_id, streams.pop(event.stream_id))

    def _answer(self, connection: h2.connection.H2Connection, stream: int, seen: dict[str, Any]) -> None:
        fields = tuple((str(name), str(value)) for name, value in seen["headers"])
        pseudo = {name: value for name, value in fields if name.startswith(":")}
        request = Received(
            pseudo[":method"],
            pseudo[":path"],
            pseudo[":authority"],
            tuple(pair for pair in fields if not pair[0].startswith(":")),
            tuple((str(name), str(value)) for name, value in seen["trailers"]),
            seen["body"],
        )
        self.server.inbox.put(request)
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
        connection.send_data(stream, request.to_json(), end_stream=True)


class Http1Upstream(_Upstream):
    """An HTTP/1.1 application on a free port of 127.0.0.1."""

    handler = _Http1


class Http2Upstream(_Upstream):
    """An HTTP/2 application (prior knowledge, no TLS) on a free port of 127.0.0.1."""

    handler = _Http2
