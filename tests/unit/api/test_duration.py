"""Durations: days, or hours, minutes and seconds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.duration import InvalidDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("8760h", timedelta(hours=8760)),
        ("365d", timedelta(days=365)),
        ("1h30m", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("1h1s", timedelta(seconds=3601)),
        ("0s", timedelta(0)),
        ("007d", timedelta(days=7)),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "1", "h", "-1h", "+1h", "1.5h", "1h 30m", "30m1h", "1d12h", "1y", "1H", "1h\n", "٣h", "1000000h"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=99_999 * 3600))
def test_every_whole_number_of_seconds_survives_writing_and_reading(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=365), "8760h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(0), "0s"),
        (timedelta(hours=1, seconds=5), "1h5s"),
    ],
)
def test_the_shortest_text_is_written(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@pytest.mark.parametrize("duration", [timedelta(seconds=-1), timedelta(milliseconds=1500)])
def test_what_no_text_stands_for_is_not_written(duration: timedelta) -> None:
    with pytest.raises(InvalidDuration):
        format_duration(duration)
