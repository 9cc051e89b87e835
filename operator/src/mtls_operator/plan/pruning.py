"""Which records of the ledger may go: those of certificates that have ended long ago, by a clock that is trusted.

A record that goes too early is a revocation that is lost, so everything here errs on the other side: a clock that is
ahead by less than ``GRACE`` cannot prune what still counts, and one that has jumped is not trusted for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mtls_operator.plan.authority import Stored
from mtls_operator.plan.ledger import Record, decode, is_compromised
from mtls_operator.plan.published import own_serials

#: A record stays for so long after the end of its certificate.
GRACE: Final = timedelta(days=30)
#: Records of compromised keys that stay after that, the newest ones.
COMPROMISED_KEPT: Final = 10_000
#: For so long a clock must have gone as fast as one that nobody sets.
STEADY: Final = timedelta(hours=24)
#: The two may differ by this: clocks are slewed.
_DRIFT: Final = timedelta(minutes=5)


@dataclass(slots=True)
class SteadyClock:
    """Compares the time of day with a clock that only goes forward; ``monotonic`` is in seconds."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    _began: tuple[datetime, float] | None = field(default=None)

    def is_trusted(self) -> bool:
        """Say whether the time of day has not jumped for a day; to be asked often, or a jump is not noticed."""
        here = (self.now(), self.monotonic())
        if self._began is None:
            self._began = here
            return False
        by_day = here[0] - self._began[0]
        elapsed = timedelta(seconds=here[1] - self._began[1])
        if abs(by_day - elapsed) > _DRIFT:
            self._began = here
            return False
        return elapsed >= STEADY


def of_retired(
    ledger: Mapping[str, Record], generations: Sequence[Stored], *, now: datetime
) -> frozenset[str]:
    """Return the serial numbers of CAs that were retired long ago: whatever is said of them, they count no more.

    A CA whose retirement is not on record keeps its records: nobody knows whether it was long ago.
    """
    long_ago = {
        stored.generation
        for stored in generations
        if not stored.trusted and stored.retired_at is not None and stored.retired_at + GRACE <= now
    }
    found = own_serials(generations, ledger) if long_ago else {}
    return frozenset(serial for generation in long_ago for serial in found.get(generation, ()))


def ended(
    ledger: Mapping[str, Record],
    *,
    listed: Collection[str],
    held: Collection[str],
    now: datetime,
    retired: Collection[str] = (),
) -> frozenset[str]:
    """Return the serial numbers whose records may go by what counts of them.

    ``listed`` are those in the published list: as long as it names one, the ledger must know it, or it would be
    recovered from there. ``held`` are those that an object or Secret still has: what is said of them stays. ``retired``
    are those of `of_retired`: no signed list names them, and they may go before they end. The last `COMPROMISED_KEPT`
    that name a compromised key stay: its owner may ask with it again at any time.
    """
    found = frozenset(
        serial
        for serial, record in ledger.items()
        if serial not in held
        and (serial in retired or (record.not_after + GRACE <= now and serial not in listed))
    )
    keys = sorted(
        (serial for serial in found if is_compromised(ledger[serial])),
        key=lambda serial: (ledger[serial].at, serial),
    )
    return found - frozenset(keys[-COMPROMISED_KEPT:])


def prunable(
    pages: Iterable[str], serials: Collection[str], *, now: datetime, retired: Collection[str] = ()
) -> frozenset[str]:
    """Return those of some serial numbers of which no line in any page still matters.

    All lines of a serial number go, or none: an older line would count again without the newer one.
    """
    kept = {
        record.serial
        for page in pages
        for record in decode(page)[0]
        if record.not_after + GRACE > now and record.serial not in retired
    }
    return frozenset(serials) - kept


def without(page: str, serials: Collection[str]) -> str:
    """Return a page without the lines of some serial numbers; lines that cannot be read stay."""
    lines = page.splitlines(keepends=True)
    records, damaged = decode(page)
    read = iter(records)
    return "".join(
        line
        for number, line in enumerate(lines, start=1)
        if number in damaged or next(read).serial not in serials
    )
