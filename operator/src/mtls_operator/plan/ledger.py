"""The ledger of revocations: the durable record of what became of every serial number (guarantee G3).

Append-only lines in pages; the last line of a serial number counts. Nothing is dropped before its certificate
has expired. The ledger knows three things to say about a serial number: it is revoked, it was restored, or it is
merely known (a certificate that left its object while still valid).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from mtls_operator.api.certificate import FINAL_REASONS, RevocationReason
from mtls_operator.api.meta import Meta
from mtls_operator.api.timestamp import format_timestamp, parse_timestamp
from mtls_operator.pki import PkiError, format_serial, parse_serial

#: A page is closed when the next line would pass this: a ConfigMap holds at most 1 MiB.
PAGE_BYTES: Final = 700 * 1024
#: Key of a page's ConfigMap.
RECORDS_KEY: Final = "records.jsonl"
#: Times are kept in whole seconds: the least difference that orders two records.
RECORD_STEP: Final = timedelta(seconds=1)


class Entry(StrEnum):
    """What a line says about a serial number."""

    REVOKED = "revoked"
    RESTORED = "restored"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Record:
    """One line: ``serial`` in upper-case hexadecimal, ``owner`` as namespace/name with its UID.

    ``recovered``: it was taken back from a published list. ``superseded``: a renewed certificate revoked it, not its
    object. ``key`` is the SHA-256 of its public key; empty: not known. ``extra`` are fields that a newer operator
    wrote, with their values as JSON: they are kept, and written again with whatever is said of the number next.
    """

    serial: str
    entry: Entry
    at: datetime
    not_after: datetime
    reason: RevocationReason
    owner: str
    owner_uid: str
    recovered: bool = False
    superseded: bool = False
    key: str = ""
    extra: tuple[tuple[str, str], ...] = ()


def encode(records: Iterable[Record]) -> str:
    """Return records as lines of JSON."""
    return "".join(_line(record) for record in records)


def decode(text: str) -> tuple[tuple[Record, ...], tuple[int, ...]]:
    """Read a page: its records, and the numbers of the lines that are damaged.

    A damaged line does not hold the others back: what it revoked stands in the published list too, and is recovered
    from there; what it restored stays revoked, which is the safe side.
    """
    records, damaged = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, PkiError):
            damaged.append(number)
    return tuple(records), tuple(damaged)


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """Return the record that counts for each serial number: the last one, with what only earlier ones say."""
    found: dict[str, Record] = {}
    for record in records:
        found[record.serial] = inherited(found.get(record.serial), record)
    return found


def inherited(before: Record | None, record: Record) -> Record:
    """Return a record with the key and the unknown fields of the one before it, where it has none of its own.

    An older operator writes a line without what it does not know: that is no word about it.
    """
    if before is None or ((record.key or not before.key) and before.extra in ((), record.extra)):
        return record
    extra = dict(before.extra) | dict(record.extra)
    return replace(record, key=record.key or before.key, extra=tuple(sorted(extra.items())))


def compromised_keys(records: Iterable[Record]) -> set[str]:
    """Return the digests of public keys whose certificates were revoked because somebody else has the key."""
    return {record.key for record in records if is_compromised(record)}


def is_compromised(record: Record) -> bool:
    """Say whether a record names a key that somebody else has; there is no restore after that."""
    key_is_known = record.entry is Entry.REVOKED and bool(record.key)
    return key_is_known and record.reason is RevocationReason.KEY_COMPROMISE


def append(last_page: str, records: Iterable[Record]) -> list[str]:
    """Return the contents of the last page and of the pages after it, with records added."""
    pages = [last_page]
    for record in records:
        line = _line(record)
        if len(pages[-1].encode()) + len(line.encode()) > PAGE_BYTES:
            pages.append("")
        pages[-1] += line
    return pages


def _unknown(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Holder:
    """What a ClientCertificate asks of the ledger, with every serial number known to be its own and their ends.

    ``revoked`` is what the object says; ``restorable`` is False for an object that cannot be read: it may revoke,
    never restore.
    """

    meta: Meta
    revoked: bool
    retain: bool
    restorable: bool
    reason: RevocationReason
    serials: Mapping[str, datetime]
    #: The certificate in the Secret; empty: there is none.
    current: str = ""
    #: How long after a renewal the former certificates are revoked; None: never.
    revoke_old_after: timedelta | None = None
    #: Finds the digest of the public key of one of them; empty: it is not known.
    key_of: Callable[[str], str] = _unknown

    def superseded_at(self, record: Record) -> datetime | None:
        """Return when a certificate that was replaced is to be revoked; None: not by its age."""
        replaced = bool(self.current) and record.serial != self.current
        if self.revoke_old_after is None or not replaced or record.entry is Entry.REVOKED:
            return None
        return record.at + self.revoke_old_after

    @property
    def revokes(self) -> bool:
        """Whether its certificates must be revoked: it says so, or it is being deleted without retaining."""
        return self.revoked or (self.meta.deleting and not self.retain)


def due(ledger: Mapping[str, Record], holders: Iterable[Holder], *, now: datetime) -> tuple[Record, ...]:
    """Return the records that the objects ask for and that the ledger does not have yet.

    Revoked objects and deleted ones (unless they retain) revoke every certificate of theirs; objects that are no
    longer revoked restore what they themselves revoked, unless the key is compromised. A record is always later
    than the one before it for the same serial number, whatever the clock does: the order must survive a rollback.
    """
    records: list[Record] = []
    for holder in holders:
        for serial, not_after in holder.serials.items():
            if not_after <= now:
                continue
            before = ledger.get(serial)
            entry = _wanted(before, holder)
            superseded = entry is None and _is_superseded(before, holder, now=now)
            if superseded:
                entry = Entry.REVOKED
            if entry is not None:
                records.append(
                    Record(
                        serial=serial,
                        entry=entry,
                        at=now if before is None else max(now, before.at + RECORD_STEP),
                        not_after=not_after,
                        reason=RevocationReason.SUPERSEDED if superseded else _reason(holder),
                        owner="/".join(holder.meta.key),
                        owner_uid=holder.meta.uid,
                        superseded=superseded,
                        key=holder.key_of(serial) or (before.key if before is not None else ""),
                        extra=before.extra if before is not None else (),
                    )
                )
    return tuple(records)


def kept(ledger: Mapping[str, Record], owners: Collection[str]) -> tuple[Record, ...]:
    """Return records that make the revocations of objects final; ``owners`` are their UIDs.

    An object that went back to an earlier state says that it is not revoked, which is no wish to restore anything.
    """
    return tuple(
        replace(record, at=record.at + RECORD_STEP, recovered=True)
        for record in ledger.values()
        if record.entry is Entry.REVOKED and not record.recovered and record.owner_uid in owners
    )


def _is_superseded(record: Record | None, holder: Holder, *, now: datetime) -> bool:
    moment = holder.superseded_at(record) if record is not None else None
    return moment is not None and moment <= now


def _wanted(record: Record | None, holder: Holder) -> Entry | None:
    revoked = record is not None and record.entry is Entry.REVOKED
    if holder.revokes:
        return None if revoked and not _graver(record, holder) else Entry.REVOKED
    if record is None:
        return Entry.KNOWN if holder.meta.deleting else None
    takes_back = holder.restorable and not holder.meta.deleting and may_restore(record, holder.meta.uid)
    return Entry.RESTORED if revoked and takes_back else None


def _graver(record: Record | None, holder: Holder) -> bool:
    """Say whether a revoked object now says that its key is compromised: that makes its revocation final."""
    return (
        record is not None
        and holder.revoked
        and holder.reason in FINAL_REASONS
        and record.reason not in FINAL_REASONS
    )


def may_restore(record: Record, owner_uid: str) -> bool:
    """Say whether an object may take back a revocation: only its own, and never that of a compromised key."""
    return (
        record.owner_uid == owner_uid
        and record.reason not in FINAL_REASONS
        and not (record.recovered or record.superseded)
    )


def _reason(holder: Holder) -> RevocationReason:
    if not holder.revoked and holder.reason is RevocationReason.UNSPECIFIED:
        return RevocationReason.CESSATION_OF_OPERATION
    return holder.reason


def _line(record: Record) -> str:
    document: dict[str, Any] = {
        "serial": record.serial,
        "entry": record.entry.value,
        "at": format_timestamp(record.at),
        "notAfter": format_timestamp(record.not_after),
        "reason": record.reason.value,
        "owner": record.owner,
        "ownerUid": record.owner_uid,
    }
    if record.recovered:
        document["recovered"] = "true"
    if record.superseded:
        document["superseded"] = "true"
    if record.key:
        document["key"] = record.key
    document |= {name: json.loads(value) for name, value in record.extra if name not in document}
    return _json(document) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


_FIELDS: Final = frozenset(
    {
        *("serial", "entry", "at", "notAfter", "reason", "owner", "ownerUid"),
        *("recovered", "superseded", "key"),
    }
)


def _record(document: Mapping[str, Any]) -> Record:
    """Read one line; raise one of several errors when it is damaged."""
    if format_serial(parse_serial(document["serial"])) != document["serial"]:
        raise ValueError(document["serial"])
    if not all(isinstance(document[key], str) for key in ("owner", "ownerUid")):
        raise TypeError(document)
    key = document.get("key", "")
    return Record(
        serial=document["serial"],
        entry=Entry(document["entry"]),
        at=parse_timestamp(document["at"]),
        not_after=parse_timestamp(document["notAfter"]),
        reason=RevocationReason(document["reason"]),
        owner=document["owner"],
        owner_uid=document["ownerUid"],
        recovered=document.get("recovered") == "true",
        superseded=document.get("superseded") == "true",
        key=key if isinstance(key, str) else "",
        extra=tuple(sorted((name, _json(document[name])) for name in document.keys() - _FIELDS)),
    )
