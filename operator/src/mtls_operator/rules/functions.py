"""What the functions compute, for the reference evaluator; a missing argument is None.

Behaviour from Cloudflare's "Functions" page; where it is silent (indexes out of range, bad escapes), the
choice is in ``docs/rules-language.md``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Final, TypeAlias

from mtls_operator.rules.json_lookup import lookup_integer, lookup_string
from mtls_operator.rules.literals import address_like
from mtls_operator.rules.request import Data
from mtls_operator.rules.tree import Address

Result: TypeAlias = Data | None

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*")
_PERCENT: Final = re.compile(rb"%([0-9a-fA-F]{2})")
_PERCENT_U: Final = re.compile(rb"%u([0-9a-fA-F]{4})")
_SURROGATES: Final = range(0xD800, 0xE000)


def call(name: str, arguments: Sequence[Result]) -> Result:
    """Return what a function yields for these arguments."""
    present = [argument for argument in arguments if argument is not None]
    if name == "concat":
        return _concat(present)
    if name == "coalesce":
        return present[0] if present else None
    if any(argument is None for argument in arguments):
        return None
    return _FUNCTIONS[name](present)


def _bytes(value: Data) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a string was expected")
    return value


def _int(value: Data) -> int:
    if not isinstance(value, int):
        raise TypeError("an integer was expected")
    return value


def _concat(arguments: list[Data]) -> Result:
    if not arguments:
        return None
    if isinstance(arguments[0], list):
        return [member for argument in arguments if isinstance(argument, list) for member in argument]
    return b"".join(_bytes(argument) for argument in arguments)


def _len(arguments: list[Data]) -> Data:
    (value,) = arguments
    if not isinstance(value, bytes | list):
        raise TypeError("a string or an array was expected")
    return len(value)


def _has(arguments: list[Data]) -> Data:
    container, wanted = arguments
    if not isinstance(container, list | dict):
        raise TypeError("an array or a map was expected")
    return wanted in container


def _substring(arguments: list[Data]) -> Data:
    start, *end = (_int(argument) for argument in arguments[1:])
    return _bytes(arguments[0])[start : end[0] if end else None]


def _url_decode(arguments: list[Data]) -> Data:
    options = _bytes(arguments[1]) if len(arguments) > 1 else b""
    value = _bytes(arguments[0])
    while True:
        decoded = _decode_once(value, unicode=b"u" in options)
        if b"r" not in options or decoded == value:
            return decoded
        value = decoded


def _decode_once(value: bytes, *, unicode: bool) -> bytes:
    value = value.replace(b"+", b" ")
    if not unicode:
        return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), value)
    both = re.compile(_PERCENT_U.pattern + b"|" + _PERCENT.pattern)
    return both.sub(_escape, value)


def _escape(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        return bytes([int(match[2], 16)])
    code = int(match[1], 16)
    return match[0] if code in _SURROGATES else chr(code).encode()


def _split(arguments: list[Data]) -> Data:
    value, separator, most = arguments
    return list(_bytes(value).split(_bytes(separator), _int(most) - 1))


def _join(arguments: list[Data]) -> Data:
    array, separator = arguments
    if not isinstance(array, list):
        raise TypeError("an array was expected")
    return _bytes(separator).join(_bytes(member) for member in array)


def _decode_base64(arguments: list[Data]) -> Result:
    value = _bytes(arguments[0])
    text = value.rstrip(b"=")
    padding = len(value) - len(text)
    if _BASE64.fullmatch(text) is None or len(text) % 4 == 1 or padding not in {0, -len(text) % 4}:
        return None
    return b64decode(text + b"=" * (-len(text) % 4))


def _lookup_string(arguments: list[Data]) -> Result:
    return lookup_string(_bytes(arguments[0]), [_key(argument) for argument in arguments[1:]])


def _lookup_integer(arguments: list[Data]) -> Result:
    return lookup_integer(_bytes(arguments[0]), [_key(argument) for argument in arguments[1:]])


def _key(value: Data) -> bytes | int:
    return value if isinstance(value, bytes) else _int(value)


def _network(address: Address, bits: int) -> Address:
    hosts = (1 << (address.max_prefixlen - bits)) - 1
    return address_like(address, int(address) & ~hosts)


def _address(value: Data) -> Address:
    if isinstance(value, bool | int | bytes | list | dict):
        raise TypeError("an address was expected")
    return value


def _cidr(arguments: list[Data]) -> Data:
    address = _address(arguments[0])
    return _network(address, _int(arguments[1] if isinstance(address, IPv4Address) else arguments[2]))


def _cidr6(arguments: list[Data]) -> Data:
    address = _address(arguments[0])
    return address if isinstance(address, IPv4Address) else _network(address, _int(arguments[1]))


_FUNCTIONS: Final[dict[str, Callable[[list[Data]], Result]]] = {
    "cidr": _cidr,
    "cidr6": _cidr6,
    "decode_base64": _decode_base64,
    "ends_with": lambda a: _bytes(a[0]).endswith(_bytes(a[1])),
    "has_key": _has,
    "has_value": _has,
    "join": _join,
    "len": _len,
    "lookup_json_integer": _lookup_integer,
    "lookup_json_string": _lookup_string,
    "lower": lambda a: _bytes(a[0]).lower(),
    "remove_bytes": lambda a: _bytes(a[0]).translate(None, _bytes(a[1])),
    "split": _split,
    "starts_with": lambda a: _bytes(a[0]).startswith(_bytes(a[1])),
    "substring": _substring,
    "upper": lambda a: _bytes(a[0]).upper(),
    "url_decode": _url_decode,
}
