"""A proxy that a test plays: the client side of one discovery stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from tests.integration.push.authority import SERVER_NAME, KeyPair
from tests.integration.push.served import DEADLINE

from mtls_operator.api import names
from mtls_operator.push import messages

Play = Callable[..., "Proxy"]


def request(
    node: str = "",
    *,
    version: str = "",
    resource: tuple[str, ...] = (names.RULES_FILTER,),
    type_url: str = messages.EXTENSION_TYPE,
    nonce: str = "",
    error: str | None = None,
) -> bytes:
    """Return a DiscoveryRequest as a proxy writes it."""
    field_of = messages._field
    out = field_of(1, version.encode()) + field_of(2, field_of(1, node.encode()))
    out += b"".join(field_of(3, each.encode()) for each in resource)
    out += field_of(4, type_url.encode()) + field_of(5, nonce.encode())
    return out + (field_of(6, b"\x08\x0d" + field_of(2, error.encode())) if error is not None else b"")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push carries."""

    version: str
    nonce: str
    size: int


class Proxy:
    """A played proxy's stream. It reads from its first ``read`` or ``silent`` on, and not before."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reading = False
        method = channel.stream_stream(f"/{messages.SERVICE}/{messages.STREAM_METHOD}")
        self._call = method(iter(self._requests.get, None), timeout=4 * DEADLINE)
        self._call.add_callback(lambda: self._requests.put(None))

    def send(self, node: str = "", **parts: Any) -> None:
        self.send_bytes(request(node, **parts))

    def send_bytes(self, data: bytes) -> None:
        self._requests.put(data)

    def read(self) -> Pushed:
        """Return the next push."""
        self._start_reading()
        data = self._answers.get(timeout=DEADLINE)
        assert data is not None, f"the stream ended: {self._call.code()} {self._call.details()}"
        fields = {number: value for number, value in messages._fields(data) if value is not None}
        return Pushed(fields[1].decode(), fields[5].decode(), len(data))

    def acknowledge(self, pushed: Pushed, **parts: Any) -> None:
        self.send(version=pushed.version, nonce=pushed.nonce, **parts)

    def silent(self, seconds: float = 0.2) -> bool:
        """Return whether nothing arrives for a while."""
        self._start_reading()
        try:
            self._answers.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def code(self) -> grpc.StatusCode:
        """Return how the server ended the stream."""
        return self._call.code()

    def leave(self) -> None:
        """Cancel the stream."""
        self._call.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._requests.put(None)
        self._channel.close()

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for data in self._call:
                self._answers.put(data)
        except grpc.RpcError:
            pass
        finally:
            self._answers.put(None)


def connect(port: int, *, trusted: bytes, pair: KeyPair | None, **options: int) -> grpc.Channel:
    """Return a connection of its own to a server, with a client certificate or without."""
    credentials = grpc.ssl_channel_credentials(
        trusted, pair.key if pair else None, pair.certificate if pair else None
    )
    arguments = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        *((f"grpc.{name}", value) for name, value in options.items()),
    ]
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=arguments)
