"""Python values as Lua source text.

A script is code that runs in the proxy, with files and processes in reach. Every text that comes from outside
is written by ``lua_string`` and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _/.-")


def lua_string(text: str | bytes) -> str:
    r"""Return a Lua string literal: every byte that is not plainly harmless is written as ``\ddd``."""
    data = text.encode() if isinstance(text, str) else text
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in data) + '"'


def lua_bool(value: bool) -> str:  # noqa: FBT001 - the value itself, not a switch
    """Return ``true`` or ``false``."""
    return "true" if value else "false"


def lua_list(entries: Iterable[str]) -> str:
    """Return a table of Lua expressions in their order, one per line, indented."""
    lines = [f"  {_indented(value)},\n" for value in entries]
    return "{\n" + "".join(lines) + "}" if lines else "{}"


def lua_table(entries: Iterable[tuple[str, str]]) -> str:
    """Return a table of string keys to Lua expressions, sorted by key, one entry per line, indented."""
    lines = [f"  [{lua_string(key)}] = {_indented(value)},\n" for key, value in sorted(entries)]
    return "{\n" + "".join(lines) + "}" if lines else "{}"


def _indented(value: str) -> str:
    # Literals hold no line ends: lua_string escapes them.
    return value.replace("\n", "\n  ")
