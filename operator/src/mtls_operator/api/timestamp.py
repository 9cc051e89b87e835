"""Moments as Kubernetes writes them: RFC 3339, UTC, whole seconds, ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime


def format_timestamp(moment: datetime) -> str:
    """Return a moment as ``2027-01-31T08:00:00Z``, cut to the second.

    Raises:
        ValueError: the moment has no time zone: guessing one would move it.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be written")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """Return the moment, in UTC, that an RFC 3339 text stands for (fractions of a second are allowed).

    Raises:
        ValueError: the text is no date with time and zone, or in UTC not one of the years 1 to 9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error
