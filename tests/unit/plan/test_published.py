"""What is published: it grows by revocations, shrinks by expiry and recorded restores, and by nothing else (G3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.api.meta import Meta
from mtls_operator.envoy import epoch_of
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    format_serial,
    make_serial,
    new_authority,
    read_crl,
)
from mtls_operator.plan import published
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.ledger import Entry, Holder, Record, due, latest
from mtls_operator.plan.published import (
    Publication,
    publish,
    recover,
    revocations,
    still_signed,
    still_signed_by,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=365)


def _authority(name: str = "mtls-operator shop") -> Authority:
    return _made(name)


@lru_cache
def _made(name: str) -> Authority:
    return new_authority(name, now=NOW, lifetime=timedelta(days=3650), entropy=b"e" * AUTHORITY_ENTROPY)


def _stored(name: str = "mtls-operator shop", *, next_index: int = 1024, **changes: Any) -> Stored:
    return Stored(_authority(name), changes.pop("generation", 1), next_index, {}, **changes)


def _serial(index: int) -> str:
    return format_serial(make_serial(index, bytes([index % 256]) * SERIAL_ENTROPY))


def _record(index: int, entry: Entry = Entry.REVOKED, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "at": NOW,
        "not_after": END,
        "reason": RevocationReason.UNSPECIFIED,
        "owner": "shop/gateway",
        "owner_uid": "uid-1",
    }
    return Record(serial=_serial(index), entry=entry, **(fields | changes))


def _publish(
    *records: Record, previous: dict[str, str] | None = None, seen: tuple[int, ...] = (), now: datetime = NOW
) -> Publication:
    return publish(
        [_stored()],
        revocations(latest(records), now=now),
        previous=previous or {},
        seen=seen,
        now=now,
    )


def test_the_list_holds_what_is_revoked_and_not_expired() -> None:
    publication = _publish(
        _record(1), _record(2, Entry.RESTORED), _record(3, Entry.KNOWN), _record(4, not_after=NOW)
    )
    assert publication.serials == {_serial(1)}
    listed = read_crl(publication.data[names.CRL_KEY], _authority())
    assert [entry.serial for entry in listed.revocations] == [_serial(1)]


def test_unchanged_revocations_keep_every_byte() -> None:
    first = _publish(_record(1))
    again = _publish(_record(1), previous=dict(first.data), now=NOW + timedelta(hours=2))
    assert (again.data, again.epoch, again.version) == (first.data, first.epoch, first.version)


def test_a_change_raises_the_epoch() -> None:
    first = _publish(_record(1))
    second = _publish(_record(1), _record(2), previous=dict(first.data))
    assert second.epoch > first.epoch
    assert epoch_of(second.script) == second.epoch


def test_an_epoch_that_was_seen_is_outbid() -> None:
    first = _publish(_record(1))
    again = _publish(_record(1), previous=dict(first.data), seen=(first.epoch + 1000,))
    assert again.epoch > first.epoch + 1000


@pytest.mark.parametrize("epoch", ["0", "9007199254740991", "9999999999999999"])
def test_an_edited_script_never_stops_the_list(epoch: str) -> None:
    first = _publish(_record(1))
    forged = first.script.replace(str(first.epoch), epoch)
    again = _publish(_record(1), previous={**first.data, names.REVOCATION_KEY: forged})
    assert again.script != forged
    assert 0 < again.epoch < 2**52


def test_the_signed_list_is_signed_anew_after_a_day() -> None:
    first = _publish(_record(1))
    later = _publish(_record(1), previous=dict(first.data), now=NOW + timedelta(days=1))
    assert later.data[names.CRL_KEY] != first.data[names.CRL_KEY]
    assert later.version == first.version
    assert first.renew_at == NOW + timedelta(days=1)


def test_a_list_that_another_ca_signed_says_nothing() -> None:
    other = publish(
        [_stored("mtls-operator other")],
        revocations(latest([_record(1)]), now=NOW),
        previous={},
        seen=(),
        now=NOW,
    )
    assert still_signed(other.data[names.CRL_KEY], _authority()) is None
    assert still_signed("rubbish", _authority()) is None
    assert still_signed(None, _authority()) is None


def test_readable_parts_that_do_not_fit_are_left_out_and_named() -> None:
    records = [_record(index) for index in range(6000)]
    publication = publish(
        [_stored(next_index=8192)], revocations(latest(records), now=NOW), previous={}, seen=(), now=NOW
    )
    assert names.REVOKED_JSON_KEY in publication.left_out
    assert publication.serials == {record.serial for record in records}
    assert sum(len(text.encode()) for text in publication.data.values()) < 1024 * 1024


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "READABLE_BYTES", 100)


@pytest.mark.usefixtures("little_room")
def test_a_part_that_does_not_fit_is_still_there_whole_for_whoever_serves_it() -> None:
    publication = _publish(_record(1), _record(2))
    assert publication.left_out == (names.REVOKED_JSON_KEY, names.CRL_KEY)
    assert publication.data[names.CRL_KEY] == ""
    assert len(read_crl(publication.crl, _authority()).revocations) == 2
    assert publication.revoked_json.count('"serial"') == 2


@pytest.mark.usefixtures("little_room")
def test_a_list_that_does_not_fit_is_not_signed_anew_where_the_last_one_is_at_hand() -> None:
    first = _publish(_record(1))
    again = publish(
        [_stored()],
        revocations(latest([_record(1)]), now=NOW),
        previous=first.data,
        previous_crl=first.crl,
        seen=(),
        now=NOW + timedelta(hours=1),
    )
    assert again == first


def test_parts_that_fit_are_the_whole() -> None:
    publication = _publish(_record(1))
    assert publication.crl == publication.data[names.CRL_KEY]
    assert publication.revoked_json == publication.data[names.REVOKED_JSON_KEY]


def test_an_index_that_was_never_given_out_does_not_blow_up_the_bitmap() -> None:
    publication = _publish(_record(2**32 - 1), _record(5))
    assert len(publication.script) < 50_000


def test_what_the_ledger_lost_is_recovered_from_the_signed_list() -> None:
    publication = _publish(_record(1), _record(2, reason=RevocationReason.KEY_COMPROMISE))
    listed = read_crl(publication.data[names.CRL_KEY], _authority())
    recovered = recover({}, listed.revocations, authority=_authority())
    assert {record.serial for record in recovered} == publication.serials
    assert all(record.recovered and record.entry is Entry.REVOKED for record in recovered)
    assert {record.reason for record in recovered} == {
        RevocationReason.UNSPECIFIED,
        RevocationReason.KEY_COMPROMISE,
    }


def test_what_was_restored_since_is_not_recovered() -> None:
    publication = _publish(_record(1))
    listed = read_crl(publication.data[names.CRL_KEY], _authority())
    restored = _record(1, Entry.RESTORED, at=NOW + timedelta(seconds=1))
    assert recover({restored.serial: restored}, listed.revocations, authority=_authority()) == []


def test_what_was_revoked_again_after_a_restore_is_recovered() -> None:
    publication = _publish(_record(1, at=NOW + timedelta(seconds=5)))
    listed = read_crl(publication.data[names.CRL_KEY], _authority())
    restored = _record(1, Entry.RESTORED, at=NOW + timedelta(seconds=2))
    (record,) = recover({restored.serial: restored}, listed.revocations, authority=_authority())
    assert record.entry is Entry.REVOKED


class ListOfANamespace(RuleBasedStateMachine):
    """Users revoke, restore and delete; the ledger falls back to any older state; the clock jumps.

    ``must`` is what users last asked for, ``pages`` every state that the ledger ever had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.lines: list[Record] = []
        self.pages: list[int] = [0]
        self.data: dict[str, str] = {}
        self.must: set[str] = set()
        self.revoked: dict[int, bool] = {}
        self.epoch = 0
        self._reconcile()

    def _holders(self) -> list[Holder]:
        return [
            Holder(
                meta=Meta("shop", f"c{index}", uid=f"uid-{index}"),
                revoked=revoked,
                retain=False,
                restorable=True,
                reason=RevocationReason.UNSPECIFIED,
                serials={_serial(index): END},
            )
            for index, revoked in self.revoked.items()
        ]

    def _reconcile(self) -> None:
        listed = still_signed(self.data.get(names.CRL_KEY), _authority())
        if listed is not None:
            self.lines += recover(latest(self.lines), listed.revocations, authority=_authority())
        self.lines += due(latest(self.lines), self._holders(), now=self.now)
        self.pages.append(len(self.lines))
        publication = _publish(*self.lines, previous=self.data, seen=(self.epoch,), now=self.now)
        self.data, self.epoch = dict(publication.data), publication.epoch
        self.published = publication

    @rule(index=st.integers(0, 5))
    def revoke(self, index: int) -> None:
        self.revoked[index] = True
        self.must.add(_serial(index))
        self._reconcile()

    @rule(index=st.integers(0, 5))
    @precondition(lambda self: self.revoked)
    def restore(self, index: int) -> None:
        if self.revoked.get(index):
            self.revoked[index] = False
            self.must.discard(_serial(index))
            self._reconcile()

    @rule(index=st.integers(0, 5))
    @precondition(lambda self: self.revoked)
    def lose_the_object(self, index: int) -> None:
        self.revoked.pop(index, None)

    @rule(which=st.integers(0, 10**6))
    def fall_back(self, which: int) -> None:
        self.lines = self.lines[: self.pages[which % len(self.pages)]]
        self._reconcile()

    @rule(seconds=st.integers(-3600, 3600))
    def move_the_clock(self, seconds: int) -> None:
        self.now = max(NOW, self.now + timedelta(seconds=seconds))

    @invariant()
    def what_must_be_refused_is_published(self) -> None:
        assert self.must <= self.published.serials

    @invariant()
    def the_epoch_is_that_of_the_script(self) -> None:
        assert epoch_of(self.data[names.REVOCATION_KEY]) == self.epoch


ListOfANamespace.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestListOfANamespace = ListOfANamespace.TestCase


def test_each_generation_lists_its_own_leaves_and_every_trusted_one_has_a_list() -> None:
    old = _stored("old", generation=1, next_index=5, phase=Phase.RETIRING)
    new = _stored("new", generation=2, next_index=1024, first_index=5)
    next_one = _stored("next", generation=3, next_index=0, phase=Phase.PREPARED)
    publication = publish(
        [old, new, next_one],
        revocations(latest([_record(2), _record(7)]), now=NOW),
        previous={},
        seen=(),
        now=NOW,
    )
    lists = still_signed_by(publication.data[names.CRL_KEY], [old, new, next_one])
    listed = {
        authority.facts.subject: [entry.serial for entry in facts.revocations] for authority, facts in lists
    }
    assert listed == {
        old.authority.facts.subject: [_serial(2)],
        new.authority.facts.subject: [_serial(7)],
        next_one.authority.facts.subject: [],
    }
    assert all(stored.authority.digest in publication.script for stored in (old, new, next_one))


def test_a_retired_generation_has_no_list_any_more() -> None:
    old = _stored("old", generation=1, next_index=5, phase=Phase.RETIRED)
    new = _stored("new", generation=2, next_index=1024, first_index=5)
    publication = publish(
        [old, new], revocations(latest([_record(2)]), now=NOW), previous={}, seen=(), now=NOW
    )
    assert old.authority.digest not in publication.script
    assert still_signed_by(publication.data[names.CRL_KEY], [old]) == []


def test_unchanged_lists_of_two_generations_keep_every_byte() -> None:
    old = _stored("old", generation=1, next_index=5, phase=Phase.RETIRING)
    new = _stored("new", generation=2, next_index=1024, first_index=5)
    revoked = revocations(latest([_record(2), _record(7)]), now=NOW)
    first = publish([old, new], revoked, previous={}, seen=(), now=NOW)
    again = publish([old, new], revoked, previous=dict(first.data), seen=(), now=NOW + timedelta(hours=2))
    assert again.data == first.data
