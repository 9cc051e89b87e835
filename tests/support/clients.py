"""TLS clients for tests: raw HTTP/1.1 bytes, and HTTP/2 frame by frame.

Both keep their connection, so that a test can see what a change does to one that is already open. The
server's certificate is not checked: the tests ask what the proxy does with the client's.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.events

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body; status 0: the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """Return what the application says that it received."""
        return dict(json.loads(self.body))


GONE = Answer(0, {}, b"")


def tls_context(
    *,
    identity: tuple[Path, Path] | None = None,
    version: ssl.TLSVersion | None = None,
    alpn: str = "http/1.1",
) -> ssl.SSLContext:
    """Return a client context; ``identity``: certificate and key file; ``version``: the only TLS version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if identity is not None:
        context.load_cert_chain(*identity)
    return context


class _Connection:
    def __init__(
        self, port: int, context: ssl.SSLContext, sni: str | None, *, address: str = "127.0.0.1"
    ) -> None:
        plain = socket.create_connection((address, port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=sni)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Http1(_Connection):
    """An HTTP/1.1 connection that sends exactly the bytes it is given."""

    def __init__(
        self, port: int, context: ssl.SSLContext, sni: str | None, *, address: str = "127.0.0.1"
    ) -> None:
        super().__init__(port, context, sni, address=address)
        self.reader = self.socket.makefile("rb")

    def close(self) -> None:
        self.reader.close()
        super().close()

    def get(self, target: str, host: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Send a GET and return the answer."""
        return self.request("GET", target, host, headers)

    def request(
        self, method: str, target: str, host: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        """Send a request with a content-length when there is a body."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers)]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def raw(self, data: bytes) -> Answer:
        """Send bytes and read one response."""
        try:
            self.socket.sendall(data)
            return self.read(bodiless=data.startswith(b"HEAD "))
        except (ConnectionError, ssl.SSLError):
            return GONE

    def read(self, *, bodiless: bool = False) -> Answer:
        """Read one response from the connection; ``bodiless``: the answer to a HEAD."""
        line = self.reader.readline()
        if not line:
            return GONE
        headers: dict[str, str] = {}
        while field := self.reader.readline().rstrip(b"\r\n"):
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        status = int(line.split()[1])
        if status == 101 or bodiless:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.reader.readline(), 16):
                body += self.reader.read(size)
                self.reader.readline()
            self.reader.readline()
            return Answer(status, headers, body)
        return Answer(status, headers, self.reader.read(int(headers.get("content-length", "0"))))


class Http2(_Connection):
    """An HTTP/2 connection; header lists are sent as they are, without the library's own checks."""

    def __init__(
        self, port: int, context: ssl.SSLContext, sni: str | None, *, address: str = "127.0.0.1"
    ) -> None:
        super().__init__(port, context, sni, address=address)
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self._flush()

    def get(self, target: str, host: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Send a GET and return the answer."""
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", target)]
        return self.send([*pseudo, *headers])

    def send(self, headers: Sequence[tuple[str, str]], *, trailers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Send one request, with trailers when there are any, and return the answer."""
        stream = self.h2.get_next_available_stream_id()
        try:
            self.h2.send_headers(stream, list(headers), end_stream=not trailers)
            if trailers:
                self.h2.send_data(stream, b"body")
                self.h2.send_headers(stream, list(trailers), end_stream=True)
            self._flush()
            return self._read(stream)
        except (ConnectionError, ssl.SSLError):
            return GONE

    def _flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def _read(self, stream: int) -> Answer:
        status, headers, body = 0, {}, b""
        while True:
            data = self.socket.recv(65_536)
            if not data:
                return GONE
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    return GONE
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                    status = int(headers[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    return GONE if status == 0 else Answer(status, headers, body)
                elif isinstance(event, h2.events.StreamEnded):
                    self._flush()
                    return Answer(status, headers, body)
            self._flush()
