"""Times: one form for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mtls_operator.pki import PkiError, Reason
from mtls_operator.pki.instants import after, rfc3339, utc


def test_a_time_is_cut_to_whole_seconds_in_utc() -> None:
    there = datetime(2030, 1, 1, 2, 0, 0, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert utc(there) == datetime(2030, 1, 1, tzinfo=UTC)
    assert utc(there).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001 - the missing zone is the point
        datetime(1949, 12, 31, tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=["naive", "before 1950", "before year 1", "after year 9999"],
)
def test_a_time_that_a_certificate_cannot_express_is_refused(moment: datetime) -> None:
    with pytest.raises(PkiError) as caught:
        utc(moment)
    assert caught.value.reason is Reason.INVALID_TIME


@pytest.mark.parametrize(
    "span", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999), timedelta.max]
)
def test_a_span_that_is_no_validity_is_refused(span: timedelta) -> None:
    with pytest.raises(PkiError) as caught:
        after(datetime(2030, 1, 1, tzinfo=UTC), span)
    assert caught.value.reason is Reason.INVALID_VALIDITY


def test_the_text_is_that_of_kubernetes() -> None:
    assert rfc3339(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2030-01-02T03:04:05Z"
