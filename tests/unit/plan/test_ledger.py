"""The ledger: lines, pages, and what objects ask of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.api.meta import Meta
from mtls_operator.plan.ledger import (
    PAGE_BYTES,
    Entry,
    Holder,
    Record,
    append,
    compromised_keys,
    decode,
    due,
    encode,
    latest,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=365)
SERIAL = "2A" + "00" * 14 + "00000007"


def _record(serial: str = SERIAL, entry: Entry = Entry.REVOKED, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "at": NOW,
        "not_after": END,
        "reason": RevocationReason.UNSPECIFIED,
        "owner": "shop/gateway",
        "owner_uid": "uid-1",
    }
    return Record(serial=serial, entry=entry, **(fields | changes))


def _holder(**changes: Any) -> Holder:
    meta = Meta("shop", "gateway", uid="uid-1", deleting=changes.pop("deleting", False))
    fields: dict[str, Any] = {
        "revoked": False,
        "retain": False,
        "restorable": True,
        "reason": RevocationReason.UNSPECIFIED,
        "serials": {SERIAL: END},
    }
    return Holder(meta=meta, **(fields | changes))


def _due(
    record: Record | None, holder: Holder, *, now: datetime = NOW
) -> list[tuple[Entry, RevocationReason]]:
    ledger = {} if record is None else {record.serial: record}
    return [(found.entry, found.reason) for found in due(ledger, [holder], now=now)]


_moments = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
_records = st.builds(
    Record,
    serial=st.binary(min_size=18, max_size=18).map(lambda tail: "2A" + tail.hex().upper()),
    entry=st.sampled_from(Entry),
    at=_moments,
    not_after=_moments,
    reason=st.sampled_from(RevocationReason),
    owner=st.text(st.characters(codec="utf-8"), max_size=60),
    owner_uid=st.text(st.characters(codec="utf-8"), max_size=40),
    recovered=st.booleans(),
)


@given(st.lists(_records, max_size=20))
def test_what_is_written_is_read_back(records: list[Record]) -> None:
    assert decode(encode(records)) == (tuple(records), ())


@given(st.lists(_records, max_size=8), st.binary(max_size=40), st.integers(min_value=0))
def test_a_damaged_line_takes_no_other_with_it(records: list[Record], rubbish: bytes, place: int) -> None:
    lines = encode(records).splitlines()
    lines.insert(place % (len(lines) + 1), "{" + rubbish.hex())
    read, damaged = decode("\n".join(lines))
    assert read == tuple(records)
    assert len(damaged) == 1


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "[]",
        "7",
        '{"serial":5}',
        encode([_record()]).replace(SERIAL, SERIAL.lower()),
        encode([_record()]).replace(SERIAL, "XYZ"),
        encode([_record()]).replace(SERIAL, ""),
        encode([_record()]).replace('"shop/gateway"', "7"),
        encode([_record()]).replace("revoked", "forgiven"),
        encode([_record()]).replace("2026", "MMXXVI"),
    ],
)
def test_a_line_that_is_no_record_is_damaged_and_nothing_worse(line: str) -> None:
    assert decode(line) == ((), (1,))


def test_the_last_line_of_a_serial_number_counts() -> None:
    first, second = _record(), _record(entry=Entry.RESTORED)
    assert latest([first, second]) == {SERIAL: second}


def test_a_page_is_closed_before_it_outgrows_a_configmap() -> None:
    records = [_record(owner="x" * 1000, serial=f"2A{number:036X}") for number in range(2000)]
    pages = append("", records)
    assert len(pages) > 2
    assert all(len(page.encode()) <= PAGE_BYTES for page in pages)
    assert [record for page in pages for record in decode(page)[0]] == records


@pytest.mark.parametrize(
    ("before", "holder", "wanted"),
    [
        (None, _holder(), []),
        (None, _holder(revoked=True), [(Entry.REVOKED, RevocationReason.UNSPECIFIED)]),
        (Entry.REVOKED, _holder(revoked=True), []),
        (Entry.REVOKED, _holder(), [(Entry.RESTORED, RevocationReason.CESSATION_OF_OPERATION)]),
        (Entry.RESTORED, _holder(), []),
        (Entry.RESTORED, _holder(revoked=True), [(Entry.REVOKED, RevocationReason.UNSPECIFIED)]),
        (Entry.KNOWN, _holder(), []),
        (Entry.KNOWN, _holder(revoked=True), [(Entry.REVOKED, RevocationReason.UNSPECIFIED)]),
        (None, _holder(deleting=True), [(Entry.REVOKED, RevocationReason.CESSATION_OF_OPERATION)]),
        (None, _holder(deleting=True, retain=True), [(Entry.KNOWN, RevocationReason.CESSATION_OF_OPERATION)]),
        (Entry.KNOWN, _holder(deleting=True, retain=True), []),
        (Entry.REVOKED, _holder(deleting=True, retain=True), []),
        (Entry.RESTORED, _holder(deleting=True), [(Entry.REVOKED, RevocationReason.CESSATION_OF_OPERATION)]),
        (Entry.REVOKED, _holder(restorable=False), []),
    ],
)
def test_what_an_object_asks_of_the_ledger(
    before: Entry | None, holder: Holder, wanted: list[tuple[Entry, RevocationReason]]
) -> None:
    assert _due(None if before is None else _record(entry=before), holder) == wanted


def test_nothing_is_asked_for_what_has_expired() -> None:
    assert _due(None, _holder(revoked=True), now=END) == []


def test_an_object_does_not_restore_what_another_one_revoked() -> None:
    assert _due(_record(owner_uid="uid-2"), _holder()) == []


def test_a_recovered_revocation_is_not_restored() -> None:
    assert _due(_record(recovered=True), _holder()) == []


@pytest.mark.parametrize("reason", [RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE])
def test_a_compromised_key_is_not_restored(reason: RevocationReason) -> None:
    assert _due(_record(reason=reason), _holder()) == []


def test_a_reason_that_becomes_final_is_recorded() -> None:
    holder = _holder(revoked=True, reason=RevocationReason.KEY_COMPROMISE)
    assert _due(_record(), holder) == [(Entry.REVOKED, RevocationReason.KEY_COMPROMISE)]


def test_a_final_reason_is_not_made_milder() -> None:
    holder = _holder(revoked=True, reason=RevocationReason.SUPERSEDED)
    assert _due(_record(reason=RevocationReason.KEY_COMPROMISE), holder) == []


@pytest.mark.parametrize("clock", [NOW - timedelta(days=9), NOW, NOW + timedelta(seconds=1)])
def test_a_record_is_later_than_the_one_before_it_whatever_the_clock_says(clock: datetime) -> None:
    before = _record()
    (after,) = due({SERIAL: before}, [_holder()], now=clock)
    assert after.at > before.at


def test_a_public_key_is_kept_in_the_line() -> None:
    record = _record(key="ab" * 32)
    assert decode(encode([record])) == ((record,), ())


def test_a_later_line_without_the_key_is_no_word_about_it() -> None:
    """An older operator writes lines without."""
    known = _record(entry=Entry.KNOWN, key="ab" * 32)
    assert latest([known, _record()])[SERIAL].key == "ab" * 32


def test_a_record_that_an_object_asks_for_keeps_the_key_that_was_known() -> None:
    known = _record(entry=Entry.KNOWN, key="ab" * 32)
    (revoked,) = due({SERIAL: known}, [_holder(revoked=True)], now=NOW)
    assert revoked.key == "ab" * 32
    (revoked,) = due({}, [_holder(revoked=True, key_of=lambda _: "cd" * 32)], now=NOW)
    assert revoked.key == "cd" * 32


_NEWER = (
    f'{{"serial":"{SERIAL}","entry":"known","at":"2026-03-01T12:00:00Z","notAfter":"2027-03-01T12:00:00Z",'
    '"reason":"Unspecified","owner":"shop/gateway","ownerUid":"uid-1","device":{"model":7},"new":"x"}\n'
)


def test_fields_of_a_newer_operator_are_kept_in_whatever_is_said_next() -> None:
    records, damaged = decode(_NEWER)
    assert damaged == ()
    assert encode(records) == _NEWER
    (revoked,) = due(latest(records), [_holder(revoked=True)], now=NOW)
    assert encode([revoked]).endswith(',"device":{"model":7},"new":"x"}\n')
    assert latest([*records, _record()])[SERIAL].extra == records[0].extra


def test_a_field_of_a_newer_operator_never_passes_for_one_of_ours() -> None:
    forged = _record(extra=(("serial", '"00"'), ("entry", '"restored"')))
    (record,), _ = decode(encode([forged]))
    assert (record.serial, record.entry) == (SERIAL, Entry.REVOKED)


def test_only_a_key_that_somebody_else_has_is_compromised() -> None:
    compromise = RevocationReason.KEY_COMPROMISE
    records = [
        _record(key="a1", reason=compromise),
        _record(key="a2", reason=RevocationReason.CA_COMPROMISE),
        _record(key="a3", entry=Entry.KNOWN, reason=compromise),
        _record(reason=compromise),
    ]
    assert compromised_keys(records) == {"a1"}
