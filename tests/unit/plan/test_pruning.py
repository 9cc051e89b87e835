"""Pruning errs on the safe side: of the clock, of the list, and of every other line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.plan import pruning
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.ledger import Entry, Record, decode, encode, latest
from mtls_operator.plan.pruning import GRACE, STEADY, SteadyClock, ended, of_retired, prunable, without

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OLD = NOW - GRACE


def record(number: int, *, end: datetime = OLD, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "serial": f"7F{number:036X}",
        "entry": Entry.REVOKED,
        "at": NOW - timedelta(days=400),
        "not_after": end,
        "reason": RevocationReason.UNSPECIFIED,
        "owner": "shop/x",
        "owner_uid": "uid",
    }
    return Record(**(fields | changes))


def test_a_record_may_go_a_month_after_the_end_of_its_certificate() -> None:
    ledger = latest([record(1), record(2, end=OLD + timedelta(seconds=1))])
    assert ended(ledger, listed=(), held=(), now=NOW) == {record(1).serial}


def test_what_the_published_list_names_stays() -> None:
    """It would be recovered from there, as if the ledger had been set back."""
    ledger = latest([record(1), record(2)])
    assert ended(ledger, listed={record(1).serial}, held=(), now=NOW) == {record(2).serial}


def test_what_an_object_still_has_stays() -> None:
    ledger = latest([record(1), record(2)])
    assert ended(ledger, listed=(), held={record(1).serial}, now=NOW) == {record(2).serial}


def test_all_lines_of_a_serial_number_go_or_none() -> None:
    """A recovered revocation stays as long as the CA: without the line after it, it would count again."""
    recovered = record(1, end=NOW + timedelta(days=100), recovered=True)
    pages = [encode([recovered, record(2)]), encode([record(1, entry=Entry.RESTORED)])]
    assert prunable(pages, {record(1).serial, record(2).serial}, now=NOW) == {record(2).serial}


def test_only_the_lines_of_what_goes_are_removed_and_damaged_ones_stay() -> None:
    page = encode([record(1)]) + "damaged\n" + encode([record(2), record(1), record(3)])
    left = without(page, {record(1).serial})
    assert left == "damaged\n" + encode([record(2), record(3)])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())), st.sets(st.integers(0, 5)))
def test_what_does_not_go_keeps_its_last_word(lines: list[tuple[int, bool]], going: set[int]) -> None:
    records = [record(number, entry=Entry.REVOKED if flag else Entry.RESTORED) for number, flag in lines]
    serials = {record(number).serial for number in going}
    left = latest(decode(without(encode(records), serials))[0])
    assert left == {serial: last for serial, last in latest(records).items() if serial not in serials}


class Clocks:
    def __init__(self) -> None:
        self.day, self.elapsed = NOW, 0.0
        self.steady = SteadyClock(lambda: self.day, lambda: self.elapsed)

    def pass_time(self, duration: timedelta) -> bool:
        self.day += duration
        self.elapsed += duration.total_seconds()
        return self.steady.is_trusted()


def test_a_clock_is_trusted_after_a_day_without_a_jump() -> None:
    clocks = Clocks()
    assert not clocks.pass_time(timedelta(0))
    assert not clocks.pass_time(STEADY - timedelta(seconds=1))
    assert clocks.pass_time(timedelta(seconds=1))


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400), timedelta(minutes=6)])
def test_a_clock_that_has_jumped_is_not_trusted_for_a_day(jump: timedelta) -> None:
    clocks = Clocks()
    clocks.pass_time(timedelta(0))
    assert clocks.pass_time(STEADY)
    clocks.day += jump
    assert not clocks.pass_time(timedelta(seconds=1))
    assert not clocks.pass_time(STEADY - timedelta(seconds=1))
    assert clocks.pass_time(timedelta(seconds=1))


def test_a_clock_that_is_slewed_is_trusted() -> None:
    clocks = Clocks()
    clocks.pass_time(timedelta(0))
    clocks.day += timedelta(minutes=4)
    assert clocks.pass_time(STEADY)


def test_the_newest_records_of_compromised_keys_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has such a key may ask with it again at any time; and nobody may fill the ledger for good that way."""
    monkeypatch.setattr(pruning, "COMPROMISED_KEPT", 2)
    reason = RevocationReason.KEY_COMPROMISE
    records = [
        record(number, reason=reason, key=f"{number:064x}", at=NOW - timedelta(days=500 - number))
        for number in range(4)
    ]
    ledger = latest([*records, record(9)])
    assert ended(ledger, listed=(), held=(), now=NOW) == {one.serial for one in (*records[:2], record(9))}


def _generation(number: int, first: int, end: int, **changes: Any) -> Stored:
    return Stored(None, number, end, {}, first_index=first, **changes)  # type: ignore[arg-type]  # not looked at


_RETIRED = {"phase": Phase.RETIRED, "retired_at": NOW - GRACE}


def test_records_of_a_ca_that_was_retired_long_ago_may_go_before_they_end() -> None:
    """The way out of a full ledger: nobody trusts such a certificate, whatever is said of it."""
    records = [record(1, end=NOW + timedelta(days=900)), record(11, end=NOW + timedelta(days=900))]
    ledger = latest(records)
    generations = [_generation(1, 0, 10, **_RETIRED), _generation(2, 10, 20)]
    retired = of_retired(ledger, generations, now=NOW)
    assert retired == {records[0].serial}
    assert ended(ledger, listed=(), held=(), now=NOW) == frozenset()
    going = ended(ledger, listed=(), held=(), now=NOW, retired=retired)
    assert going == retired
    assert prunable([encode(records)], going, now=NOW) == frozenset()
    assert prunable([encode(records)], going, now=NOW, retired=retired) == going


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": Phase.RETIRED},
        {"phase": Phase.RETIRED, "retired_at": NOW - GRACE + timedelta(seconds=1)},
        {"phase": Phase.RETIRING, "retired_at": NOW - GRACE},
    ],
)
def test_of_a_ca_that_counts_or_may_have_counted_until_now_they_stay(changes: dict[str, Any]) -> None:
    ledger = latest([record(1)])
    generations = [_generation(1, 0, 10, **changes), _generation(2, 10, 20)]
    assert of_retired(ledger, generations, now=NOW) == frozenset()
