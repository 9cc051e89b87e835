"""What a namespace's revocation list says: the union of the ledger and of what was published before.

Only expiry or a recorded restore makes the list smaller. Whatever else would is a rollback (a page lost, a backup
restored): the missing revocations are recovered from the list that tenants hold, whose signature only our CA can
have made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from mtls_operator.plan.epochs import credible, next_epoch
from mtls_operator.plan.ledger import Entry, Record

#: What the parts for people and other gateways may take of a ConfigMap's 1 MiB; the proxies' part always stays.
READABLE_BYTES: Final = 500 * 1024
#: A list for other gateways is signed anew long before it is stale, so that it never fails by age.
CRL_LIFETIME: Final = timedelta(days=30)
CRL_RENEWAL: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Publication:
    """The content of ``mtls-revocation``, and what the proxies must acknowledge.

    ``serials`` are those that it revokes. ``left_out`` names the readable parts that did not fit; ``crl`` and
    ``revoked_json`` are those parts whole, whether they fit or not. ``renew_at`` is when the list must be signed anew.
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
    authority: Authority,
    revoked: tuple[Revocation, ...],
    *,
    next_index: int,
    previous: Mapping[str, str],
    seen: Iterable[int],
    now: datetime,
    previous_crl: str | None = None,
) -> Publication:
    """Build the content of ``mtls-revocation``; unchanged revocations keep epoch and bytes (guarantee G6).

    ``previous`` is the content found in the cluster, which anybody in the namespace may have edited: it is used
    only where it is byte for byte what we would write. ``seen`` are the epochs that were ever seen in use.
    ``previous_crl`` is the last list where it did not fit into ``previous``: without it, it would be signed anew.

    Raises:
        ScriptError: the generated script does not load; what is published stays as it is.
    """
    issuers = (IssuerRevocations(authority.digest, _bits(revoked, next_index=next_index)),)
    seen = [epoch for epoch in seen if credible(epoch, now=now) is not None]
    old = credible(epoch_of(previous.get(names.REVOCATION_KEY, "")), now=now)
    epoch = old if old is not None else next_epoch(seen, now=now)
    script = revocation_script(epoch=epoch, issuers=issuers)
    if script != previous.get(names.REVOCATION_KEY) or epoch < max(seen, default=0):
        epoch = next_epoch((*seen, old), now=now)
        script = revocation_script(epoch=epoch, issuers=issuers)
        check_script(script)
    last = previous.get(names.CRL_KEY) or previous_crl
    crl, signed_at = _list_for_others(authority, revoked, last, epoch=epoch, now=now)
    for_people = revoked_json(revoked, epoch=epoch, issuer=authority.facts)
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
        renew_at=signed_at + CRL_RENEWAL,
        serials=frozenset(revocation.serial for revocation in revoked),
        crl=crl,
        revoked_json=for_people,
        left_out=tuple(left_out),
    )


def _bits(revoked: Iterable[Revocation], *, next_index: int) -> bytes:
    """Return the bitmap; an index that was never given out (a forged status) must not blow it up."""
    serials = (parse_serial(revocation.serial) for revocation in revoked)
    indices = (index_of(serial) for serial in serials if has_index(serial))
    return bitmap(index for index in indices if index < next_index)


def _list_for_others(
    authority: Authority, revoked: tuple[Revocation, ...], previous: str | None, *, epoch: int, now: datetime
) -> tuple[str, datetime]:
    facts = still_signed(previous, authority)
    if (
        previous
        and facts is not None
        and now < facts.this_update + CRL_RENEWAL
        and {(entry.serial, entry.reason) for entry in facts.revocations}
        == {(revocation.serial, revocation.reason) for revocation in revoked}
    ):
        return previous, facts.this_update
    number = max(epoch, int(now.timestamp() * 1000))
    return sign_crl(authority, revoked, number=number, now=now, lifetime=CRL_LIFETIME), now
