"""Serial numbers that carry the index of the certificate in the revocation bitmap.

An indexed serial has exactly 19 bytes: one of 0x01..0x7f (so that DER adds no sign byte and no text loses
one), 14 random bytes, and the index as a 32-bit big-endian number. It is unpredictable (RFC 5280 and the
CA/Browser Forum want 64 random bits; here are more than 118), stays within the 20 bytes of RFC 5280,
4.1.2.2, and a proxy finds the bit of a certificate in its last four bytes. Which index is next is not
decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mtls_operator.pki.errors import PkiError, Reason

#: Bytes of entropy for one serial.
SERIAL_ENTROPY: Final = 15
#: Bytes of entropy for a serial without an index; its length is never that of an indexed serial.
AUTHORITY_ENTROPY: Final = 16
#: Indices are below this.
INDEX_LIMIT: Final = 2**32

_LENGTH: Final = 19
_INDEX_BYTES: Final = 4
_FIRST_LIMIT: Final = 0x7F
#: Largest serial: 20 bytes without the sign bit (RFC 5280, 4.1.2.2).
_SERIAL_LIMIT: Final = 2**159
_HEX: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,40})")
_PAIRS: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,19}")


def positive_bytes(entropy: bytes) -> bytes:
    """Return the entropy with its first byte mapped into 0x01..0x7f: a positive number without a sign byte.

    Of the 256 values of a byte, three map to 0x01 and to 0x02, two to every other value.
    """
    return bytes([1 + entropy[0] % _FIRST_LIMIT]) + entropy[1:]


def make_serial(index: int, entropy: bytes) -> int:
    """Return the serial for an index; ``entropy`` is 15 bytes of a CSPRNG, used once."""
    if not 0 <= index < INDEX_LIMIT:
        raise PkiError(Reason.INVALID_SERIAL, f"the index {index} does not fit into 32 bits.")
    if len(entropy) != SERIAL_ENTROPY:
        raise PkiError(
            Reason.INVALID_ENTROPY, f"a serial needs {SERIAL_ENTROPY} bytes of entropy, not {len(entropy)}."
        )
    return int.from_bytes(positive_bytes(entropy) + index.to_bytes(_INDEX_BYTES, "big"), "big")


def random_serial(entropy: bytes) -> int:
    """Return a serial without an index, for what is never in a bitmap: CAs, servers, our own proxies.

    ``entropy`` is 16 bytes or more of a CSPRNG, used once; the first 16 count. Raises `PkiError` for fewer.
    """
    if len(entropy) < AUTHORITY_ENTROPY:
        raise PkiError(
            Reason.INVALID_ENTROPY,
            f"a serial without an index needs {AUTHORITY_ENTROPY} bytes of entropy, not {len(entropy)}.",
        )
    return int.from_bytes(positive_bytes(entropy[:AUTHORITY_ENTROPY]), "big")


def has_index(serial: int) -> bool:
    """Return whether a serial has the shape of an indexed one; whose CA issued it is not in it."""
    return serial > 0 and 1 <= serial >> (8 * (_LENGTH - 1)) <= _FIRST_LIMIT


def index_of(serial: int) -> int:
    """Return the index of an indexed serial; raise `PkiError` for a serial of any other shape."""
    if not has_index(serial):
        raise PkiError(
            Reason.INVALID_SERIAL, f"the serial {serial:X} was not made by this operator: it has no index."
        )
    return serial % INDEX_LIMIT


def index_in(text: str) -> int | None:
    """Return the index in a serial as `format_serial` writes it; None for any other shape."""
    return indices_in((text,)).get(text)


def indices_in(texts: Iterable[str]) -> dict[str, int]:
    """Return the indices in serials as `format_serial` writes them, without those of any other shape.

    For a hundred thousand of them while a revocation waits: nothing else is checked.
    """
    return {
        text: int(text[-2 * _INDEX_BYTES :], 16)
        for text in texts
        if len(text) == 2 * _LENGTH and "01" <= text[:2] <= "7F"
    }


def require_serial(serial: int) -> int:
    """Return a serial that a certificate may have: positive, at most 20 bytes; else `PkiError`."""
    if not 0 < serial < _SERIAL_LIMIT:
        raise PkiError(
            Reason.INVALID_SERIAL, "a serial number is positive and at most 20 bytes long (RFC 5280)."
        )
    return serial


def format_serial(serial: int) -> str:
    """Return a serial as whole bytes in upper-case hex: Envoy's text, leading zero digit included."""
    text = f"{require_serial(serial):X}"
    return text.zfill(len(text) + len(text) % 2)


def parse_serial(text: str) -> int:
    """Return the serial that a text means: hex in either case, with ``0x`` or colons between the bytes."""
    stripped = text.strip()
    match = _HEX.fullmatch(stripped)
    if match:
        return require_serial(int(match[1], 16))
    if _PAIRS.fullmatch(stripped):
        return require_serial(int(stripped.replace(":", ""), 16))
    raise PkiError(Reason.INVALID_SERIAL, f"{text[:80]!r} is not a serial number in hex.")
