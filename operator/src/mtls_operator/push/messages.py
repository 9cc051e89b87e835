"""The two messages of Envoy's extension discovery, by hand: what the operator writes, what a proxy answers.

Why no generated stubs: they cannot be installed beside the proxy's own Python package (both own the top-level
package ``envoy``), and six message types need less code than that dependency. Field numbers are those of
``envoy.service.discovery.v3``, ``envoy.config.core.v3`` and ``envoy.extensions.filters.http.lua.v3``, the
wire format is that of protobuf's "Encoding" page. The reader takes what a hostile client sends: it ends with
a ``DiscoveryRequest`` or with ``MalformedMessage``, in time proportional to the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SERVICE: Final = "envoy.service.extension.v3.ExtensionConfigDiscoveryService"
STREAM_METHOD: Final = "StreamExtensionConfigs"
EXTENSION_TYPE: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
LUA_TYPE: Final = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"

#: A node lists each extension that its Envoy was built with (about 900): far above that, it is no node.
MAX_FIELDS: Final = 8192

_BYTES: Final = 2
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80
_MAX_VARINT: Final = 1 << 64
_MAX_VARINT_BYTES: Final = 10
_MAX_TAG: Final = 1 << 32


class MalformedMessage(ValueError):  # noqa: N818 - the message is malformed, not the program
    """Bytes that are not the protobuf message they should be."""


@dataclass(frozen=True, slots=True)
class DiscoveryRequest:
    """What a proxy says on the stream: what it has, what it wants, and how it liked the last answer.

    ``error`` is ``None`` in an acknowledgement, and the proxy's own text in a refusal (possibly empty).
    ``node`` is the node's id, ``""`` when the message carries no node (all but the first one of a stream).
    """

    version: str
    node: str
    names: tuple[str, ...]
    type_url: str
    nonce: str
    error: str | None


def encode_response(name: str, *, version: str, script: str) -> bytes:
    """Return a DiscoveryResponse with one Lua filter, without its nonce.

    Serialised once for all streams: ``encode_nonce`` is appended per stream (protobuf messages concatenate).
    The filter's ``stat_prefix`` is the resource's name, as in the configuration that the proxy starts from.
    """
    lua = _field(3, _field(3, script.encode())) + _field(4, name.encode())
    extension = _field(1, name.encode()) + _field(2, _any(LUA_TYPE, lua))
    resource = _any(EXTENSION_TYPE, extension)
    return _field(1, version.encode()) + _field(2, resource) + _field(4, EXTENSION_TYPE.encode())


def encode_nonce(nonce: str) -> bytes:
    """Return the bytes that complete a response of ``encode_response`` with its nonce."""
    return _field(5, nonce.encode())


def decode_request(data: bytes) -> DiscoveryRequest:
    """Return the parts of a DiscoveryRequest that the operator uses; unknown fields are skipped.

    Raises:
        MalformedMessage: it is not a message of that type, or has an unreasonable number of fields.
    """
    version = node = type_url = nonce = ""
    error: str | None = None
    resource_names: list[str] = []
    for number, value in _fields(data):
        match number:
            case 1:
                version = _text(value)
            case 2:
                node = _last_text(value, number=1)
            case 3:
                resource_names.append(_text(value))
            case 4:
                type_url = _text(value)
            case 5:
                nonce = _text(value)
            case 6:
                error = _last_bytes(value, number=2).decode(errors="replace")
    return DiscoveryRequest(version, node, tuple(resource_names), type_url, nonce, error)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field; an empty one is left out, as protobuf 3 does."""
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value if value else b""


def _any(type_url: str, value: bytes) -> bytes:
    return _field(1, type_url.encode()) + _field(2, value)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and content of each field; the content is ``None`` where it is not length-delimited."""
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_FIELDS:
            raise MalformedMessage(f"more than {MAX_FIELDS} fields")
        tag, position = _read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag >= _MAX_TAG:
            raise MalformedMessage("a field number out of range")
        value: bytes | None = None
        match wire_type:
            case 0:  # varint
                _, position = _read_varint(data, position)
            case 1:  # fixed64
                position += 8
            case 2:  # length-delimited
                length, start = _read_varint(data, position)
                position = start + length
                value = data[start:position]
            case 5:  # fixed32
                position += 4
            case _:
                raise MalformedMessage(f"wire type {wire_type}")
        if position > len(data):
            raise MalformedMessage("cut off")
        yield number, value


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    result = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise MalformedMessage("cut off")
        byte = data[position + index]
        result |= (byte & _SEVEN_BITS) << 7 * index
        if byte < _MORE:
            if result >= _MAX_VARINT:
                break
            return result, position + index + 1
    raise MalformedMessage("a number of more than 64 bits")


def _bytes(value: bytes | None) -> bytes:
    if value is None:
        raise MalformedMessage("a number where text or a message belongs")
    return value


def _text(value: bytes | None) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage("text that is not UTF-8") from error


def _last_bytes(message: bytes | None, *, number: int) -> bytes:
    """Return one length-delimited field of an embedded message; the last one counts, as in protobuf."""
    found = b""
    for each, value in _fields(_bytes(message)):
        if each == number:
            found = _bytes(value)
    return found


def _last_text(message: bytes | None, *, number: int) -> str:
    return _text(_last_bytes(message, number=number))
