"""Values as Lua source text. Bytes that a user wrote reach the generated code only through :func:`lua_string`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mtls_operator.rules.tree import Address

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _/.-")
#: Above this, doubles no longer hold every integer. No number that the proxy knows comes near it.
_EXACT: Final = 2**53


def lua_string(value: bytes) -> str:
    r"""Return the Lua string literal of these bytes; all but harmless characters are written as ``\ddd``."""
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in value) + '"'


def lua_number(value: int) -> str:
    """Return a number that compares with the numbers of the proxy as this one does."""
    if abs(value) <= _EXACT:
        return str(value)
    return "(1/0)" if value > 0 else "(-1/0)"


def lua_literal(value: bytes | int | Address) -> str:
    """Return a literal of the language; addresses are 4 or 16 packed bytes."""
    if isinstance(value, bytes):
        return lua_string(value)
    return lua_number(value) if isinstance(value, int) else lua_string(value.packed)


def lua_bool(value: bool) -> str:  # noqa: FBT001 - the value itself, not a switch
    """Return ``true`` or ``false``."""
    return "true" if value else "false"


def lua_list(members: Iterable[str]) -> str:
    """Return a table of Lua expressions."""
    return "{" + ",".join(members) + "}"


def lua_set(members: Iterable[bytes]) -> str:
    """Return a table that is true at these keys."""
    return lua_list(f"[{lua_string(member)}]=true" for member in sorted(set(members)))
