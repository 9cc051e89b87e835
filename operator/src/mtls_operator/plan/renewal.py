"""When a certificate is renewed: arithmetic on its own times, so that no clock and no restart moves the moment.

The window is the time before the end in which a renewal is wanted; jitter delays the renewal within its first tenth,
by an amount that depends on the object alone. Who renews, and what becomes of the old certificate, is done elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

#: Part of the validity that is the window where none is asked for, or where the one asked for does not fit.
_DEFAULT_PART: Final = 3
#: A window above this part of the validity does not fit. The validity of a certificate counts from some minutes before
#: it was made: a window of nearly all of it would be open at once, and renewals would follow each other without end.
LARGEST_PART: Final = 4 / 5
#: The jitter is below this part of the window.
_JITTER_PART: Final = 10
_FRACTION: Final = 2**32


class Action(StrEnum):
    """What to do about the age of a certificate."""

    WAIT = "wait"
    RENEW = "renew"
    REQUIRE = "ask its owner to renew"
    NONE = "nothing, ever"


@dataclass(frozen=True, slots=True)
class Life:
    """The times of a certificate, and the end of the CA that would sign the next one."""

    not_before: datetime
    not_after: datetime
    issuer_not_after: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """What the object says: how long ``before`` the end, whether by itself, and whether the key is here.

    ``automatic`` is False for ``policy: Never``; ``own_key`` is False for a certificate issued for a request.
    """

    before: timedelta | None = None
    automatic: bool = True
    own_key: bool = True


@dataclass(frozen=True, slots=True)
class Due:
    """When a certificate is due, and whether the ``before`` that was asked for did not fit its validity."""

    at: datetime
    shortened: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, when it was or is due, when to look again, and a sentence where there is something to say."""

    action: Action
    due: datetime | None
    look_again: datetime | None
    message: str = ""


def due_of(not_before: datetime, not_after: datetime, *, before: timedelta | None, uid: str) -> Due:
    """Return when a certificate is due for renewal: ``before`` its end, plus jitter, and always before its end.

    The default window is a third of the validity. It also stands in for a window of more than four fifths of the
    validity: a new certificate would be due nearly at once, and so without end. The jitter is the same for the same
    ``uid`` and at most a tenth of the window. Raises ValueError for times in the wrong order.
    """
    validity = not_after - not_before
    if validity <= timedelta(0):
        raise ValueError(f"{not_after.isoformat()} is not after {not_before.isoformat()}")
    fits = before is None or timedelta(0) < before <= validity * LARGEST_PART
    window = before if before is not None and fits else validity / _DEFAULT_PART
    due = not_after - window + window / _JITTER_PART * fraction(uid)
    return Due(at=max(_whole_second(due), not_before), shortened=not fits)


def decide(life: Life, wish: Wish, *, uid: str, revoked: bool, now: datetime) -> Decision:
    """Return what to do about the age of a certificate; nothing renews a revoked one.

    A clock that was behind when the certificate was issued, or is moved back, changes nothing: what is not valid yet
    is not due. A clock that is moved past the end leaves it due. A renewal that would end no later than the
    certificate does, because the CA ends, is not made over and over: it waits for the next CA.
    """
    if revoked or not wish.automatic:
        return Decision(Action.NONE, None, None)
    due = due_of(life.not_before, life.not_after, before=wish.before, uid=uid)
    said = _SHORTENED if due.shortened else ""
    if now < due.at:
        return Decision(Action.WAIT, due.at, due.at, said)
    if not wish.own_key:
        moments = reminders(due.at, life.not_after)
        following = next((moment for moment in moments if moment > now), None)
        return Decision(Action.REQUIRE, due.at, following or _end(life, now=now), said)
    if _gains_nothing(life, now=now):
        return Decision(Action.WAIT, due.at, _end(life, now=now), _NO_GAIN)
    return Decision(Action.RENEW, due.at, now, said)


_SHORTENED: Final = (
    "renewal.before is more than four fifths of the certificate's validity: a third of it is used instead."
)
_NO_GAIN: Final = (
    "A new certificate would end no later than this one, because the CA ends: it waits for the next CA."
)


def reminders(due: datetime, not_after: datetime) -> tuple[datetime, ...]:
    """Return when the owner of a key is asked for a new request: when due, half-way to the end, and a tenth before."""
    left = not_after - due
    moments = (due, _whole_second(due + left / 2), _whole_second(not_after - left / 10))
    return tuple(sorted({moment for moment in moments if moment < not_after}))


def old_ends_at(
    *, replaced_at: datetime, old_not_after: datetime, revoke_old_after: timedelta | None
) -> datetime | None:
    """Return when a replaced certificate is to be revoked; None where it just lives until its end.

    ``replaced_at`` is when its successor was written, not when it was asked for: nobody is without a certificate.
    """
    if revoke_old_after is None:
        return None
    moment = replaced_at + max(revoke_old_after, timedelta(0))
    return moment if moment < old_not_after else None


def _gains_nothing(life: Life, *, now: datetime) -> bool:
    """Say whether the CA ends so early that a new certificate would end no later, or that it can sign none."""
    return life.issuer_not_after <= max(life.not_after, now)


def _end(life: Life, *, now: datetime) -> datetime | None:
    return life.not_after if life.not_after > now else None


def fraction(uid: str) -> float:
    """Return a number from 0 to below 1 that is spread evenly over objects and always the same for one."""
    return int.from_bytes(sha256(uid.encode()).digest()[:4], "big") / _FRACTION


def _whole_second(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond)
