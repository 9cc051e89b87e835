"""Points in time as X.509 knows them: UTC, whole seconds, 1950 to 9999 (RFC 5280, 4.1.2.5).

Every time of this package passes through `utc` once, so that what is signed, what is reported and what is
read back are equal. The clock itself is an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from mtls_operator.pki.errors import PkiError, Reason

#: How far the clock of a peer may be behind ours when it sees a fresh certificate.
CLOCK_SKEW: Final = timedelta(minutes=5)

_EARLIEST: Final = datetime(1950, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def utc(moment: datetime) -> datetime:
    """Return the moment in UTC, cut to seconds; raise `PkiError` without a time zone or out of range."""
    if moment.utcoffset() is None:
        raise PkiError(Reason.INVALID_TIME, f"the time {moment.isoformat()} has no time zone.")
    try:
        cut = moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise PkiError(Reason.INVALID_TIME, f"the time {moment.isoformat()} is out of range.") from None
    if not _EARLIEST <= cut <= _LATEST:
        raise PkiError(Reason.INVALID_TIME, f"a certificate cannot express the time {moment.isoformat()}.")
    return cut


def after(moment: datetime, span: timedelta) -> datetime:
    """Return the moment plus a positive span of at least a second; raise `PkiError` otherwise."""
    if span < timedelta(seconds=1):
        raise PkiError(Reason.INVALID_VALIDITY, f"a validity of {span} is not at least one second.")
    try:
        return utc(moment + span)
    except OverflowError:
        raise PkiError(Reason.INVALID_VALIDITY, f"a validity of {span} ends after the year 9999.") from None


def rfc3339(moment: datetime) -> str:
    """Return the moment as Kubernetes writes it: ``2030-01-02T03:04:05Z``."""
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")
