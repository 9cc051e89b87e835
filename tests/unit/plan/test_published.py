"""What is published: it grows by revocations, shrinks by expiry and recorded restores, and by nothing else (G3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from mtls_operator.envoy import IssuerRevocations, epoch_of
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    bitmap,
    format_serial,
    make_serial,
    new_authority,
    read_crl,
)
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.ledger import Entry, Holder, Record, due, latest
from mtls_operator.plan.published import (
    SCRIPT_BYTES,
    Listing,
    Publication,
    in_force,
    list_of,
    list_without_ca,
    publish,
    recover,
    still_signed,
    still_signed_by,
)
from mtls_operator.plan.readable import Readable, readable, signed_of

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


@dataclass(frozen=True)
class Whole:
    """Everything of ``mtls-revocation``."""

    publication: Publication
    readable: Readable

    @property
    def data(self) -> dict[str, str]:
        return {names.REVOCATION_KEY: self.publication.script, **self.readable.kept}


def _whole(
    generations: list[Stored],
    records: tuple[Record, ...],
    *,
    previous: Mapping[str, str],
    seen: tuple[int, ...] = (),
    now: datetime = NOW,
) -> Whole:
    revoked = in_force(latest(records), now=now)
    script = previous.get(names.REVOCATION_KEY, "")
    own = list_of(generations, revoked, now=now)
    publication = publish(own, {}, previous=script, seen=seen, now=now)
    former = still_signed_by(previous.get(names.CRL_KEY), generations)
    parts = readable(
        generations,
        revoked,
        former=signed_of(former, generations),
        present="",
        script_bytes=len(publication.script),
        epoch=publication.epoch,
        now=now,
    )
    return Whole(publication, parts)


def _publish(
    *records: Record, previous: dict[str, str] | None = None, seen: tuple[int, ...] = (), now: datetime = NOW
) -> Whole:
    return _whole([_stored()], records, previous=previous or {}, seen=seen, now=now)


def test_the_list_holds_what_is_revoked_and_not_expired() -> None:
    whole = _publish(
        _record(1), _record(2, Entry.RESTORED), _record(3, Entry.KNOWN), _record(4, not_after=NOW)
    )
    assert whole.publication.serials == {_serial(1)}
    listed = read_crl(whole.data[names.CRL_KEY], _authority())
    assert [entry.serial for entry in listed.revocations] == [_serial(1)]


def test_unchanged_revocations_keep_every_byte() -> None:
    first = _publish(_record(1))
    again = _publish(_record(1), previous=dict(first.data), now=NOW + timedelta(hours=2))
    assert again.data == first.data
    assert again.publication.version == first.publication.version


def test_a_change_raises_the_epoch() -> None:
    first = _publish(_record(1))
    second = _publish(_record(1), _record(2), previous=dict(first.data))
    assert second.publication.epoch > first.publication.epoch
    assert epoch_of(second.publication.script) == second.publication.epoch


def test_an_epoch_that_was_seen_is_outbid() -> None:
    first = _publish(_record(1))
    again = _publish(_record(1), previous=dict(first.data), seen=(first.publication.epoch + 1000,))
    assert again.publication.epoch > first.publication.epoch + 1000


@pytest.mark.parametrize("epoch", ["0", "9007199254740991", "9999999999999999"])
def test_an_edited_script_never_stops_the_list(epoch: str) -> None:
    first = _publish(_record(1))
    forged = first.publication.script.replace(str(first.publication.epoch), epoch)
    again = _publish(_record(1), previous={**first.data, names.REVOCATION_KEY: forged}).publication
    assert again.script != forged
    assert 0 < again.epoch < 2**52


def test_the_signed_list_is_signed_anew_after_a_day() -> None:
    first = _publish(_record(1))
    later = _publish(_record(1), previous=dict(first.data), now=NOW + timedelta(days=1))
    assert later.data[names.CRL_KEY] != first.data[names.CRL_KEY]
    assert later.publication.version == first.publication.version
    assert first.readable.renew_at == NOW + timedelta(days=1)


def test_a_list_that_another_ca_signed_says_nothing() -> None:
    other = _whole([_stored("mtls-operator other")], (_record(1),), previous={})
    assert still_signed(other.data[names.CRL_KEY], _authority()) is None
    assert still_signed("rubbish", _authority()) is None
    assert still_signed(None, _authority()) is None


def test_an_index_that_was_never_given_out_does_not_blow_up_the_bitmap() -> None:
    whole = _publish(_record(2**32 - 1), _record(5))
    assert len(whole.publication.script) < 50_000


def test_what_the_ledger_lost_is_recovered_from_the_signed_list() -> None:
    whole = _publish(_record(1), _record(2, reason=RevocationReason.KEY_COMPROMISE))
    listed = read_crl(whole.data[names.CRL_KEY], _authority())
    recovered = recover({}, listed.revocations, authority=_authority())
    assert {record.serial for record in recovered} == whole.publication.serials
    assert all(record.recovered and record.entry is Entry.REVOKED for record in recovered)
    assert {record.reason for record in recovered} == {
        RevocationReason.UNSPECIFIED,
        RevocationReason.KEY_COMPROMISE,
    }


def test_what_was_restored_since_is_not_recovered() -> None:
    whole = _publish(_record(1))
    listed = read_crl(whole.data[names.CRL_KEY], _authority())
    restored = _record(1, Entry.RESTORED, at=NOW + timedelta(seconds=1))
    assert recover({restored.serial: restored}, listed.revocations, authority=_authority()) == []


def test_what_was_revoked_again_after_a_restore_is_recovered() -> None:
    whole = _publish(_record(1, at=NOW + timedelta(seconds=5)))
    listed = read_crl(whole.data[names.CRL_KEY], _authority())
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
        whole = _publish(*self.lines, previous=self.data, seen=(self.epoch,), now=self.now)
        self.data, self.epoch = whole.data, whole.publication.epoch
        self.published = whole.publication

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
    whole = _whole([old, new, next_one], (_record(2), _record(7)), previous={})
    lists = still_signed_by(whole.data[names.CRL_KEY], [old, new, next_one])
    listed = {
        authority.facts.subject: [entry.serial for entry in facts.revocations]
        for authority, facts, _ in lists
    }
    assert listed == {
        old.authority.facts.subject: [_serial(2)],
        new.authority.facts.subject: [_serial(7)],
        next_one.authority.facts.subject: [],
    }
    assert all(stored.authority.digest in whole.publication.script for stored in (old, new, next_one))


def test_a_retired_generation_has_no_list_any_more() -> None:
    old = _stored("old", generation=1, next_index=5, phase=Phase.RETIRED)
    new = _stored("new", generation=2, next_index=1024, first_index=5)
    whole = _whole([old, new], (_record(2),), previous={})
    assert old.authority.digest not in whole.publication.script
    assert still_signed_by(whole.data[names.CRL_KEY], [old]) == []


def test_unchanged_lists_of_two_generations_keep_every_byte() -> None:
    old = _stored("old", generation=1, next_index=5, phase=Phase.RETIRING)
    new = _stored("new", generation=2, next_index=1024, first_index=5)
    records = (_record(2), _record(7))
    first = _whole([old, new], records, previous={})
    again = _whole([old, new], records, previous=first.data, now=NOW + timedelta(hours=2))
    assert again.data == first.data


def test_a_list_holds_until_a_revocation_of_it_expires_and_not_before_it_was_made() -> None:
    """A clock that went back brings revocations back that had expired."""
    own = _publish(_record(1), _record(2, not_after=NOW + timedelta(hours=1))).publication.own
    assert own.holds(now=NOW + timedelta(minutes=59), about=None)
    assert not own.holds(now=NOW + timedelta(hours=1), about=None)
    assert not own.holds(now=NOW - timedelta(seconds=1), about=None)
    assert not own.holds(now=NOW, about="another ledger")


def test_a_publication_holds_for_the_very_lists_it_is_made_of() -> None:
    own, partners, fleet = (list_of([_stored(name)], (), now=NOW) for name in ("shop", "partners", "fleet"))
    publication = publish(own, {"partners": partners}, previous="", seen=(), now=NOW)
    assert publication.holds(own, {"partners": partners}, seen=publication.epoch)
    assert not publication.holds(own, {"partners": partners}, seen=publication.epoch + 1)
    assert not publication.holds(own, {}, seen=publication.epoch)
    assert not publication.holds(own, {"partners": fleet}, seen=publication.epoch)
    assert not publication.holds(own, {"partners": partners, "fleet": fleet}, seen=publication.epoch)
    assert not publication.holds(partners, {"partners": partners}, seen=publication.epoch)


def _list(name: str, *indices: int, **changes: Any) -> Listing:
    records = [_record(index) for index in indices]
    return list_of([_stored(name, next_index=2**23, **changes)], records, now=NOW)


def _revokes(publication: Publication, name: str, index: int) -> bool:
    """Ask the text that the proxies read."""
    table = publication.script.split("local lists = ", 1)[1].split("local decide", 1)[0]
    entry = table.split(f'["{_authority(name).digest}"] = {{', 1)[1]
    index -= int(entry.split(",", 1)[0])
    text = entry.split('"', 2)[1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return len(text) > index // 6 and bool(alphabet.index(text[index // 6]) >> index % 6 & 1)


def test_each_namespace_has_the_list_of_its_own_ca_alone() -> None:
    """The same index is somebody else's under another CA."""
    publication = publish(_list("shop", 1), {"partners": _list("partners", 2)}, previous="", seen=(), now=NOW)
    assert [_revokes(publication, "shop", index) for index in (1, 2)] == [True, False]
    assert [_revokes(publication, "partners", index) for index in (1, 2)] == [False, True]
    assert publication.issuers == {_authority("shop").digest, _authority("partners").digest}
    assert publication.serials == {_serial(1)}
    assert publication.others["partners"].serials == {_serial(2)}


def test_the_order_in_which_namespaces_come_changes_no_byte() -> None:
    own, partners, fleet = _list("shop", 1), _list("partners", 2), _list("fleet", 3)
    one = publish(own, {"partners": partners, "fleet": fleet}, previous="", seen=(), now=NOW)
    other = publish(own, {"fleet": fleet, "partners": partners}, previous="", seen=(), now=NOW)
    assert one.script == other.script


def test_the_next_expiry_of_any_of_the_lists_ends_it() -> None:
    soon = list_of([_stored("partners")], [_record(2, not_after=NOW + timedelta(hours=1))], now=NOW)
    publication = publish(_list("shop", 1), {"partners": soon}, previous="", seen=(), now=NOW)
    assert publication.until == NOW + timedelta(hours=1)


def test_one_ca_given_to_two_namespaces_loses_the_revocations_of_neither() -> None:
    publication = publish(
        _list("same", 1, 700), {"partners": _list("same", 2)}, previous="", seen=(), now=NOW
    )
    assert [_revokes(publication, "same", index) for index in (0, 1, 2, 700)] == [False, True, True, True]


def test_one_ca_whose_list_begins_elsewhere_in_another_namespace_is_joined_index_by_index() -> None:
    one, other = _list("same", 5), _list("same", 43, first_index=40)
    for own, beside in ((one, other), (other, one)):
        publication = publish(own, {"partners": beside}, previous="", seen=(), now=NOW)
        assert [_revokes(publication, "same", index) for index in (5, 40, 43, 45)] == [
            True,
            False,
            True,
            False,
        ]


def test_what_does_not_fit_is_left_out_whole_and_the_largest_first() -> None:
    """Its CA has no list then: its certificates are of unknown state, never of none."""
    large = 8 * SCRIPT_BYTES * 3 // 4 - 1000
    others = {"a-large": _list("large", large), "z-small": _list("small", 5)}
    publication = publish(_list("shop", 1), others, previous="", seen=(), now=NOW)
    assert publication.left_out == ("a-large",)
    assert list(publication.others) == ["z-small"]
    assert _authority("large").digest not in publication.script
    assert len(publication.script) < SCRIPT_BYTES


def test_the_own_list_stays_whatever_others_need() -> None:
    own = _list("shop", 8 * SCRIPT_BYTES * 3 // 4)
    publication = publish(own, {"partners": _list("partners", 1)}, previous="", seen=(), now=NOW)
    assert publication.left_out == ("partners",)
    assert _authority("shop").digest in publication.issuers


def test_without_the_secrets_of_a_ca_every_generation_that_is_known_has_all_of_its_revocations() -> None:
    digests = [_authority("partners").digest, _authority("partners 2").digest]
    listing = list_without_ca(digests, [_record(1), _record(9), _record(2**32 - 1)], now=NOW)
    publication = publish(_list("shop"), {"partners": listing}, previous="", seen=(), now=NOW)
    for name in ("partners", "partners 2"):
        assert [_revokes(publication, name, index) for index in (1, 2, 9)] == [True, False, True]
    assert len(publication.script) < 50_000


def test_what_was_published_of_a_ca_whose_secret_is_missing_stays_and_counts_as_revoked() -> None:
    digest = _authority("partners").digest
    former = {digest: IssuerRevocations(digest, bitmap([6, 11], first=5), first=5)}
    known = {_record(index).serial for index in (5, 6, 7)}
    listing = list_without_ca([digest], [_record(1)], now=NOW, former=former, known=known)
    publication = publish(_list("shop"), {"partners": listing}, previous="", seen=(), now=NOW)
    revoked = [index for index in range(20) if _revokes(publication, "partners", index)]
    assert revoked == [1, 6, 11]
    assert listing.serials == {_record(1).serial, _record(6).serial}
