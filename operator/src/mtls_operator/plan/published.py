"""What a namespace's revocation list says to the proxies: the union of the ledger and of what was published before.

The same for people and other gateways is made in `plan.readable`, which takes longer. Only expiry or a recorded restore
makes the list smaller. Whatever else would is a rollback (a page lost, a backup restored): the missing revocations are
recovered from the list that tenants hold, whose signature only our CA can have made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mtls_operator.envoy import IssuerRevocations, check_script, epoch_of, revocation_script, script_version
from mtls_operator.pki import (
    Authority,
    CrlEntry,
    CrlFacts,
    PkiError,
    Revocation,
    bitmap,
    indices_in,
    read_crl,
)
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.epochs import credible, next_epoch
from mtls_operator.plan.ledger import Entry, Record

_CRL: Final = re.compile(r"-----BEGIN X509 CRL-----\n[A-Za-z0-9+/=\n]+-----END X509 CRL-----\n")


@dataclass(frozen=True, slots=True)
class Publication:
    """The proxies' part of ``mtls-revocation``, and what they must acknowledge.

    ``serials`` are those that it revokes; ``issuers`` are the digests of the CAs that it is about. ``made_at`` is the
    time by which it was decided what has expired, ``until`` when the next revocation of it does (None: never).
    ``about`` stands for what else it was made of.
    """

    script: str
    version: str
    epoch: int
    serials: frozenset[str]
    issuers: frozenset[str]
    made_at: datetime
    until: datetime | None
    about: object = None

    def holds(self, *, now: datetime, about: object, seen: int) -> bool:
        """Say whether nothing has changed: sources, epochs, and no end passed by a clock, forward or back."""
        still = self.made_at <= now and (self.until is None or now < self.until)
        return still and self.about == about and seen <= self.epoch


def recover(
    ledger: Mapping[str, Record], published: Iterable[CrlEntry], *, authority: Authority
) -> list[Record]:
    """Return records for what was published as revoked and is neither in the ledger nor restored since.

    A list names no expiry: a recovered revocation stays as long as its CA.
    """
    records = []
    for entry in published:
        record = ledger.get(entry.serial)
        if record is not None and (
            record.entry is Entry.REVOKED
            or (record.entry is Entry.RESTORED and record.at >= entry.revoked_at)
        ):
            continue
        records.append(
            Record(
                serial=entry.serial,
                entry=Entry.REVOKED,
                at=entry.revoked_at,
                not_after=record.not_after if record is not None else authority.facts.not_after,
                reason=entry.reason,
                owner=record.owner if record is not None else "",
                owner_uid=record.owner_uid if record is not None else "",
                recovered=True,
                key=record.key if record is not None else "",
                extra=record.extra if record is not None else (),
            )
        )
    return records


def still_signed_by(text: str | None, generations: Iterable[Stored]) -> list[tuple[Authority, CrlFacts, str]]:
    """Return the published lists that CAs of ours signed, each with its CA and its PEM; nobody else's say anything."""
    found = []
    generations = tuple(generations)
    for pem in dict.fromkeys(_CRL.findall(text or "")):
        for stored in generations:
            facts = still_signed(pem, stored.authority)
            if facts is not None:
                found.append((stored.authority, facts, pem))
    return found


def still_signed(pem: str | None, authority: Authority) -> CrlFacts | None:
    """Return the content of the published list, or None when our CA did not sign it."""
    if not pem:
        return None
    try:
        return read_crl(pem, authority)
    except PkiError:
        return None


def in_force(ledger: Mapping[str, Record], *, now: datetime) -> tuple[Record, ...]:
    """Return what is revoked and has not expired, in no order: this is in the way of every revocation."""
    return tuple(
        record for record in ledger.values() if record.entry is Entry.REVOKED and record.not_after > now
    )


def revocations(records: Iterable[Record]) -> tuple[Revocation, ...]:
    """Return revoked records in the terms of the ``pki`` package, sorted by serial number."""
    return tuple(
        Revocation(
            serial=record.serial,
            revoked_at=record.at,
            reason=record.reason,
            not_after=record.not_after,
            source=record.owner,
        )
        for record in sorted(records, key=lambda record: record.serial)
    )


def publish(  # noqa: PLR0913 - what a list rests on, most of it by keyword
    generations: Sequence[Stored],
    revoked: Sequence[Record],
    *,
    previous: str,
    seen: Iterable[int],
    now: datetime,
    about: object = None,
) -> Publication:
    """Build the proxies' part of ``mtls-revocation``; unchanged revocations keep epoch and bytes (guarantee G6).

    ``generations`` are those of the namespace's CA: each that is trusted gets the list of its own leaves. ``revoked``
    is `in_force`. ``previous`` is the script found in the cluster, which anybody in the namespace may have edited: it
    is used only where it is byte for byte what we would write. ``seen`` are the epochs that were ever seen in use.

    Raises:
        ScriptError: the generated script does not load; what is published stays as it is.
    """
    lists = by_generation(generations, (record.serial for record in revoked))
    issuers = [
        IssuerRevocations(
            stored.authority.digest,
            bitmap(own.values(), first=stored.first_index),
            first=stored.first_index,
        )
        for stored, own in lists
    ]
    seen = [epoch for epoch in seen if credible(epoch, now=now) is not None]
    old = credible(epoch_of(previous), now=now)
    epoch = old if old is not None else next_epoch(seen, now=now)
    script = revocation_script(epoch=epoch, issuers=issuers)
    if script != previous or epoch < max(seen, default=0):
        epoch = next_epoch((*seen, old), now=now)
        script = revocation_script(epoch=epoch, issuers=issuers)
        check_script(script)
    return Publication(
        script=script,
        version=script_version(script),
        epoch=epoch,
        serials=frozenset(record.serial for record in revoked),
        issuers=frozenset(stored.authority.digest for stored, _ in lists),
        made_at=now,
        until=min((record.not_after for record in revoked), default=None),
        about=about,
    )


def own_serials(generations: Sequence[Stored], serials: Iterable[str]) -> dict[int, dict[str, int]]:
    """Return by generation, trusted or not, those serials that are its own and their indices.

    An index that was never given out (a forged status) belongs to none: it must not blow up a bitmap.
    """
    signing = sorted(
        (stored for stored in generations if stored.phase is not Phase.PREPARED),
        key=lambda stored: stored.first_index,
    )
    starts = [stored.first_index for stored in signing]
    ends = [*starts[1:], signing[-1].next_index] if signing else []
    indices = indices_in(serials)
    return {
        stored.generation: {serial: index for serial, index in indices.items() if start <= index < end}
        for stored, start, end in zip(signing, starts, ends, strict=True)
    }


def by_generation(
    generations: Sequence[Stored], serials: Iterable[str]
) -> list[tuple[Stored, dict[str, int]]]:
    """Return the trusted generations, newest first, each with those serials that are its own and their indices."""
    found = own_serials(generations, serials)
    newest_first = sorted(generations, key=lambda stored: -stored.generation)
    return [(stored, found.get(stored.generation, {})) for stored in newest_first if stored.trusted]
