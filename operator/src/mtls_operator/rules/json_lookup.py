"""What ``lookup_json_string`` and ``lookup_json_integer`` find in a JSON text (RFC 8259).

The whole text must be valid JSON in UTF-8, whatever part is asked for; else everything in it is missing. Of a name that
occurs more than once the last one counts, as in most readers. Cloudflare documents the path and that integers are
plain; nesting is bounded as in the library of its engine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

_MAX_DEPTH: Final = 128
#: Up to here no two integers are one number of the proxy (RFC 8259, 6); larger ones are not found.
_EXACT: Final = 2**53 - 1
_DIGITS: Final = 17
_OTHER: Final = object()


def lookup_string(text: bytes, path: Sequence[bytes | int]) -> bytes | None:
    """Return the string at a path of names and positions (from 0), None when there is none."""
    found = _lookup(text, path)
    return found.encode() if isinstance(found, str) else None


def lookup_integer(text: bytes, path: Sequence[bytes | int]) -> int | None:
    """Return the integer at a path; one with a fraction or an exponent, or of 2^53 and more, is none."""
    found = _lookup(text, path)
    return found if type(found) is int else None


def _lookup(text: bytes, path: Sequence[bytes | int]) -> Any:
    value = _read(text)
    for key in path:
        if isinstance(key, bytes) and isinstance(value, dict):
            value = value.get(key)
        elif isinstance(key, int) and isinstance(value, list) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _read(text: bytes) -> Any:
    """Return the value of a text; names are bytes. None also when the text is no JSON."""
    try:
        value = json.loads(
            text.decode(),
            parse_int=_integer,
            parse_float=lambda _: _OTHER,
            parse_constant=_refuse,
            object_pairs_hook=lambda pairs: {name.encode(): value for name, value in pairs},
        )
    except (ValueError, RecursionError):
        # UnicodeEncodeError, too: half of a surrogate pair as a name.
        return None
    return value if _is_sound(value) else None


def _integer(digits: str) -> Any:
    if len(digits) > _DIGITS or digits == "-0":
        return _OTHER
    number = int(digits)
    return number if abs(number) <= _EXACT else _OTHER


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_sound(root: Any) -> bool:
    """Return whether nothing is nested too deeply, and no string holds half of a surrogate pair."""
    pending = [(root, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict | list):
            if depth > _MAX_DEPTH:
                return False
            inner = value.values() if isinstance(value, dict) else value
            pending.extend((each, depth + 1) for each in inner)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return False
    return True
