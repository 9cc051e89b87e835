"""How a namespace's CA is replaced by its successor, one visible and durable step at a time.

Prepared (in every bundle, confirmed by every proxy) -> the old one closed -> the new one opened -> leaves issued
anew -> the old one retired when its last leaf has ended, which its successor keeps on record. Every step is one write
of one Secret, and what comes next follows from what those Secrets say: a crash between any two of them goes on where it
stopped (guarantee G3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from mtls_operator.api import names
from mtls_operator.pki import CertificateFacts, has_index, index_of, parse_serial
from mtls_operator.plan.authority import Phase, Stored, is_set_back, predecessors_of
from mtls_operator.plan.capacity import is_spent
from mtls_operator.plan.ledger import Entry, Record


class Move(StrEnum):
    """The one step to take."""

    PREPARE = "prepare a successor"
    CLOSE = "close the old CA"
    OPEN = "open the new CA"
    RETIRE = "retire the old CA"
    RECORD = "record where the former CAs stand"


@dataclass(frozen=True, slots=True)
class Step:
    """A step and the generation that it is about; ``phase`` is where a closed one goes.

    ``given`` names the Secret that the successor is taken from; empty: the operator makes it.
    """

    move: Move
    stored: Stored
    phase: Phase = Phase.RETIRING
    given: str = ""


@dataclass(frozen=True, slots=True)
class Confirmations:
    """Which issuing certificates each host that must trust this CA has on every proxy, by host; None: not known."""

    by_host: Mapping[str, Collection[str] | None]

    def missing(self, digest: str) -> tuple[str, ...]:
        """Return the hosts that do not have an issuer on every proxy yet."""
        return tuple(sorted(host for host, has in self.by_host.items() if has is None or digest not in has))


def next_step(
    generations: Sequence[Stored],
    *,
    confirmations: Confirmations,
    living: Collection[int],
    now: datetime,
    given: str = "",
) -> Step | None:
    """Return the next step; None: nothing is to be done, or somebody must confirm or end first.

    ``living`` are the generations that have unexpired, unrevoked leaves. ``given`` names a Secret with a CA that is to
    be the next one, whenever it is there. After a CA that was given nobody but an administrator lets the operator make
    one of its own: by saying so, or because the key is compromised, where nothing may wait.
    """
    active = next((stored for stored in generations if stored.phase is Phase.ACTIVE), None)
    prepared = next((stored for stored in generations if stored.phase is Phase.PREPARED), None)
    if active is None:
        return Step(Move.OPEN, prepared) if prepared is not None else None
    of_former = _next_of_former(generations, active, living)
    if of_former is not None:
        return of_former
    if prepared is not None:
        if is_compromised(active):
            return Step(Move.CLOSE, active, Phase.RETIRED)
        if not confirmations.missing(prepared.authority.digest):
            return Step(Move.CLOSE, active)
        return None
    if given:
        return Step(Move.PREPARE, active, given=given)
    if wants_successor(active, now=now) and (not active.given_by or active.rotate in _MADE):
        return Step(Move.PREPARE, active)
    return None


def _next_of_former(generations: Sequence[Stored], active: Stored, living: Collection[int]) -> Step | None:
    for stored in generations:
        if stored.phase is Phase.RETIRING and (is_compromised(stored) or stored.generation not in living):
            return Step(Move.RETIRE, stored)
        if is_set_back(stored):
            return Step(Move.CLOSE, stored, stored.phase)
    if predecessors_of(generations) != active.predecessors:
        return Step(Move.RECORD, active)
    return None


#: What lets the operator make the CA that follows one that was given to it.
_MADE: Final = (names.ROTATE_MADE, names.ROTATE_COMPROMISED)


def wants_successor(active: Stored, *, now: datetime) -> bool:
    """Say whether the CA that signs is to be replaced: by its age, by what it has issued, or on request."""
    return bool(active.rotate) or now >= rotation_time(active) or is_spent(active)


def is_compromised(stored: Stored) -> bool:
    """Say whether an administrator declared the key of a generation compromised: it is dropped without waiting."""
    return stored.rotate == names.ROTATE_COMPROMISED


def rotation_time(stored: Stored) -> datetime:
    """Return when a CA is due to be replaced."""
    return two_thirds(stored.authority.facts)


def two_thirds(facts: CertificateFacts) -> datetime:
    """Return when two thirds of a certificate's life have passed."""
    return facts.not_before + (facts.not_after - facts.not_before) * 2 / 3


class Numbered(Protocol):
    """What says which serial numbers a generation of a CA gives out."""

    @property
    def generation(self) -> int:
        """Its number."""

    @property
    def phase(self) -> Phase | None:
        """Where it stands; None: not known."""

    @property
    def first_index(self) -> int:
        """The first index of its own."""


def generation_of_serial(serial: str, generations: Iterable[Numbered]) -> int | None:
    """Return the generation that gave out a serial number; None when none of them can have.

    Raises:
        PkiError: it is no serial number.
    """
    number = parse_serial(serial)
    if not has_index(number):
        return None
    index = index_of(number)
    own = [
        stored for stored in generations if stored.phase is not Phase.PREPARED and stored.first_index <= index
    ]
    newest = max(own, key=lambda stored: (stored.first_index, stored.generation), default=None)
    return newest.generation if newest is not None else None


def living_generations(
    generations: Sequence[Stored],
    ledger: Mapping[str, Record],
    held: Mapping[str, datetime],
    *,
    now: datetime,
) -> frozenset[int]:
    """Return the generations with leaves that still count.

    ``held`` are the serial numbers of objects and Secrets with their ends; the ledger knows those that left theirs.
    """
    ends = {serial: record.not_after for serial, record in ledger.items()} | dict(held)
    found: set[int] = set()
    for serial, end in ends.items():
        record = ledger.get(serial)
        revoked = record is not None and record.entry is Entry.REVOKED
        if end > now and not revoked:
            generation = generation_of_serial(serial, generations)
            if generation is not None:
                found.add(generation)
    return frozenset(found)
