"""What a namespace's revocation list says to the proxies: the union of the ledger and of what was published before.

The same for people and other gateways is made in `plan.readable`, which takes longer. Only expiry or a recorded restore
makes the list smaller. Whatever else would is a rollback (a page lost, a backup restored): the missing revocations are
recovered from the list that tenants hold, whose signature only our CA can have made.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mtls_operator.envoy import IssuerRevocations, check_script, epoch_of, revocation_script, script_version
from mtls_operator.pki import (
    BITMAP_LIMIT,
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

#: What the lists may take of ``mtls-revocation``, which holds 1 MiB: some of it is code and the readable parts' index.
SCRIPT_BYTES: Final = 900 * 1024
#: A digest and what is around it.
_ENTRY_BYTES: Final = 100
_CRL: Final = re.compile(r"-----BEGIN X509 CRL-----\n[A-Za-z0-9+/=\n]+-----END X509 CRL-----\n")


@dataclass(frozen=True, slots=True)
class Listing:
    """What the CAs of one namespace have revoked, as its own proxies and those of others are told.

    ``issuers`` are its CAs. ``made_at`` is the time by which it was decided what has expired, ``until``
    when the next revocation of it does (None: never). ``about`` stands for what else it was made of.
    """

    issuers: tuple[IssuerRevocations, ...] = field(repr=False)
    serials: frozenset[str] = field(repr=False)
    made_at: datetime
    until: datetime | None
    about: object = None

    def holds(self, *, now: datetime, about: object) -> bool:
        """Say whether nothing has changed: sources, and no end passed by a clock, forward or back."""
        return self.made_at <= now and (self.until is None or now < self.until) and self.about == about


@dataclass(frozen=True, slots=True)
class Publication:
    """The proxies' part of ``mtls-revocation``, and what they must acknowledge.

    ``own`` is the list of the namespace's own CAs, ``offered`` are those of namespaces whose CAs its hosts trust as
    well, by namespace; those in ``left_out`` do not fit. ``issuers`` are the digests of all CAs that it is about.
    """

    script: str
    version: str
    epoch: int
    own: Listing
    offered: Mapping[str, Listing]
    left_out: tuple[str, ...]
    issuers: frozenset[str]

    @property
    def others(self) -> dict[str, Listing]:
        """The lists of other namespaces that it holds."""
        return {name: listing for name, listing in self.offered.items() if name not in self.left_out}

    @property
    def serials(self) -> frozenset[str]:
        """The serial numbers of the namespace's own CAs that it revokes."""
        return self.own.serials

    @property
    def until(self) -> datetime | None:
        """When the next revocation of it expires."""
        ends = [listing.until for listing in (self.own, *self.others.values()) if listing.until is not None]
        return min(ends, default=None)

    def holds(self, own: Listing, others: Mapping[str, Listing], *, seen: int) -> bool:
        """Say whether it is still made of these very lists, and above an epoch that was seen."""
        same = self.own is own and self.offered.keys() == others.keys()
        return (
            same
            and all(self.offered[name] is listing for name, listing in others.items())
            and seen <= self.epoch
        )


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


def list_of(
    generations: Sequence[Stored], revoked: Sequence[Record], *, now: datetime, about: object = None
) -> Listing:
    """Return the list of a namespace's CA: each generation that is trusted has that of its own leaves.

    ``revoked`` is `in_force`.
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
    return _listing(issuers, revoked, now=now, about=about)


def list_without_ca(  # noqa: PLR0913 - all but two by keyword
    digests: Iterable[str],
    revoked: Sequence[Record],
    *,
    now: datetime,
    about: object = None,
    former: Mapping[str, IssuerRevocations] = MappingProxyType({}),
    known: Iterable[str] = (),
    firsts: Mapping[str, int] = MappingProxyType({}),
) -> Listing:
    """Return the list of CAs of a namespace whose Secrets are missing, and of which no more than the digests is known.

    No two generations give out the same index, so each can have all of them. ``former`` is what was published, as far
    as nobody remembers of what it was made: it stays, for without the CA nothing shows that the ledger is complete.
    ``known`` are the serial numbers in the ledger: those that are in ``former`` count as revoked, whatever it says.
    ``firsts`` are the first indices of CAs, as far as they are known. What no list can hold is not said to be in one; a
    CA of which more was published than a list can hold has none: its certificates are of unknown state, and refused.
    """
    indices = indices_in(record.serial for record in revoked)
    issuers, listed = [], set[int]()
    for digest in digests:
        first, said = firsts.get(digest, 0), former.get(digest)
        own = {index for index in indices.values() if first <= index < first + BITMAP_LIMIT}
        issuer = IssuerRevocations(digest, bitmap(own, first=first), first)
        if said is not None:
            if _end(said) - min(first, said.first) > BITMAP_LIMIT:
                continue
            issuer = _either(issuer, said)
        issuers.append(issuer)
        listed |= own
    standing = {
        serial
        for serial, index in (indices_in(known) if former else {}).items()
        if any(_has(issuer, index) for issuer in former.values())
    }
    named = [record for record in revoked if indices.get(record.serial) in listed]
    return _listing(issuers, named, now=now, about=about, standing=standing)


def _end(issuer: IssuerRevocations) -> int:
    return issuer.first + len(issuer.bitmap) * 8


def _has(issuer: IssuerRevocations, index: int) -> bool:
    place, bit = divmod(index - issuer.first, 8)
    return 0 <= place < len(issuer.bitmap) and bool(issuer.bitmap[place] >> bit & 1)


def _listing(
    issuers: Iterable[IssuerRevocations],
    revoked: Sequence[Record],
    *,
    now: datetime,
    about: object,
    standing: Collection[str] = (),
) -> Listing:
    return Listing(
        issuers=tuple(sorted(issuers, key=lambda issuer: issuer.digest)),
        serials=frozenset(record.serial for record in revoked).union(standing),
        made_at=now,
        until=min((record.not_after for record in revoked), default=None),
        about=about,
    )


def publish(
    own: Listing, others: Mapping[str, Listing], *, previous: str, seen: Iterable[int], now: datetime
) -> Publication:
    """Build the proxies' part of ``mtls-revocation``; unchanged revocations keep epoch and bytes (guarantee G6).

    ``others`` are the lists of namespaces whose CAs are trusted here; the smallest come first, and what does not fit
    is left out: certificates of a CA without a list are of unknown state, and refused. ``previous`` is the script found
    in the cluster, which anybody in the namespace may have edited: it is used only where it is byte for byte what we
    would write. ``seen`` are the epochs that were ever seen in use.

    Raises:
        ScriptError: the generated script does not load; what is published stays as it is.
    """
    fitting = _fitting(own, others)
    issuers = _joined([own, *(fitting[name] for name in sorted(fitting))])
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
        own=own,
        offered=dict(others),
        left_out=tuple(sorted(others.keys() - fitting.keys())),
        issuers=frozenset(issuer.digest for issuer in issuers),
    )


def _fitting(own: Listing, others: Mapping[str, Listing]) -> dict[str, Listing]:
    """Return the lists that fit beside the own one, the smallest first, all of a namespace or none."""
    room = SCRIPT_BYTES - _size(own)
    found = {}
    for size, name in sorted((_size(listing), name) for name, listing in others.items()):
        room -= size
        if room < 0:
            break
        found[name] = others[name]
    return found


def _size(listing: Listing) -> int:
    """Return the most bytes that the lists of a namespace take in the script."""
    return sum(_ENTRY_BYTES + len(issuer.bitmap) * 4 // 3 for issuer in listing.issuers)


def _joined(listings: Iterable[Listing]) -> list[IssuerRevocations]:
    """Return what is in any of the lists of each CA: one given to two namespaces must not lose one's revocations."""
    found: dict[str, IssuerRevocations] = {}
    for issuer in (issuer for listing in listings for issuer in listing.issuers):
        other = found.get(issuer.digest)
        found[issuer.digest] = issuer if other is None else _either(issuer, other)
    return list(found.values())


def _either(one: IssuerRevocations, other: IssuerRevocations) -> IssuerRevocations:
    first = min(one.first, other.first)
    bits = 0
    for issuer in (one, other):
        bits |= int.from_bytes(issuer.bitmap, "little") << (issuer.first - first)
    return IssuerRevocations(one.digest, bits.to_bytes((bits.bit_length() + 7) // 8, "little"), first)


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
