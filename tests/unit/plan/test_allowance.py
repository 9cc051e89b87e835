"""How fast serial numbers may be used up: by what is stored alone, whatever clock and process look at it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.plan.allowance import PERIOD, REPLACEMENTS, WINDOW, Spent, read_spent, too_often, written
from mtls_operator.plan.ledger import Entry, Record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _record(at: datetime) -> Record:
    return Record("0A", Entry.KNOWN, at, NOW + PERIOD, RevocationReason.UNSPECIFIED, "shop/gateway", "uid")


def _taken(times: int, *, per_period: int, now: datetime = NOW, spent: Spent | None = None) -> Spent:
    spent = spent or Spent(None)
    for _ in range(times):
        after = spent.take(1024, per_period=per_period, now=now)
        assert isinstance(after, Spent)
        spent = after
    return spent


def test_all_of_a_day_may_be_used_at_once() -> None:
    spent = _taken(10, per_period=10_240)
    assert isinstance(spent.take(1024, per_period=10_240, now=NOW), datetime)


def test_what_is_refused_says_when_it_is_there_and_is_there_then() -> None:
    spent = _taken(10, per_period=10_240)
    again = spent.take(1024, per_period=10_240, now=NOW)
    assert again == NOW + PERIOD / 10
    assert spent.take(1024, per_period=10_240, now=NOW + timedelta(hours=1)) == again
    assert isinstance(spent.take(1024, per_period=10_240, now=again), Spent)


def test_less_than_a_block_a_day_is_a_block_every_few_days() -> None:
    spent = _taken(1, per_period=512)
    assert spent.take(1024, per_period=512, now=NOW) == NOW + 2 * PERIOD
    assert isinstance(spent.take(1024, per_period=512, now=NOW + 2 * PERIOD), Spent)


@given(st.lists(st.integers(0, 100_000), max_size=60), st.integers(1024, 100_000))
def test_no_order_of_asking_gets_more_than_the_allowance_and_what_grew_meanwhile(
    pauses: list[int], per_period: int
) -> None:
    now, spent, got = NOW, Spent(None), 0
    for pause in pauses:
        now += timedelta(seconds=pause)
        after = read_spent(written(spent)).take(1024, per_period=per_period, now=now)
        if isinstance(after, Spent):
            spent, got = after, got + 1024
    grown = per_period * ((now - NOW) / PERIOD)
    # Each mark is cut to the second.
    assert got <= per_period + grown + 1 + len(pauses) * per_period / PERIOD.total_seconds()


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-03-01T12:00:00", "9" * 40])
def test_a_mark_that_is_none_says_nothing(text: str) -> None:
    assert read_spent(text) == Spent(None)


def test_a_mark_of_a_clock_that_was_ahead_blocks_nobody_for_ever() -> None:
    ahead = Spent(NOW + timedelta(days=365))
    assert isinstance(ahead.take(1024, per_period=10_240, now=NOW), Spent)


def test_an_object_may_replace_its_certificate_some_times_an_hour() -> None:
    records = [_record(NOW - timedelta(minutes=minute)) for minute in range(REPLACEMENTS)]
    assert too_often(records[:-1], now=NOW) is None
    assert too_often(records, now=NOW) == NOW - timedelta(minutes=REPLACEMENTS - 1) + WINDOW


def test_what_was_replaced_before_the_last_hour_does_not_count() -> None:
    records = [_record(NOW - WINDOW)] * 100
    assert too_often(records, now=NOW) is None


def test_records_of_a_clock_that_was_ahead_do_not_count() -> None:
    assert too_often([_record(NOW + timedelta(days=1))] * 100, now=NOW) is None
