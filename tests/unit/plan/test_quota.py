"""Quotas: who gets one of the places, whatever order events come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.plan.quota import (
    Claim,
    Counts,
    Maximum,
    counts_of,
    maximum_of,
    refusal_of,
    refused_by,
    within_quota,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def claim(uid: str, *, age: int = 0, revoked: bool = False, ends: datetime | None = None) -> Claim:
    return Claim(uid, NOW - age * DAY, revoked, ends)


def issued(uid: str, **changes: datetime) -> Claim:
    return Claim(uid, NOW, revoked=False, not_after=changes.get("ends", NOW + DAY))


def may(uid: str, claims: list[Claim], maximum: int | None) -> bool:
    return refusal_of(uid, claims, Maximum(maximum), now=NOW) == ""


def test_what_is_valid_and_what_waits_is_counted() -> None:
    claims = [issued("a"), claim("b"), claim("c", revoked=True), issued("d", ends=NOW)]
    assert counts_of(claims, now=NOW) == Counts(issued=1, waiting=1)


@pytest.mark.parametrize(("maximum", "within"), [(None, True), (3, True), (2, True), (1, False), (0, False)])
def test_everybody_fits_or_not(maximum: int | None, *, within: bool) -> None:
    assert within_quota(Counts(issued=1, waiting=1), maximum) is within


def test_revoked_and_expired_certificates_take_no_place() -> None:
    revoked = Claim("a", NOW, revoked=True, not_after=NOW + DAY)
    assert may("c", [revoked, issued("b", ends=NOW), claim("c")], 1)


def test_the_oldest_object_gets_the_place_that_is_left() -> None:
    claims = [claim("young", age=1), claim("old", age=2), issued("a")]
    assert may("old", claims, 2)
    assert not may("young", claims, 2)


def test_a_refusal_says_that_older_objects_have_the_places_that_are_left() -> None:
    claims = [claim("young", age=1), claim("old", age=2), issued("a")]
    message = refusal_of("young", claims, Maximum(2), now=NOW)
    assert message.startswith(
        "The namespace has 1 valid certificates and may have 2; older ClientCertificates"
    )
    assert "the 1 that is left: delete or revoke those that cannot get one" in message


def test_of_two_objects_of_one_second_the_order_is_always_the_same() -> None:
    claims = [claim("b"), claim("a")]
    assert may("a", claims, 1)
    assert not may("b", claims, 1)


def test_an_older_object_never_takes_the_place_of_a_certificate() -> None:
    claims = [issued("young"), claim("old", age=9)]
    assert may("young", claims, 1)
    assert not may("old", claims, 1)


def test_a_lowered_maximum_takes_nothing_away() -> None:
    claims = [issued("a"), issued("b"), claim("c")]
    assert may("a", claims, 1)
    assert may("b", claims, 1)
    assert not may("c", claims, 1)


def test_a_refusal_says_how_many_there_are_and_may_be() -> None:
    message = refusal_of("b", [issued("a"), claim("b")], Maximum(1), now=NOW)
    assert message.startswith("The namespace has 1 valid certificates and may have 1")


def test_an_object_that_nobody_knows_of_gets_nothing() -> None:
    assert not may("unknown", [], 5)


def test_without_a_maximum_everybody_gets_one() -> None:
    assert may("a", [issued("b"), claim("a")], None)


@pytest.mark.parametrize(
    ("annotation", "default", "maximum"),
    [(None, None, None), (None, 5, 5), ("7", 5, 7), (" 7\n", 5, 7), ("0", None, 0)],
)
def test_the_annotation_stands_before_the_default(
    annotation: str | None, default: int | None, maximum: int | None
) -> None:
    assert maximum_of(annotation, default=default) == Maximum(maximum)


@pytest.mark.parametrize("annotation", ["", "many", "-1", "1.5", "1e3", "٣", "9" * 5000, "0x10", "10000001"])
def test_a_maximum_that_is_no_number_allows_nothing_new_and_says_so(annotation: str) -> None:
    maximum = maximum_of(annotation, default=None)
    message = refusal_of("b", [issued("a"), claim("b")], maximum, now=NOW)
    assert "no number" in message
    assert refusal_of("a", [issued("a")], maximum, now=NOW) == ""


@given(
    waiting=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=8),
    held=st.integers(0, 5),
    maximum=st.integers(0, 10),
    data=st.data(),
)
def test_never_more_are_let_through_than_may_be_in_any_order(
    waiting: list[tuple[int, bool]], held: int, maximum: int, data: st.DataObject
) -> None:
    claims = [issued(f"held-{number}") for number in range(held)]
    claims += [
        claim(f"waiting-{number}", age=age, revoked=revoked) for number, (age, revoked) in enumerate(waiting)
    ]
    other = data.draw(st.permutations(claims))
    through = {one.uid for one in claims if may(one.uid, claims, maximum)}
    assert through == {one.uid for one in claims if may(one.uid, other, maximum)}
    asking = sum(not revoked for _, revoked in waiting)
    assert len(through) == max(held, min(maximum, held + asking))


@given(
    waiting=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8),
    held=st.integers(0, 4),
    maximum=st.one_of(st.none(), st.integers(0, 8)),
)
def test_who_is_refused_is_the_same_asked_at_once_or_one_by_one(
    waiting: list[tuple[int, bool]], held: int, maximum: int | None
) -> None:
    claims = [issued(f"held-{number}") for number in range(held)]
    claims += [
        claim(f"waiting-{number}", age=age, revoked=revoked) for number, (age, revoked) in enumerate(waiting)
    ]
    one_by_one = {one.uid for one in claims if not one.revoked and not may(one.uid, claims, maximum)}
    assert refused_by(claims, Maximum(maximum), now=NOW) == one_by_one
