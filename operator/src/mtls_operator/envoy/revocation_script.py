"""The revocation script of a namespace: one bitmap per issuing CA."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mtls_operator.api import names
from mtls_operator.envoy.config import IN_POD
from mtls_operator.envoy.lua_text import lua_table
from mtls_operator.envoy.script import ScriptError, assemble, call

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: An index is four bytes of a serial number.
_INDICES: Final = 2**32
#: Three bytes are four characters of base64.
_GROUP: Final = 3
_LISTS: Final = re.compile(r"^local lists = \{\n(.*?)^\}$", re.DOTALL | re.MULTILINE)
_LIST: Final = re.compile(
    r'^  \["([0-9a-f]{64})"\] = \{([0-9]{1,10}), "((?:[A-Za-z0-9+/]{4})*)"\},$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class IssuerRevocations:
    """What one CA has revoked.

    ``digest``: SHA-256 of the DER of the issuing certificate, 64 lower-case hex digits. ``bitmap``: bit
    ``i % 8`` (lowest first) of byte ``i // 8`` is set when the certificate with index ``first + i`` is revoked.
    """

    digest: str
    bitmap: bytes
    first: int = 0


def revocation_script(
    *, epoch: int, issuers: Sequence[IssuerRevocations], mounted: str = IN_POD.revocation_file
) -> str:
    """Return the revocation script of a namespace; about 170 kB per million certificates ever issued.

    Raises:
        ScriptError: a digest, a first index or the epoch is not one, or an issuer is there twice.
    """
    lists: dict[str, str] = {}
    for issuer in issuers:
        if not _DIGEST.fullmatch(issuer.digest):
            raise ScriptError("an issuer is named by 64 lower-case hex digits")
        if issuer.digest in lists:
            raise ScriptError(f"two revocation lists of the issuer {issuer.digest}")
        if not 0 <= issuer.first < _INDICES:
            raise ScriptError(f"{issuer.first} is no index")
        lists[issuer.digest] = f'{{{issuer.first}, "{sextets(issuer.bitmap)}"}}'
    decide = call("revocation", "lists", str(epoch), "by_connection")
    body = "\n".join(
        [
            f"local lists = {lua_table(lists.items())}",
            f"local by_connection = {call('connection')}",
            f"local decide = {decide}",
        ]
    )
    return assemble(names.REVOCATION_FILTER, epoch=epoch, mounted=mounted, body=body)


def revocations_in(script: str) -> dict[str, IssuerRevocations]:
    """Return what a revocation script says, by digest; what is not written as we write it is left out."""
    lists = _LISTS.search(script)
    found = {}
    for digest, first, text in _LIST.findall(lists.group(1)) if lists is not None else ():
        if int(first) < _INDICES:
            found[digest] = IssuerRevocations(digest, bits_in(text), int(first))
    return found


def bits_in(text: str) -> bytes:
    """Return the bitmap of which `sextets` made a text."""
    return base64.b64decode(text[::-1])[::-1].rstrip(b"\0")


def sextets(bitmap: bytes) -> str:
    """Return a bitmap as text: six bits to a character of the base64 alphabet, lowest bit of the first first.

    Base64 reads bytes and bits from the highest down, so that the reversed bytes give the reversed text.
    """
    bits = bitmap.rstrip(b"\0")
    padded = bits + b"\0" * (-len(bits) % _GROUP)
    return base64.b64encode(padded[::-1])[::-1].decode("ascii")
