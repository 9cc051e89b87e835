"""Moments: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mtls_operator.api.timestamp import format_timestamp, parse_timestamp


def test_a_moment_is_written_in_utc_and_cut_to_the_second() -> None:
    moment = datetime(2027, 1, 31, 9, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert format_timestamp(moment) == "2027-01-31T08:00:00Z"


def test_a_moment_without_a_zone_is_not_guessed() -> None:
    naive = datetime(2027, 1, 31, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        format_timestamp(naive)


@pytest.mark.parametrize(
    "text", ["2027-01-31T08:00:00Z", "2027-01-31T08:00:00.000000Z", "2027-01-31T10:00:00+02:00"]
)
def test_every_form_that_kubernetes_writes_is_read(text: str) -> None:
    assert parse_timestamp(text) == datetime(2027, 1, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "2027-01-31", "2027-01-31T08:00:00", "yesterday"])
def test_a_text_without_time_or_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time zone|isoformat"):
        parse_timestamp(text)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_moment_that_no_calendar_has_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_timestamp(text)
