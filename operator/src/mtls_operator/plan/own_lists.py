"""Imported revocation lists of the CAs that a host's users brought: what the proxies are told of each CA.

A CA without any list has none, and that is its owner's choice. Where a list was wanted and cannot be had, nobody knows
which CA it would have been about: every CA that no other list speaks of is then of unknown state, unless the file's
last good copy said that it has none, or the file may fail open (guarantee G1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mtls_operator.api.client_cas import CrlSource, Source, WhenStale
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.envoy import SerialSet, Unlisted, pack_serials
from mtls_operator.pki import CrlRefusal, RefusedCrl, TrustedCa, read_crls
from mtls_operator.plan.held import HeldCrls, HeldList
from mtls_operator.plan.own_cas import File, OwnCas, describe, earliest, missing, said
from mtls_operator.plan.trouble import Trouble

#: Revoked certificates in all lists of a host: eight bytes each, in a ConfigMap with everything else of the host.
MAX_SERIALS: Final = 90_000
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file of lists says, given the trusted CAs; ``look_again``: when time alone changes it."""

    lists: tuple[HeldList, ...]
    refused: tuple[RefusedCrl, ...] = ()
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True)
class OwnLists:
    """What the proxies are told, by the digest of the CA; a CA that is not there has no list."""

    told: Mapping[str, SerialSet | Unlisted]
    troubles: tuple[Trouble, ...]
    held: Mapping[str, HeldCrls]
    look_again: datetime | None = None


def read_lists(data: bytes, cas: Iterable[TrustedCa], *, now: datetime) -> Reading:
    """Read a file of lists: the costly part, which rests on the file and the CAs alone until ``look_again``."""
    imported = read_crls(data, cas, now=now)
    lists = tuple(
        HeldList(crl.issuers, crl.number, crl.this_update, crl.next_update, pack_serials(crl.serials))
        for crl in imported.accepted
    )
    return Reading(lists, imported.refused, imported.look_again)


def own_lists(
    crls: Sequence[CrlSource],
    readings: Mapping[Source, Reading | File],
    held: Mapping[str, HeldCrls],
    cas: OwnCas,
    *,
    now: datetime,
) -> OwnLists:
    """Return what the proxies are told; a `File` among the ``readings`` is one that has no content.

    ``held`` are the last good copies by the name of their source. Lists of CAs that time has taken out are of nobody
    any more, and that is no mistake.
    """
    digests = tuple(sorted(own.ca.digest for own in cas.trusted))
    troubles: list[Trouble] = []
    kept: dict[str, HeldCrls] = {}
    uncertain: set[str] = set()
    room = MAX_SERIALS
    for crl in crls:
        name, reading = str(crl.source), readings[crl.source]
        before = held.get(name, HeldCrls())
        current, trouble = _current(crl, reading, before, digests, expired=cas.expired, room=room)
        kept[name] = current
        room -= sum(SerialSet(one.keys).count for one in current.lists)
        if trouble is not None:
            troubles.append(trouble)
            if crl.when_stale is WhenStale.FAIL_CLOSED:
                uncertain |= set(digests) - set(current.known)
    troubles += _put_back(crls, kept, held, set(digests), cas)
    told = _told(crls, kept, digests, uncertain)
    stale = [
        _stale(crl, one, cas)
        for crl in crls
        for one in kept[str(crl.source)].lists
        if now >= one.next_update and _counts(one, crl, told)
    ]
    ahead = [one.next_update for crl in kept.values() for one in crl.lists if one.next_update > now]
    looks = [reading.look_again for reading in readings.values() if isinstance(reading, Reading)]
    return OwnLists(told, (*troubles, *stale), kept, earliest(*ahead, *looks))


def _current(  # noqa: PLR0913 - what a file's standing rests on, two of it by keyword
    crl: CrlSource,
    reading: Reading | File,
    before: HeldCrls,
    digests: tuple[str, ...],
    *,
    expired: frozenset[str],
    room: int,
) -> tuple[HeldCrls, Trouble | None]:
    """Return what counts of a file, and what is wrong with it; with a mistake, what it said before still counts."""
    if isinstance(reading, File):
        consequence = " What it said before stays in force." if before.lists else _consequence(crl)
        return before, missing(crl.source, reading, Reason.INVALID_CRL, consequence)
    faults: list[object] = [one for one in reading.refused if not _is_harmless(one, expired)]
    fresh = []
    for one in reading.lists:
        older = _newer_before(one, before)
        if older is None:
            fresh.append(one)
        else:
            faults.append(
                f"a list of {format_timestamp(one.this_update)} (thisUpdate) is older than the one of "
                f"{format_timestamp(older.this_update)} that is in force, and would take revocations back."
            )
    count = sum(SerialSet(one.keys).count for one in fresh)
    if count > room:
        faults.append(
            f"{count} revoked certificates are too many: all lists of a host have at most {MAX_SERIALS}."
        )
        fresh = []
    if not faults:
        return HeldCrls(digests, tuple(fresh)), None
    covered = {issuer for one in fresh for issuer in one.issuers}
    left = tuple(one for one in before.lists if not covered & set(one.issuers))
    consequence = " What it said before stays in force." if left else _consequence(crl)
    message = f"{describe(crl.source)}: {said(faults)}{consequence}"
    return HeldCrls(before.known, (*fresh, *left)), Trouble(Reason.INVALID_CRL, message)


def _put_back(
    crls: Sequence[CrlSource],
    kept: dict[str, HeldCrls],
    held: Mapping[str, HeldCrls],
    trusted: set[str],
    cas: OwnCas,
) -> Iterable[Trouble]:
    """Keep lists of trusted CAs that vanished out of their file and are in no other one, and say so.

    Whatever they revoked would be good again without a word. Lists can move from one file to another.
    """
    for crl in crls:
        name = str(crl.source)
        for one in held.get(name, HeldCrls()).lists:
            covered = {
                issuer for crls_of in kept.values() for other in crls_of.lists for issuer in other.issuers
            }
            alone = trusted & set(one.issuers) - covered
            if not alone:
                continue
            kept[name] = HeldCrls(kept[name].known, (*kept[name].lists, one))
            message = (
                f"{describe(crl.source)}: there is no list of {_name(one, cas)} any more. What it said before stays in "
                "force: put one there, or take the file off crls for a moment."
            )
            yield Trouble(Reason.INVALID_CRL, message)


def _name(one: HeldList, cas: OwnCas) -> str:
    found = (own.ca.subject for own in cas.trusted if own.ca.digest in one.issuers)
    return next(found, "a CA")[:_LONGEST_NAME]


def _is_harmless(refused: RefusedCrl, expired: frozenset[str]) -> bool:
    if refused.reason is CrlRefusal.WRONG_ISSUER:
        return refused.issuer in expired
    return refused.reason is CrlRefusal.SUPERSEDED


def _newer_before(one: HeldList, before: HeldCrls) -> HeldList | None:
    same = (other for other in before.lists if set(other.issuers) & set(one.issuers))
    return next((other for other in same if other.age > one.age), None)


def _consequence(crl: CrlSource) -> str:
    if crl.when_stale is WhenStale.FAIL_CLOSED:
        return (
            " Certificates of the CAs that no list speaks of are refused where rules read certificates "
            "(whenStale: FailClosed)."
        )
    return " Nothing is revoked by it (whenStale: FailOpen)."


def _told(
    crls: Sequence[CrlSource],
    kept: Mapping[str, HeldCrls],
    digests: Iterable[str],
    uncertain: set[str],
) -> dict[str, SerialSet | Unlisted]:
    told: dict[str, SerialSet | Unlisted] = {}
    for digest in digests:
        found = [
            (one.age, crl.when_stale is WhenStale.FAIL_CLOSED, one)
            for crl in crls
            for one in kept[str(crl.source)].lists
            if digest in one.issuers
        ]
        if found:
            _, closed, newest = max(found, key=lambda entry: entry[:2])
            ends = int(newest.next_update.timestamp()) if closed else None
            told[digest] = SerialSet(newest.keys, ends)
        elif digest in uncertain:
            told[digest] = Unlisted.UNKNOWN
    return told


def _counts(one: HeldList, crl: CrlSource, told: Mapping[str, SerialSet | Unlisted]) -> bool:
    ends = int(one.next_update.timestamp()) if crl.when_stale is WhenStale.FAIL_CLOSED else None
    return any(told.get(issuer) == SerialSet(one.keys, ends) for issuer in one.issuers)


def _stale(crl: CrlSource, one: HeldList, cas: OwnCas) -> Trouble:
    consequence = (
        "Certificates of that CA are refused where rules read certificates (whenStale: FailClosed)"
        if crl.when_stale is WhenStale.FAIL_CLOSED
        else "What it says still counts, newer revocations are not known (whenStale: FailOpen)"
    )
    message = (
        f"{describe(crl.source)}: the list of {_name(one, cas)} ended at {format_timestamp(one.next_update)} "
        f"(nextUpdate). {consequence}: import a newer one."
    )
    return Trouble(Reason.CRL_STALE, message)
