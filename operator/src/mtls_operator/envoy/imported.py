"""What the proxies know of revocation lists that users import: a set of serial numbers for each issuing CA.

Serial numbers of others are of any form and length, so they are no bitmap: of each, 48 bits of its SHA-256 are kept,
sorted, eight characters each. Every number of a list is found; another number is taken for one of 40 000 once in
7 000 million certificates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mtls_operator.envoy.lua_text import lua_list, lua_table
from mtls_operator.envoy.script import ScriptError

#: In the order of bytes, which is that of the text; no escapes are needed in Lua or JSON.
_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_WIDTH: Final = 8
_KEYS: Final = re.compile(r"([./0-9A-Za-z]{8})*")


class Unlisted(Enum):
    """A list that ought to be there and is not: every certificate of its CA is of unknown state."""

    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SerialSet:
    """The serial numbers that a CA has revoked, packed by ``pack_serials``.

    ``ends``: the second (since 1970) from which on the list says nothing any more, and every certificate of the CA is
    of unknown state; None: never.
    """

    keys: str = field(repr=False)
    ends: int | None = None

    @property
    def count(self) -> int:
        """How many serial numbers there are."""
        return len(self.keys) // _WIDTH


def pack_serials(serials: Iterable[str]) -> str:
    """Return serial numbers (upper-case hex in whole bytes) as the proxies look for them: sorted, each once."""
    return "".join(sorted({_key(serial) for serial in serials}))


def is_packed(keys: str) -> bool:
    """Say whether a text is what ``pack_serials`` gives: in another order, proxies would not find what is there."""
    parts = [keys[place : place + _WIDTH] for place in range(0, len(keys), _WIDTH)]
    return _KEYS.fullmatch(keys) is not None and all(map(str.__lt__, parts, parts[1:]))


def imported_lists(lists: Mapping[str, SerialSet | Unlisted | None]) -> list[str]:
    """Return the Lua statements that make the local ``imported``; a list of several CAs is there once.

    Raises:
        ScriptError: the keys are not packed serial numbers.
    """
    sets = sorted({one.keys for one in lists.values() if isinstance(one, SerialSet)})
    if not all(_KEYS.fullmatch(keys) for keys in sets):
        raise ScriptError("an imported list is not made of packed serial numbers")
    places = {keys: place for place, keys in enumerate(sets, start=1)}
    entries = [(digest, _entry(one, places)) for digest, one in lists.items() if one is not None]
    return [
        f"local serials = {lua_list(_literal(keys) for keys in sets)}",
        f"local imported = {lua_table(entries)}",
    ]


def _literal(keys: str) -> str:
    return f'"{keys}"'


def _entry(one: SerialSet | Unlisted, places: Mapping[str, int]) -> str:
    if isinstance(one, Unlisted):
        return "false"
    ends = "" if one.ends is None else f", ends = {one.ends}"
    return f"{{ keys = serials[{places[one.keys]}]{ends} }}"


def _key(serial: str) -> str:
    bits = int.from_bytes(hashlib.sha256(serial.encode("ascii")).digest()[:6], "big")
    return "".join(_PAIRS[bits >> shift & 0xFFF] for shift in (36, 24, 12, 0))
