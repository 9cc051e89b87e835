"""What the operator holds in memory for one life of a tenant namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mtls_operator.pki import Authority
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.certificate import Obstacle
from mtls_operator.plan.ledger import Record
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
    stored: Stored | None = None
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
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def learn(self, records: Iterable[Record]) -> None:
        """Take in records of the ledger; ``owned`` has the serial numbers and their ends by the owner's UID."""
        for record in records:
            self.ledger[record.serial] = record
            self.owned.setdefault(record.owner_uid, {})[record.serial] = record.not_after

    @property
    def authority(self) -> Authority | None:
        """The CA, when there is a usable one."""
        return self.stored.authority if self.stored is not None else None
