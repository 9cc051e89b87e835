"""Durations as people write them: whole days (``365d``), or hours, minutes and seconds (``1h30m``).

The text form is what Go prints and reads without fractions, plus days; the schema's patterns accept exactly
the same. Bounds are the caller's.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

#: Also the pattern of the schema. So few digits that no reader overflows.
DURATION_PATTERN: Final = r"^([0-9]{1,5}d|([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?)$"

_PARTS: Final = re.compile(
    r"(?P<days>[0-9]{1,5})d|(?:(?P<hours>[0-9]{1,5})h)?(?:(?P<minutes>[0-9]{1,7})m)?(?:(?P<seconds>[0-9]{1,9})s)?"
)


class InvalidDuration(ValueError):  # noqa: N818 - named like InvalidSpec
    """A text is no duration."""


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text like ``8760h``, ``365d`` or ``1h30m`` stands for.

    Raises:
        InvalidDuration: the text is empty, has a sign, a fraction, another unit or another order.
    """
    match = _PARTS.fullmatch(text)
    if not text or match is None or not text.isascii():
        raise InvalidDuration(
            f"{text!r} is no duration: write days like 365d, or hours, minutes and seconds like 1h30m"
        )
    parts = {unit: int(digits) for unit, digits in match.groupdict().items() if digits}
    try:
        return timedelta(**parts)
    except OverflowError as error:
        raise InvalidDuration(f"{text!r} is too long") from error


def format_duration(duration: timedelta) -> str:
    """Return the shortest text for whole seconds, in hours, minutes and seconds (never in days).

    Raises:
        InvalidDuration: the duration is negative or has a fraction of a second: no text stands for it.
    """
    if duration < timedelta(0) or duration.microseconds:
        raise InvalidDuration(f"{duration!r} is not a whole number of seconds from zero up")
    minutes, seconds = divmod(duration.days * 86_400 + duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
