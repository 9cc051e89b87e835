from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.plan.epochs import credible, next_epoch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MILLISECONDS = int(NOW.timestamp() * 1000)


def test_the_first_epoch_is_the_time_in_milliseconds() -> None:
    assert next_epoch([], now=NOW) == MILLISECONDS


def test_an_epoch_is_above_every_one_that_was_seen() -> None:
    assert next_epoch([None, MILLISECONDS + 5, 3], now=NOW) == MILLISECONDS + 6


@given(st.lists(st.none() | st.integers(min_value=1, max_value=MILLISECONDS + 10**9)))
def test_an_epoch_only_grows(seen: list[int | None]) -> None:
    epoch = next_epoch(seen, now=NOW)
    assert all(epoch > one for one in seen if one is not None)


@given(st.integers())
def test_whatever_a_tenant_writes_leaves_room_for_the_next_epoch(forged: int) -> None:
    assert 0 < next_epoch([forged], now=NOW) < 2**53 - 10**15


def test_an_epoch_of_nought_or_of_the_far_future_is_not_believed() -> None:
    assert credible(0, now=NOW) is None
    assert credible(2**53 - 1, now=NOW) is None
    assert credible(None, now=NOW) is None
    assert credible(MILLISECONDS, now=NOW) == MILLISECONDS
