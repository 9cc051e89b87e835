"""How fast a namespace may use up serial numbers, and an object replace its certificate.

Both follow from what is stored, so that two operators and a restart come to the same answer: the namespace's from a
mark in the Secret of its CA, written with the very reservation that it counts, the object's from the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mtls_operator.api.timestamp import format_timestamp, parse_timestamp
from mtls_operator.plan.ledger import Record

#: The allowance of a namespace is for this time, and all of it may be used at once.
PERIOD: Final = timedelta(days=1)
#: So often within `WINDOW` an object may replace its certificate: the shortest-lived need five.
REPLACEMENTS: Final = 20
WINDOW: Final = timedelta(hours=1)
#: Records may be a little ahead of the clock: each is later than the one before it.
_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent by now, as the moment at which all of it is there again; None: all is there.

    After the virtual scheduling of ATM Forum TM 4.1, 4.4 (the generic cell rate algorithm): one moment is the whole
    memory, and it moves on with everything that is spent.
    """

    until: datetime | None

    def take(self, amount: int, *, per_period: int, now: datetime) -> Spent | datetime:
        """Return what is spent after some more, or from when on so much is there.

        A mark that no spending can have made is a clock's that was wrong: then all is there. More than the allowance of
        a whole period is there when nothing is spent.
        """
        cost = PERIOD * amount / per_period
        most = max(PERIOD, cost)
        until = self.until
        if until is None or until < now or until > now + most:
            until = now
        if until + cost > now + most:
            return until + cost - most
        return Spent(_whole_second(until + cost))


def read_spent(text: str) -> Spent:
    """Read a mark; what is none says nothing."""
    try:
        return Spent(parse_timestamp(text))
    except ValueError:
        return Spent(None)


def written(spent: Spent) -> str:
    """Return a mark as it is kept."""
    return format_timestamp(spent.until) if spent.until is not None else ""


def too_often(records: Iterable[Record], *, now: datetime) -> datetime | None:
    """Return from when on an object may replace its certificate again; None: now.

    ``records`` are those of its former certificates: each replacement of a certificate that is valid leaves one.
    """
    recent = sorted(record.at for record in records if now - WINDOW < record.at <= now + _AHEAD)
    return recent[-REPLACEMENTS] + WINDOW if len(recent) >= REPLACEMENTS else None


def _whole_second(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond)
