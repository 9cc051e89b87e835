"""Integers, addresses and sets.

From Cloudflare's documentation on values. Of the undocumented forms that its engine accepts as well, octal numbers are
read with a warning, shortened addresses are refused: each is a trap for somebody who meant something else.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mtls_operator.rules.cursor import IDENTIFIER, Cursor
from mtls_operator.rules.diagnostics import Code
from mtls_operator.rules.strings import text_literal
from mtls_operator.rules.tree import Address, BytesSet, IntSet, IpSet, Literal, Operand
from mtls_operator.rules.types import INT, IP, Kind

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
#: The most digits of 64 bits, in octal.
_MAX_DIGITS: Final = 22
_DECIMAL_BASE: Final = 10
_OCTAL_BASE: Final = 8
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DECIMAL: Final = frozenset("0123456789")
_OCTAL: Final = frozenset("01234567")
_ADDRESS_CHARACTERS: Final = IDENTIFIER | frozenset(":./-%")


def integer(cursor: Cursor) -> int:
    """Read an integer: decimal with an optional minus, hexadecimal, or octal after a zero; 64 bits, signed."""
    start = cursor.position
    digits_at = start + 1 if cursor.looking_at("-") else start
    digits = cursor.run(IDENTIFIER, digits_at)
    end = digits_at + len(digits)
    if not digits or digits[0] not in _DECIMAL:
        raise cursor.error(Code.EXPECTED_DIGIT, "an integer is expected here", start)
    base, rest, allowed = _notation(digits)
    if not rest or not allowed.issuperset(rest) or (base != _DECIMAL_BASE and digits_at != start):
        hint = "a leading zero means octal" if base == _OCTAL_BASE else None
        raise cursor.error(Code.PARSE_INT, "this is not an integer", start, end, hint=hint)
    significant = rest.lstrip("0") or "0"
    value = INT_MAX + 1
    if len(significant) <= _MAX_DIGITS:
        value = int(significant, base) * (1 if digits_at == start else -1)
    if not INT_MIN <= value <= INT_MAX:
        raise cursor.error(Code.PARSE_INT, "the integer does not fit 64 bits", start, end)
    cursor.position = end
    if base == _OCTAL_BASE:
        cursor.note("octal", f"a leading zero means octal: {digits} is {value}", start)
    return value


def _notation(digits: str) -> tuple[int, str, frozenset[str]]:
    """Return the base of a number, its digits, and what digits it can have."""
    if digits[:2] == "0x":
        return 16, digits[2:], _HEX
    if len(digits) > 1 and digits[0] == "0":
        return _OCTAL_BASE, digits[1:], _OCTAL
    return _DECIMAL_BASE, digits, _DECIMAL


def int_literal(cursor: Cursor) -> Literal:
    """Read one integer operand."""
    start = cursor.position
    return Literal(integer(cursor), INT, cursor.span(start))


def at_address(cursor: Cursor) -> bool:
    """Return whether an address begins here: a number with dots, or anything with colons."""
    token = cursor.run(_ADDRESS_CHARACTERS)
    return ":" in token or ("." in token and token[0] in _DECIMAL)


def ip_literal(cursor: Cursor) -> Literal:
    """Read one address operand, without a prefix length."""
    start = cursor.position
    end = start + len(_address_token(cursor))
    address = _address(cursor, start, end)
    cursor.position = end
    return Literal(address, IP, cursor.span(start))


def _address_token(cursor: Cursor) -> str:
    token = cursor.run(_ADDRESS_CHARACTERS)
    if not token or token[0] not in _HEX | {":"}:
        hints = {
            '"': "addresses are written without quotes",
            ",": "the elements of a set are separated by blanks",
        }
        raise cursor.error(Code.EXPECTED_IP, "an IP address is expected here", hint=hints.get(cursor.char))
    return token


def _address(cursor: Cursor, start: int, end: int) -> Address:
    text = cursor.source[start:end]
    hint = None
    if "/" in text:
        hint = f"networks stand in braces: in {{{text}}}"
    if _HEX.union(":.").issuperset(text):
        try:
            return ip_address(text)
        except ValueError:
            pass
    raise cursor.error(Code.PARSE_NETWORK, "this is not an IP address", start, end, hint=hint)


def operand_set(cursor: Cursor, kind: Kind) -> Operand:
    """Read ``{…}`` with elements of the left side's kind."""
    if kind is Kind.BYTES:
        return _bytes_set(cursor)
    return _int_set(cursor) if kind is Kind.INT else _ip_set(cursor)


def _open_set(cursor: Cursor) -> None:
    if not cursor.take("{"):
        token = cursor.source[cursor.position : cursor.token_end()] if cursor.char else ""
        hint = f"write {{{token}}}" if token and token[0] not in "({[" else "a set looks like this: {…}"
        raise cursor.error(Code.EXPECTED_LITERAL, "'{' is expected after in", hint=hint)


def _closed(cursor: Cursor, expected: Code) -> bool:
    cursor.skip_blanks()
    if not cursor.char:
        raise cursor.error(expected, "the closing '}' of the set is missing")
    return cursor.take("}")


def _bytes_set(cursor: Cursor) -> BytesSet:
    start = cursor.position
    _open_set(cursor)
    members: list[bytes] = []
    while not _closed(cursor, Code.TRAILING):
        members.append(text_literal(cursor).value)
    return BytesSet(tuple(members), cursor.span(start))


def _int_set(cursor: Cursor) -> IntSet:
    start = cursor.position
    _open_set(cursor)
    ranges: list[tuple[int, int]] = []
    while not _closed(cursor, Code.EXPECTED_DIGIT):
        ranges.append(int_range(cursor))
    return IntSet(tuple(ranges), cursor.span(start))


def int_range(cursor: Cursor) -> tuple[int, int]:
    """Read an integer or an inclusive range of them."""
    start = cursor.position
    low = high = integer(cursor)
    if cursor.take(".."):
        high = integer(cursor)
    if low > high:
        raise cursor.error(
            Code.BAD_RANGE, "the range is empty: its end is before its beginning", start, cursor.position
        )
    if cursor.looking_at("-"):
        hint = "a range is written with two dots: 80..90"
        raise cursor.error(Code.PARSE_INT, "this is not a range", start, cursor.token_end(), hint=hint)
    return low, high


def _ip_set(cursor: Cursor) -> IpSet:
    start = cursor.position
    _open_set(cursor)
    ranges: list[tuple[Address, Address]] = []
    while not _closed(cursor, Code.EXPECTED_IP):
        ranges.append(ip_range(cursor))
    return IpSet(tuple(ranges), cursor.span(start))


def ip_range(cursor: Cursor) -> tuple[Address, Address]:
    """Read an address, a network or an inclusive range of addresses."""
    start = cursor.position
    token = _address_token(cursor)
    end = start + len(token)
    if ".." in token:
        middle = start + token.index("..")
        low, high = _address(cursor, start, middle), _address(cursor, middle + 2, end)
        if type(low) is not type(high):
            raise cursor.error(Code.BAD_RANGE, "both ends of a range must be of one family", start, end)
        if int(low) > int(high):
            raise cursor.error(
                Code.BAD_RANGE, "the range is empty: its end is before its beginning", start, end
            )
    elif "/" in token:
        low, high = _network(cursor, start, start + token.index("/"), end)
    else:
        low = high = _address(cursor, start, end)
    cursor.position = end
    return low, high


def _network(cursor: Cursor, start: int, slash: int, end: int) -> tuple[Address, Address]:
    address = _address(cursor, start, slash)
    length = cursor.source[slash + 1 : end]
    if not length or not _DECIMAL.issuperset(length) or (length[0] == "0" and length != "0"):
        raise cursor.error(Code.PARSE_NETWORK, "the prefix length is not a number", slash + 1, end)
    if len(length) > len("128") or int(length) > address.max_prefixlen:
        raise cursor.error(
            Code.PARSE_NETWORK, f"the prefix length is above {address.max_prefixlen}", start, end
        )
    hosts = (1 << (address.max_prefixlen - int(length))) - 1
    if int(address) & hosts:
        network = address_like(address, int(address) & ~hosts)
        raise cursor.error(
            Code.PARSE_NETWORK,
            "the address has bits set beyond the prefix length",
            start,
            slash,
            hint=f"the network is {network}/{length}",
        )
    return address, address_like(address, int(address) | hosts)


def address_like(model: Address, value: int) -> Address:
    """Return the address with this number in the family of another one."""
    return IPv4Address(value) if isinstance(model, IPv4Address) else IPv6Address(value)
