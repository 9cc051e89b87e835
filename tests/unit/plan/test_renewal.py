"""Renewal: when a certificate is due, and what a moved clock, a short validity or an ending CA does to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.plan.renewal import (
    Action,
    Decision,
    Life,
    Wish,
    decide,
    due_of,
    old_ends_at,
    reminders,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIFE = Life(START, START + 90 * DAY, START + 3650 * DAY)
UIDS = st.uuids().map(str)
SPANS = st.timedeltas(timedelta(seconds=10), 3650 * DAY)


def look(life: Life = LIFE, *, now: datetime, revoked: bool = False, wish: Wish | None = None) -> Decision:
    return decide(life, wish or Wish(), uid="uid-1", revoked=revoked, now=now)


def due(life: Life = LIFE, *, before: timedelta | None = None, uid: str = "uid-1") -> datetime:
    return due_of(life.not_before, life.not_after, before=before, uid=uid).at


def test_a_certificate_is_due_when_a_third_of_its_validity_is_left() -> None:
    assert START + 60 * DAY <= due() < START + 63 * DAY


def test_a_certificate_is_due_as_long_before_its_end_as_asked() -> None:
    assert START + 80 * DAY <= due(before=10 * DAY) < START + 81 * DAY


def test_the_same_object_is_always_due_at_the_same_moment() -> None:
    assert due(uid="a") == due(uid="a")


def test_objects_of_one_moment_are_spread_over_the_first_tenth_of_the_window() -> None:
    moments = sorted(due(uid=str(number)) for number in range(1000))
    tenths = {int((moment - START - 60 * DAY) / (3 * DAY) * 10) for moment in moments}
    assert tenths == set(range(10))
    assert len(set(moments)) > 990


@given(validity=SPANS, before=st.none() | SPANS | st.just(timedelta(0)) | st.just(-DAY), uid=UIDS)
def test_the_moment_is_within_the_life_and_within_a_tenth_of_the_window(
    validity: timedelta, before: timedelta | None, uid: str
) -> None:
    renewal = due_of(START, START + validity, before=before, uid=uid)
    fits = before is not None and timedelta(0) < before <= validity * 4 / 5
    window = before if before is not None and fits else validity / 3
    assert START <= renewal.at < START + validity
    assert renewal.at >= START + validity - window - timedelta(seconds=1)
    assert renewal.at <= START + validity - window + window / 10
    assert renewal.shortened is not (before is None or fits)
    assert renewal.at.microsecond == 0


@pytest.mark.parametrize(
    "before", [73 * DAY, 90 * DAY, 91 * DAY, timedelta(0)], ids=["nearly all", "equal", "longer", "none"]
)
def test_a_window_that_does_not_fit_is_replaced_by_a_third_and_said_so(before: timedelta) -> None:
    assert due(before=before) == due()
    assert "a third" in look(now=START, wish=Wish(before=before)).message


def test_times_in_the_wrong_order_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="is not after"):
        due_of(START, START, before=None, uid="a")


def test_before_it_is_due_nothing_is_done_until_then() -> None:
    assert look(now=due() - timedelta(seconds=1)) == Decision(Action.WAIT, due(), due())


def test_it_is_renewed_from_the_moment_on() -> None:
    assert look(now=due()).action is Action.RENEW


def test_a_certificate_that_expired_while_nobody_looked_is_renewed() -> None:
    assert look(now=LIFE.not_after + 30 * DAY).action is Action.RENEW


def test_a_clock_that_is_moved_back_renews_nothing() -> None:
    assert look(now=START - 365 * DAY) == Decision(Action.WAIT, due(), due())


def test_what_was_just_renewed_is_not_due_whatever_the_clock_did_meanwhile() -> None:
    renewed = replace(LIFE, not_before=due(), not_after=due() + 90 * DAY)
    for now in (due() - 30 * DAY, due(), due() + 50 * DAY):
        assert look(renewed, now=now).action is Action.WAIT


def test_nothing_renews_a_revoked_certificate() -> None:
    assert look(now=LIFE.not_after, revoked=True) == Decision(Action.NONE, None, None)


def test_nothing_is_renewed_that_must_never_be() -> None:
    assert look(now=LIFE.not_after, wish=Wish(automatic=False)) == Decision(Action.NONE, None, None)


def test_the_owner_of_the_key_is_asked_for_a_new_request() -> None:
    decision = look(now=due(), wish=Wish(own_key=False))
    assert (decision.action, decision.due) == (Action.REQUIRE, due())


def test_the_owner_is_reminded_when_due_half_way_and_shortly_before_the_end() -> None:
    first, second, third = reminders(START, START + 10 * DAY)
    assert (first, second, third) == (START, START + 5 * DAY, START + 9 * DAY)


def test_a_request_is_looked_at_again_at_each_reminder_and_at_the_end() -> None:
    wish, moment, seen = Wish(own_key=False), due(), []
    while moment is not None:
        following = look(now=moment, wish=wish).look_again
        assert following is None or following > moment
        moment = following  # type: ignore[assignment]  # the loop ends with None
        seen.append(following)
    assert seen == [*reminders(due(), LIFE.not_after)[1:], LIFE.not_after, None]


def test_an_expired_request_stays_asked_for() -> None:
    decision = look(now=LIFE.not_after + DAY, wish=Wish(own_key=False))
    assert (decision.action, decision.look_again) == (Action.REQUIRE, None)


def test_what_would_end_with_the_ca_all_the_same_is_not_renewed_again_and_again() -> None:
    clamped = replace(LIFE, issuer_not_after=LIFE.not_after)
    decision = look(clamped, now=due())
    assert (decision.action, decision.look_again) == (Action.WAIT, LIFE.not_after)
    assert "next CA" in decision.message


def test_what_gains_a_little_before_the_ca_ends_is_renewed_once() -> None:
    little = replace(LIFE, issuer_not_after=LIFE.not_after + timedelta(hours=1))
    assert look(little, now=due()).action is Action.RENEW
    renewed = replace(little, not_before=due(), not_after=little.issuer_not_after)
    assert look(renewed, now=renewed.not_after - DAY).action is Action.WAIT


def test_a_window_of_most_of_the_validity_is_obeyed() -> None:
    moment = due(before=72 * DAY)
    assert moment < START + 26 * DAY
    assert look(now=moment, wish=Wish(before=72 * DAY)).action is Action.RENEW


@given(uid=UIDS, before=st.none() | SPANS, validity=st.timedeltas(timedelta(hours=1), 365 * DAY))
def test_what_was_just_made_is_never_due(uid: str, before: timedelta | None, validity: timedelta) -> None:
    made = START + timedelta(minutes=5)
    renewal = due_of(START, made + validity, before=before, uid=uid)
    assert renewal.at > made + timedelta(minutes=7)


def test_an_expired_certificate_of_an_expired_ca_waits_for_the_next_ca() -> None:
    clamped = replace(LIFE, issuer_not_after=LIFE.not_after)
    decision = look(clamped, now=LIFE.not_after)
    assert (decision.action, decision.look_again) == (Action.WAIT, None)


@given(validity=SPANS, left=SPANS, uid=UIDS, before=st.none() | SPANS)
def test_renewing_whenever_it_is_due_comes_to_an_end_with_the_ca(
    validity: timedelta, left: timedelta, uid: str, before: timedelta | None
) -> None:
    validity = max(validity, left / 50)
    end = START + left
    life = Life(START, min(START + validity, end), end)
    now, renewals = START, 0
    while now is not None:
        decision = decide(life, Wish(before=before), uid=uid, revoked=False, now=now)
        if decision.action is Action.RENEW:
            life = replace(life, not_before=now, not_after=min(now + validity, end))
            renewals += 1
            assert renewals <= 2 + 6 * (left + timedelta(seconds=60)) / validity
        elif decision.look_again is None or decision.look_again <= now:
            break
        else:
            now = decision.look_again
    assert life.not_after <= end


@pytest.mark.parametrize(
    ("after", "ends"),
    [
        (None, None),
        (timedelta(0), START),
        (-DAY, START),
        (DAY, START + DAY),
        (30 * DAY, None),
        (31 * DAY, None),
    ],
    ids=["never", "at once", "negative", "a day", "its own end", "after its end"],
)
def test_a_replaced_certificate_is_revoked_after_the_time_asked_for_or_ends_by_itself(
    after: timedelta | None, ends: datetime | None
) -> None:
    found = old_ends_at(replaced_at=START, old_not_after=START + 30 * DAY, revoke_old_after=after)
    assert found == ends
