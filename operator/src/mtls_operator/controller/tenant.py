"""What the operator holds in memory for one life of a tenant namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mtls_operator.pki import Authority
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.certificate import Obstacle
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.published import Publication


@dataclass(slots=True)
class Page:
    """A page of the ledger as it was read or written last."""

    number: int
    text: str
    version: str


@dataclass(slots=True)
class Tenant:
    """What the operator holds for one life of a tenant namespace."""

    namespace: str
    uid: str
    #: Every generation of the CA, oldest first.
    generations: tuple[Stored, ...] = ()
    obstacle: Obstacle | None = None
    free: range = range(0)
    ledger: dict[str, Record] = field(default_factory=dict)
    owned: dict[str, dict[str, datetime]] = field(default_factory=dict)
    #: As ``owned``: what was issued and is in no status yet.
    unreported: dict[str, dict[str, datetime]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    pages_stale: bool = True
    recovered: int = 0
    damaged: tuple[str, ...] = ()
    mark: int = 0
    published: dict[str, str] = field(default_factory=dict)
    publication: Publication | None = None
    ready: bool = False
    #: While a block is being reserved: the newest version of the CA's Secret that was seen, which may be our own.
    reserving: bool = False
    noticed: int = 0
    #: By host (namespace/name): the issuers that every proxy of it trusts now.
    confirmed: dict[str, frozenset[str]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def learn(self, records: Iterable[Record]) -> None:
        """Take in records of the ledger; ``owned`` has the serial numbers and their ends by the owner's UID."""
        for record in records:
            self.ledger[record.serial] = record
            self.owned.setdefault(record.owner_uid, {})[record.serial] = record.not_after

    def put(self, stored: Stored) -> None:
        """Take in a generation as it was written or read last."""
        others = [other for other in self.generations if other.generation != stored.generation]
        self.generations = tuple(sorted([*others, stored], key=lambda one: one.generation))

    def held(self, stored: Stored) -> Stored:
        """Return a generation as it is now: another block may have been reserved meanwhile."""
        return next((one for one in self.generations if one.generation == stored.generation), stored)

    @property
    def stored(self) -> Stored | None:
        """The generation that signs, when there is a usable one."""
        return next((stored for stored in self.generations if stored.phase is Phase.ACTIVE), None)

    def is_revoked(self, serial: str) -> bool:
        """Say what the ledger says of a serial number."""
        record = self.ledger.get(serial)
        return record is not None and record.entry is Entry.REVOKED

    @property
    def trusted(self) -> tuple[Stored, ...]:
        """The generations whose leaves count."""
        return tuple(stored for stored in self.generations if stored.trusted)

    @property
    def authority(self) -> Authority | None:
        """The CA that signs, when there is a usable one."""
        return self.stored.authority if self.stored is not None else None
