"""The request that the reference evaluator looks at: one flat mapping of JSON values, keyed by field name.

Strings stand for their UTF-8 bytes, ``{"hex": "2fff"}`` for arbitrary ones; a map is an object of lists. A
field that is left out has a default, or is derived from others as Cloudflare documents it (the URI from
path and query, the extension from the path, cookies from the Cookie header). No plain field is ever
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from mtls_operator.rules.schema import FIELDS
from mtls_operator.rules.tree import Address
from mtls_operator.rules.types import BOOL, BYTES, INT, IP, Container, Kind, Type

Data: TypeAlias = bool | int | bytes | Address | list["Data"] | dict[bytes, "Data"]

_DEFAULTS: Final[dict[str, object]] = {
    "cf.edge.server_ip": "198.51.100.1",
    "cf.edge.server_port": 443,
    "cf.tls_cipher": "AEAD-AES128-GCM-SHA256",
    "cf.tls_version": "TLSv1.3",
    "http.host": "api.example.com",
    "http.request.method": "GET",
    "http.request.uri.path": "/",
    "http.request.version": "HTTP/2",
    "ip.src": "203.0.113.7",
    "ssl": True,
}
_CONSTANTS: Final = {"true": True, "false": False}
_EMPTY: Final[dict[Kind, object]] = {Kind.BOOL: False, Kind.INT: 0, Kind.BYTES: "", Kind.IP: "0.0.0.0"}
_RAW: Final = "raw."


class RequestError(ValueError):
    """A request that names no field of ours, or has a value of another type."""


def check_request(request: Mapping[str, object]) -> None:
    """Raise :class:`RequestError` unless every key is a field with a value of its type."""
    for name, value in request.items():
        if name not in FIELDS or name in _CONSTANTS:
            raise RequestError(f"{name} is not a field of a request")
        _from_json(name, FIELDS[name], value)


def field_value(request: Mapping[str, object], name: str) -> Data:
    """Return the value of a field: given, derived or default."""
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in request:
        return _from_json(name, FIELDS[name], request[name])
    if name in _DERIVED:
        return _DERIVED[name](request)
    if name.startswith(_RAW):
        return field_value(request, name.removeprefix(_RAW))
    if FIELDS[name].scalar:
        return _from_json(name, FIELDS[name], _DEFAULTS.get(name, _EMPTY[FIELDS[name].kind]))
    return {} if FIELDS[name].outer is Container.MAP else []


def _from_json(name: str, kind: Type, value: object) -> Data:
    if not kind.scalar:
        if kind.outer is Container.ARRAY and isinstance(value, list):
            return [_from_json(name, kind.element(), member) for member in value]
        if kind.outer is Container.MAP and isinstance(value, dict):
            return {
                _bytes(name, key): _from_json(name, kind.element(), member) for key, member in value.items()
            }
        raise RequestError(f"{name} must be {kind}")
    if kind == BYTES:
        return _bytes(name, value)
    if kind == IP and isinstance(value, str):
        return _address(name, value)
    if (kind == BOOL and isinstance(value, bool)) or (kind == INT and type(value) is int):
        return value
    raise RequestError(f"{name} must be {kind}")


def _bytes(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"hex"} and isinstance(value["hex"], str):
        return bytes.fromhex(value["hex"])
    raise RequestError(f"{name} must be text or {{hex: …}}")


def _address(name: str, value: str) -> Address:
    """Read an address; IPv4 in IPv6 clothes, as a socket for both families reports it, is IPv4."""
    try:
        address = ip_address(value)
    except ValueError as error:
        raise RequestError(f"{name}: {error}") from error
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return IPv4Address(int(address.ipv4_mapped))
    return address


def _text(request: Mapping[str, object], name: str) -> bytes:
    value = field_value(request, name)
    if not isinstance(value, bytes):
        raise TypeError(f"{name} holds no bytes")
    return value


def _uri(request: Mapping[str, object]) -> bytes:
    path, query = _text(request, "http.request.uri.path"), _text(request, "http.request.uri.query")
    return path + b"?" + query if query else path


def _full_uri(request: Mapping[str, object]) -> bytes:
    scheme = b"https://" if field_value(request, "ssl") else b"http://"
    return scheme + _text(request, "http.host") + _text(request, "http.request.uri")


def _extension(request: Mapping[str, object]) -> bytes:
    segment = _text(request, "http.request.uri.path").rpartition(b"/")[2]
    stem, _, extension = segment.rpartition(b".")
    return extension.lower() if stem else b""


def _headers(request: Mapping[str, object]) -> dict[bytes, list[bytes]]:
    value = field_value(request, "http.request.headers")
    if not isinstance(value, dict):
        raise TypeError("headers are a map")
    return {
        name: [member for member in values if isinstance(member, bytes)]
        for name, values in value.items()
        if isinstance(values, list)
    }


def _header(name: bytes, joint: bytes | None = None) -> Callable[[Mapping[str, object]], Data]:
    def read(request: Mapping[str, object]) -> Data:
        values = _headers(request).get(name, [])
        if joint is not None:
            return joint.join(values)
        return values[0] if values else b""

    return read


def _header_names(request: Mapping[str, object]) -> Data:
    return [name for name, values in _headers(request).items() for _ in values]


def _header_values(request: Mapping[str, object]) -> Data:
    return [value for values in _headers(request).values() for value in values]


def _grouped(pairs: list[tuple[bytes, bytes]]) -> Data:
    grouped: dict[bytes, list[Data]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return {name: list(values) for name, values in grouped.items()}


def _cookies(request: Mapping[str, object]) -> Data:
    parts = [part.strip(b" \t") for part in _text(request, "http.cookie").split(b";")]
    pairs = [part.partition(b"=") for part in parts if part]
    return _grouped([(unquote_to_bytes(name), value) for name, _, value in pairs])


def _arguments(request: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
    query = _text(request, "http.request.uri.query")
    parts = [part.partition(b"=") for part in query.split(b"&") if part]
    return [(name, value) for name, _, value in parts]


_DERIVED: Final[dict[str, Callable[[Mapping[str, object]], Data]]] = {
    "http.cookie": _header(b"cookie", b"; "),
    "http.referer": _header(b"referer"),
    "http.request.cookies": _cookies,
    "http.request.full_uri": _full_uri,
    "http.request.headers.names": _header_names,
    "http.request.headers.values": _header_values,
    "http.request.uri": _uri,
    "http.request.uri.args": lambda request: _grouped(_arguments(request)),
    "http.request.uri.args.names": lambda request: [name for name, _ in _arguments(request)],
    "http.request.uri.args.values": lambda request: [value for _, value in _arguments(request)],
    "http.request.uri.path.extension": _extension,
    "http.user_agent": _header(b"user-agent"),
    "http.x_forwarded_for": _header(b"x-forwarded-for", b", "),
}
