"""Named lists: what stands behind ``in $name``.

The text of a list has one item per line, written as in a set of the language: addresses, networks and ranges, integers
and ranges, or strings. What a list holds is kept apart from the expressions that use it: these need to know only
what kind of items it has, so that a new content does not mean to read any expression again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, TypeVar

from mtls_operator.rules.cursor import Cursor
from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.literals import int_range, ip_range
from mtls_operator.rules.printer import ip_range_text, quote
from mtls_operator.rules.ranges import merged, within
from mtls_operator.rules.strings import text_literal
from mtls_operator.rules.types import Kind

#: More than any rule needs, and little enough to be read at once and to travel to every proxy.
MAX_ITEMS: Final = 20_000
MAX_ITEM_BYTES: Final = 1024
MAX_BYTES: Final = 512 * 1024

_COMMENT: Final = "#"
_QUOTE: Final = '"'
_BLANKS: Final = " \t\r"
#: What some editors put in front of a file; it would become a part of the first string.
_BYTE_ORDER_MARK: Final = "\ufeff"
_EXCERPT: Final = 60
_DIGEST: Final = 32

Item = TypeVar("Item")

Ranges: TypeAlias = tuple[tuple[int, int], ...]


class ListError(ValueError):
    """A list that cannot be read: which line, and why."""


@dataclass(frozen=True, slots=True)
class NamedList:
    """What a list holds; two are equal when they hold the same.

    ``text`` is its shortest form, sorted and without comments, and reads as the same list. ``strings`` is set for
    strings, ``ranges`` for integers and for IPv4 addresses, ``ranges6`` for IPv6 ones: inclusive, sorted, apart.
    """

    kind: Kind
    digest: str
    text: str = field(compare=False, repr=False)
    strings: frozenset[bytes] = field(compare=False, repr=False)
    ranges: Ranges = field(compare=False, repr=False)
    ranges6: Ranges = field(compare=False, repr=False)

    def holds(self, value: object) -> bool:
        """Return whether a value is in the list."""
        if isinstance(value, bytes):
            return value in self.strings
        if isinstance(value, IPv6Address):
            return within(int(value), self.ranges6)
        return isinstance(value, int | IPv4Address) and within(int(value), self.ranges)


@dataclass(frozen=True, slots=True)
class BrokenList:
    """A list that exists, and that cannot be read."""

    error: str


#: What a reader of expressions must know of the lists: the kind of each, or what is wrong with it.
Shapes: TypeAlias = Mapping[str, Kind | BrokenList]


def read_list(kind: Kind, text: str) -> NamedList:
    """Read the text of a list; blank lines and lines that begin with ``#`` are left out.

    Behind an address or integer ``# …`` is a comment as well; a string ends where its line does, without the blanks
    around it, or stands in quotes with the escapes of the language.

    Raises:
        ListError: with the number of the line.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ListError(f"longer than {MAX_BYTES} bytes")
    return _READERS[kind](text.removeprefix(_BYTE_ORDER_MARK))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        item = line.strip(_BLANKS)
        if not item or item.startswith(_COMMENT):
            continue
        count += 1
        if count > MAX_ITEMS:
            raise ListError(f"line {number}: more than {MAX_ITEMS} items")
        yield number, item


def _strings(text: str) -> NamedList:
    members = set()
    for number, item in _lines(text):
        try:
            value = _quoted(item) if item.startswith(_QUOTE) else item.encode()
        except UnicodeEncodeError:
            raise ListError(f"line {number}: the text is not valid Unicode") from None
        except RuleError as error:
            raise ListError(f"line {number}: {error.message}: {_shown(item)}") from None
        if len(value) > MAX_ITEM_BYTES:
            raise ListError(f"line {number}: longer than {MAX_ITEM_BYTES} bytes")
        members.add(value)
    return _finished(Kind.BYTES, [_written(member) for member in sorted(members)], strings=frozenset(members))


def _quoted(item: str) -> bytes:
    cursor = Cursor(item)
    value = text_literal(cursor).value
    if cursor.char:
        raise cursor.error(Code.TRAILING, "something follows the closing quote")
    return value


def _written(value: bytes) -> str:
    """Return the line that reads as this string."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return quote(value)
    plain = text.isprintable() and text == text.strip() and text[:1] not in {"", _COMMENT, _QUOTE}
    return text if plain else quote(value)


def _integers(text: str) -> NamedList:
    ranges = merged(pair for _, pair in _each(text, int_range))
    lines = [str(low) if low == high else f"{low}..{high}" for low, high in ranges]
    return _finished(Kind.INT, lines, ranges=ranges)


def _addresses(text: str) -> NamedList:
    pairs = []
    for number, (low, high) in _each(text, ip_range):
        ends = [end.ipv4_mapped for end in (low, high) if isinstance(end, IPv6Address)]
        if ends and None not in ends:
            raise ListError(f"line {number}: such a client is seen as {ends[0]}: write it like that")
        pairs.append((low, high))
    four, six = (
        merged((int(low), int(high)) for low, high in pairs if low.version == version) for version in (4, 6)
    )
    lines = [ip_range_text(IPv4Address(low), IPv4Address(high)) for low, high in four]
    lines += [ip_range_text(IPv6Address(low), IPv6Address(high)) for low, high in six]
    return _finished(Kind.IP, lines, ranges=four, ranges6=six)


def _each(text: str, read: Callable[[Cursor], Item]) -> Iterator[tuple[int, Item]]:
    for number, line in _lines(text):
        item = line.partition(_COMMENT)[0].rstrip(_BLANKS)
        cursor = Cursor(item)
        try:
            value = read(cursor)
        except RuleError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise ListError(f"line {number}: {error.message}{hint}: {_shown(item)}") from None
        if cursor.char or cursor.notes:
            problem = cursor.notes[0].message if cursor.notes else "one item stands in a line"
            raise ListError(f"line {number}: {problem}: {_shown(item)}")
        yield number, value


def _shown(item: str) -> str:
    return repr(item if len(item) <= _EXCERPT else f"{item[:_EXCERPT]}…")


def _finished(
    kind: Kind,
    lines: list[str],
    *,
    strings: frozenset[bytes] = frozenset(),
    ranges: Ranges = (),
    ranges6: Ranges = (),
) -> NamedList:
    text = "".join(f"{line}\n" for line in lines)
    digest = hashlib.sha256(f"{kind.value}\n{text}".encode()).hexdigest()[:_DIGEST]
    return NamedList(kind, digest, text, strings, ranges, ranges6)


_READERS: Final[Mapping[Kind, Callable[[str], NamedList]]] = {
    Kind.BYTES: _strings,
    Kind.INT: _integers,
    Kind.IP: _addresses,
}
