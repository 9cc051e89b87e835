"""How many certificates a namespace may have at a time, and who gets the places that are left.

Nothing is counted up or down: who may have a certificate follows from what is there, so that no crash, no second
operator and no order of events lets one too many through. Certificates that exist keep their places; the others are
served by age.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mtls_operator.api.names import GROUP

#: On a Namespace: how many certificates it may have at a time, instead of the chart's value.
QUOTA_ANNOTATION: Final = f"{GROUP}/max-certificates"
_LARGEST: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Maximum:
    """How many are allowed, None for any number; ``broken`` says why a maximum that cannot be read allows none."""

    certificates: int | None
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One object, or a serial number whose object is gone: does it take a place, and since when does it ask.

    ``not_after`` is None as long as nothing is issued.
    """

    uid: str
    created: datetime
    revoked: bool
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Certificates that are valid now, and objects that wait for one."""

    issued: int
    waiting: int


def maximum_of(annotation: str | None, *, default: int | None) -> Maximum:
    """Return the maximum of a namespace: its annotation, else the chart's value; None is no limit.

    An annotation that is no number from nought up allows none.
    """
    if annotation is None:
        return Maximum(default)
    text = annotation.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_LARGEST)) or int(text) > _LARGEST:
        return Maximum(
            0, f"the annotation {QUOTA_ANNOTATION} of the namespace is no number: {annotation[:64]!a}"
        )
    return Maximum(int(text))


def counts_of(claims: Iterable[Claim], *, now: datetime) -> Counts:
    """Count what takes a place: revoked and expired certificates do not, nor objects revoked before they got one."""
    live = [claim for claim in claims if _live(claim, now=now)]
    issued = sum(claim.not_after is not None for claim in live)
    return Counts(issued=issued, waiting=len(live) - issued)


def within_quota(counts: Counts, maximum: int | None) -> bool:
    """Say whether everybody who asks can have a certificate."""
    return maximum is None or counts.issued + counts.waiting <= maximum


def refusal_of(uid: str, claims: Iterable[Claim], maximum: Maximum, *, now: datetime) -> str:
    """Return why an object gets no certificate, an empty text if it may.

    Places that are left go to the oldest object, of two of one second to the one whose UID sorts first. An object
    that has a certificate keeps it, and may renew it, also when the maximum was lowered.
    """
    if maximum.certificates is None:
        return ""
    live = [claim for claim in claims if _live(claim, now=now)]
    issued = [claim for claim in live if claim.not_after is not None]
    if any(claim.uid == uid for claim in issued):
        return ""
    if maximum.broken:
        return f"Nothing is issued: {maximum.broken}."
    waiting = sorted((claim for claim in live if claim.not_after is None), key=_order)
    free = max(maximum.certificates - len(issued), 0)
    if any(claim.uid == uid for claim in waiting[:free]):
        return ""
    taken = f"The namespace has {len(issued)} valid certificates and may have {maximum.certificates}"
    higher = f"or ask for a higher maximum ({QUOTA_ANNOTATION} on the Namespace)."
    if free:
        return (
            f"{taken}; older ClientCertificates without a certificate have the {free} that "
            f"{'is' if free == 1 else 'are'} left: delete or revoke those that cannot get one, {higher}"
        )
    return f"{taken}: revoke or delete one, {higher}"


def refused_by(claims: Iterable[Claim], maximum: Maximum, *, now: datetime) -> frozenset[str]:
    """Return the UIDs of everybody who gets no certificate: as `refusal_of` says of each, at the price of one."""
    if maximum.certificates is None:
        return frozenset()
    live = [claim for claim in claims if _live(claim, now=now)]
    waiting = sorted((claim for claim in live if claim.not_after is None), key=_order)
    free = max(maximum.certificates - (len(live) - len(waiting)), 0)
    return frozenset(claim.uid for claim in waiting[free:])


def _live(claim: Claim, *, now: datetime) -> bool:
    return not claim.revoked and (claim.not_after is None or claim.not_after > now)


def _order(claim: Claim) -> tuple[datetime, str]:
    return claim.created, claim.uid
