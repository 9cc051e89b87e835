"""DER (X.690) by hand, for certificates that no library would make.

Values in, bytes out; nothing is checked, for the tests want what is wrong as much as what is right.
"""

from __future__ import annotations

from datetime import datetime

BOOLEAN, INTEGER, BITS, OCTETS, OID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8, PRINTABLE, IA5, UTC_TIME, GENERAL_TIME = 0x0C, 0x13, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

TRUE = b"\x01\x01\xff"
NULL = b"\x05\x00"


def element(tag: int, *parts: bytes) -> bytes:
    """Return an element whose content is the parts, one after the other."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE."""
    return element(SEQUENCE, *parts)


def integer(value: int) -> bytes:
    """Return an INTEGER in its shortest form."""
    magnitude = value if value >= 0 else ~value
    return element(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *others = map(int, dotted.split("."))
    return element(OID, *map(_base128, (first * 40 + second, *others)))


def bits(content: bytes, unused: int = 0) -> bytes:
    """Return a BIT STRING; ``unused``: how many of the last bits do not count."""
    return element(BITS, bytes([unused]), content)


def named_bits(*positions: int) -> bytes:
    """Return a BIT STRING with the named bits set, without trailing zeros (X.690, 11.2.2)."""
    size = max(positions, default=-1) + 1
    length = (size + 7) // 8
    value = sum(1 << (length * 8 - 1 - position) for position in set(positions))
    return bits(value.to_bytes(length, "big"), length * 8 - size)


def octets(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return element(OCTETS, content)


def explicit(number: int, *parts: bytes) -> bytes:
    """Return a context-specific, constructed element."""
    return element(0xA0 | number, *parts)


def implicit(number: int, content: bytes) -> bytes:
    """Return a context-specific, primitive element."""
    return element(0x80 | number, content)


def time(moment: datetime) -> bytes:
    """Return a time as RFC 5280, 4.1.2.5 writes it: UTCTime through 2049, then GeneralizedTime."""
    if 1950 <= moment.year < 2050:
        return element(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return general_time(moment)


def general_time(moment: datetime) -> bytes:
    """Return a GeneralizedTime."""
    return element(GENERAL_TIME, f"{moment.year:04}{moment:%m%d%H%M%S}Z".encode())


def name(*attributes: tuple[str, str], tag: int = UTF8) -> bytes:
    """Return a name of these attributes: (dotted type, text), each an RDN of its own."""
    return sequence(
        *(element(SET, sequence(oid(kind), element(tag, text.encode()))) for kind, text in attributes)
    )


def flipped(der: bytes, place: int = -1) -> bytes:
    """Return the bytes with the lowest bit of one of them changed."""
    changed = bytearray(der)
    changed[place] ^= 1
    return bytes(changed)


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
