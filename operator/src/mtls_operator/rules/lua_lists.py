"""Named lists as Lua: packed, for they travel to every proxy; ``rt`` unpacks them as the script loads."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mtls_operator.rules.lists import NamedList, Ranges
from mtls_operator.rules.lua_text import lua_list, lua_number, lua_set, lua_string
from mtls_operator.rules.types import Kind

#: What can stand between strings, the shortest in a script first.
_SEPARATORS: Final = (b" ", b"/", b"_", b"\n", b"\t", b"\x00")


@lru_cache(maxsize=64)
def list_table(named: NamedList, kind: Kind) -> str:
    """Return a Lua expression for what a list holds: a set of strings, or sorted ranges.

    Raises:
        ValueError: it is a list of another kind.
    """
    if named.kind is not kind:
        raise ValueError(f"a list of {kind.value} is expected, this one is of {named.kind.value}")
    if kind is Kind.BYTES:
        return _strings(named)
    if kind is Kind.INT:
        return lua_list(lua_number(end) for pair in named.ranges for end in pair)
    return f"rt.address_ranges({_packed(named.ranges, 4)}, {_packed(named.ranges6, 16)})"


def _strings(named: NamedList) -> str:
    members = sorted(named.strings)
    joined = b"".join(members)
    separator = next((each for each in _SEPARATORS if each not in joined), None)
    if separator is None or not members:
        return lua_set(members)
    return f"rt.set_of({lua_string(separator.join(members))}, {lua_string(separator)})"


def _packed(ranges: Ranges, size: int) -> str:
    return f'"{"".join(end.to_bytes(size, "big").hex() for pair in ranges for end in pair)}"'
