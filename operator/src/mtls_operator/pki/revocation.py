"""Revocations as data, and their unsigned forms: the bitmap for proxies, JSON for people and tools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from mtls_operator.api.certificate import FINAL_REASONS, RevocationReason
from mtls_operator.pki.certificate import CertificateFacts
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.instants import rfc3339, utc
from mtls_operator.pki.serial import format_serial, parse_serial

#: No bitmap that fits a ConfigMap (1 MiB) holds a larger index.
BITMAP_LIMIT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked certificate: its serial as `format_serial` writes it, when, why, until when, and whose.

    Raises `PkiError` for a serial in another form (two spellings of one serial must not look like two
    certificates) and for times without a zone.
    """

    serial: str
    revoked_at: datetime
    reason: RevocationReason
    not_after: datetime
    source: str

    def __post_init__(self) -> None:
        if format_serial(parse_serial(self.serial)) != self.serial:
            raise PkiError(Reason.INVALID_SERIAL, f"{self.serial!r} is not a serial in upper-case hex.")
        utc(self.revoked_at)
        utc(self.not_after)


def merge(revocations: Iterable[Revocation]) -> tuple[Revocation, ...]:
    """Return one revocation per serial, sorted by serial; the order of the input does not matter.

    Of several for one serial the earliest stands, with the latest ``not_after`` and with a final reason if
    any has one: no source of revocations can weaken another one's.
    """
    grouped = groupby(sorted(revocations, key=_strength), key=lambda revocation: revocation.serial)
    return tuple(_strictest(list(same)) for _, same in grouped)


def _strength(revocation: Revocation) -> tuple[str, datetime, str, str]:
    return revocation.serial, revocation.revoked_at, revocation.reason.value, revocation.source


def _strictest(same: list[Revocation]) -> Revocation:
    first = same[0]
    return replace(
        first,
        reason=next((one.reason for one in same if one.reason in FINAL_REASONS), first.reason),
        not_after=max(one.not_after for one in same),
    )


def bitmap(indices: Iterable[int], *, first: int = 0, limit: int = BITMAP_LIMIT) -> bytes:
    """Return a bitmap: bit ``i % 8``, least significant first, of byte ``i // 8`` is the index ``first + i``.

    No trailing zero byte. ``limit`` is the first ``i`` that cannot be real: one forged serial must not be able to ask
    for half a gigabyte. Raises `PkiError` for an index outside first..first+limit-1.
    """
    wanted = set(indices)
    if not wanted:
        return b""
    low, high = min(wanted), max(wanted)
    if low < first or high >= first + limit:
        wrong = low if low < first else high
        raise PkiError(
            Reason.INDEX_TOO_LARGE,
            f"the index {wrong} is not one of the {limit} from {first} on.",
        )
    bits = bytearray((high - first) // 8 + 1)
    for index in wanted:
        place = index - first
        bits[place // 8] |= 1 << place % 8
    return bytes(bits)


def revoked_json(
    revocations: Iterable[Revocation], *, epoch: int, issuers: Iterable[CertificateFacts]
) -> str:
    """Return the list for people and tools: one line per certificate, sorted by serial; all CAs that it is about."""
    about = [{"subject": issuer.subject, "ski": issuer.ski} for issuer in issuers]
    head = json.dumps({"issuers": about, "epoch": epoch})
    rows = ",\n".join(_row(revocation) for revocation in merge(revocations))
    return f'{head[:-1]}, "revoked": [{chr(10) + rows + chr(10) if rows else ""}]}}\n'


def _row(revocation: Revocation) -> str:
    return json.dumps(
        {
            "serial": revocation.serial,
            "revokedAt": rfc3339(revocation.revoked_at),
            "reason": revocation.reason.value,
            "notAfter": rfc3339(revocation.not_after),
            "source": revocation.source,
        },
        ensure_ascii=False,
    )
