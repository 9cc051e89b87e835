"""What a namespace's revocation list says: the union of the ledger and of what was published before.

Only expiry or a recorded restore makes the list smaller. Whatever else would is a rollback (a page lost, a backup
restored): the missing revocations are recovered from the list that tenants hold, whose signature only our CA can
have made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.envoy import IssuerRevocations, check_script, epoch_of, revocation_script, script_version
from mtls_operator.pki import (
    Authority,
    CrlEntry,
    CrlFacts,
    PkiError,
    Revocation,
    bitmap,
    has_index,
    index_of,
    parse_serial,
    read_crl,
    revoked_json,
    sign_crl,
)
from mtls_operator.pki import RevocationReason as PkiReason
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.epochs import credible, next_epoch
from mtls_operator.plan.ledger import Entry, Record

#: What the parts for people and other gateways may take of a ConfigMap's 1 MiB; the proxies' part always stays.
READABLE_BYTES: Final = 500 * 1024
#: A list for other gateways is signed anew long before it is stale, so that it never fails by age.
CRL_LIFETIME: Final = timedelta(days=30)
CRL_RENEWAL: Final = timedelta(days=1)
_CRL: Final = re.compile(r"-----BEGIN X509 CRL-----\n[A-Za-z0-9+/=\n]+-----END X509 CRL-----\n")


@dataclass(frozen=True, slots=True)
class Publication:
    """The content of ``mtls-revocation``, and what the proxies must acknowledge.

    ``serials`` are those that it revokes. ``left_out`` names the readable parts that did not fit; ``crl`` and
    ``revoked_json`` are those parts whole, whether they fit or not. ``renew_at`` is when the list must be signed anew;
    ``issuers`` are the digests of the CAs that it is about.
    """

    data: Mapping[str, str]
    script: str
    version: str
    epoch: int
    renew_at: datetime
    serials: frozenset[str]
    crl: str
    revoked_json: str
    left_out: tuple[str, ...] = ()
    issuers: frozenset[str] = frozenset()


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
                reason=RevocationReason(entry.reason.value),
                owner=record.owner if record is not None else "",
                owner_uid=record.owner_uid if record is not None else "",
                recovered=True,
            )
        )
    return records


def still_signed_by(text: str | None, generations: Iterable[Stored]) -> list[tuple[Authority, CrlFacts]]:
    """Return the published lists that CAs of ours signed, each with its CA; a list of nobody's says nothing."""
    found = []
    for pem in _CRL.findall(text or ""):
        for stored in generations:
            facts = still_signed(pem, stored.authority)
            if facts is not None:
                found.append((stored.authority, facts))
    return found


def still_signed(pem: str | None, authority: Authority) -> CrlFacts | None:
    """Return the content of the published list, or None when our CA did not sign it."""
    if not pem:
        return None
    try:
        return read_crl(pem, authority)
    except PkiError:
        return None


def revocations(ledger: Mapping[str, Record], *, now: datetime) -> tuple[Revocation, ...]:
    """Return the list to publish, sorted by serial number: revoked and not expired."""
    return tuple(
        Revocation(
            serial=record.serial,
            revoked_at=record.at,
            reason=PkiReason(record.reason.value),
            not_after=record.not_after,
            source=record.owner,
        )
        for record in sorted(ledger.values(), key=lambda record: record.serial)
        if record.entry is Entry.REVOKED and record.not_after > now
    )


def publish(  # noqa: PLR0913 - what a list rests on, most of it by keyword
    generations: Sequence[Stored],
    revoked: tuple[Revocation, ...],
    *,
    previous: Mapping[str, str],
    seen: Iterable[int],
    now: datetime,
    previous_crl: str | None = None,
) -> Publication:
    """Build the content of ``mtls-revocation``; unchanged revocations keep epoch and bytes (guarantee G6).

    ``generations`` are those of the namespace's CA: each that is trusted gets the list of its own leaves.
    ``previous`` is the content found in the cluster, which anybody in the namespace may have edited: it is used
    only where it is byte for byte what we would write. ``seen`` are the epochs that were ever seen in use.
    ``previous_crl`` is the last list where it did not fit into ``previous``: without it, it would be signed anew.

    Raises:
        ScriptError: the generated script does not load; what is published stays as it is.
    """
    lists = _by_generation(generations, revoked)
    issuers = [IssuerRevocations(stored.authority.digest, _bits(own)) for stored, own in lists]
    seen = [epoch for epoch in seen if credible(epoch, now=now) is not None]
    old = credible(epoch_of(previous.get(names.REVOCATION_KEY, "")), now=now)
    epoch = old if old is not None else next_epoch(seen, now=now)
    script = revocation_script(epoch=epoch, issuers=issuers)
    if script != previous.get(names.REVOCATION_KEY) or epoch < max(seen, default=0):
        epoch = next_epoch((*seen, old), now=now)
        script = revocation_script(epoch=epoch, issuers=issuers)
        check_script(script)
    former = _CRL.findall(previous.get(names.CRL_KEY) or previous_crl or "")
    signed = [_list_for_others(stored.authority, own, former, epoch=epoch, now=now) for stored, own in lists]
    crl = "".join(text for text, _ in signed)
    about = [stored.authority.facts for stored, _ in lists]
    for_people = revoked_json(revoked, epoch=epoch, issuers=about)
    readable = {names.REVOKED_JSON_KEY: for_people, names.CRL_KEY: crl}
    left_out = []
    for key in (names.REVOKED_JSON_KEY, names.CRL_KEY):
        if sum(len(text.encode()) for text in readable.values()) > READABLE_BYTES:
            left_out.append(key)
            readable[key] = ""
    return Publication(
        data={names.REVOCATION_KEY: script, **readable},
        script=script,
        version=script_version(script),
        epoch=epoch,
        renew_at=min((at for _, at in signed), default=now) + CRL_RENEWAL,
        serials=frozenset(revocation.serial for revocation in revoked),
        crl=crl,
        revoked_json=for_people,
        left_out=tuple(left_out),
        issuers=frozenset(stored.authority.digest for stored, _ in lists),
    )


def _by_generation(
    generations: Sequence[Stored], revoked: Iterable[Revocation]
) -> list[tuple[Stored, tuple[Revocation, ...]]]:
    """Return the trusted generations, newest first, with the revocations of their own leaves.

    An index that was never given out (a forged status) belongs to none: it must not blow up a bitmap.
    """
    signing = sorted(
        (stored for stored in generations if stored.phase is not Phase.PREPARED),
        key=lambda stored: stored.first_index,
    )
    ends = [stored.first_index for stored in signing[1:]] + [signing[-1].next_index] if signing else []
    own: dict[int, list[Revocation]] = {stored.generation: [] for stored in generations}
    for revocation in revoked:
        serial = parse_serial(revocation.serial)
        if not has_index(serial):
            continue
        index = index_of(serial)
        for stored, end in zip(signing, ends, strict=True):
            if stored.first_index <= index < end:
                own[stored.generation].append(revocation)
                break
    newest_first = sorted(generations, key=lambda stored: -stored.generation)
    return [(stored, tuple(own[stored.generation])) for stored in newest_first if stored.trusted]


def _bits(revoked: Iterable[Revocation]) -> bytes:
    return bitmap(index_of(parse_serial(revocation.serial)) for revocation in revoked)


def _list_for_others(
    authority: Authority,
    revoked: tuple[Revocation, ...],
    former: Iterable[str],
    *,
    epoch: int,
    now: datetime,
) -> tuple[str, datetime]:
    """Return the signed list of one CA: the former one while it is young and says the same."""
    for text in former:
        facts = still_signed(text, authority)
        if (
            facts is not None
            and now < facts.this_update + CRL_RENEWAL
            and {(entry.serial, entry.reason) for entry in facts.revocations}
            == {(revocation.serial, revocation.reason) for revocation in revoked}
        ):
            return text, facts.this_update
    number = max(epoch, int(now.timestamp() * 1000))
    return sign_crl(authority, revoked, number=number, now=now, lifetime=CRL_LIFETIME), now
