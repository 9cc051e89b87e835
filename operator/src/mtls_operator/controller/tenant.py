"""What the operator holds in memory for one life of a tenant namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mtls_operator.api.reason import Reason
from mtls_operator.envoy import IssuerRevocations
from mtls_operator.pki import Authority
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.given import Given
from mtls_operator.plan.ledger import Entry, Record, compromised_keys, inherited, is_compromised
from mtls_operator.plan.pages import INDEX_KEY
from mtls_operator.plan.published import Listing, Publication, in_force, list_of, list_without_ca
from mtls_operator.plan.readable import Readable, Signed
from mtls_operator.plan.trouble import Trouble


@dataclass(slots=True)
class Page:
    """A page of the ledger as it was read or written last; without a version it is not there yet."""

    number: int
    text: str
    version: str
    uid: str = ""
    #: What else is in the object: other keys, and annotations.
    others: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadableState:
    """The readable parts of a list as they were written last.

    ``parts`` are without the text of the pages, whose content is in ``pages`` as digests. ``about`` is what they were
    made of, see `Lists`; ``listed`` are the serial numbers in them.
    """

    parts: Readable
    pages: Mapping[int, Mapping[str, str]]
    about: tuple[object, ...]
    made_at: datetime
    listed: frozenset[str]


@dataclass(slots=True)
class Tenant:
    """What the operator holds for one life of a tenant namespace."""

    namespace: str
    uid: str
    #: Every generation of the CA, oldest first.
    generations: tuple[Stored, ...] = ()
    obstacle: Trouble | None = None
    free: range = range(0)
    ledger: dict[str, Record] = field(default_factory=dict)
    owned: dict[str, dict[str, datetime]] = field(default_factory=dict)
    #: Digests of public keys that somebody else has: nothing is issued for them.
    compromised: set[str] = field(default_factory=set)
    #: As ``owned``: what was issued and is in no status yet.
    unreported: dict[str, dict[str, datetime]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    pages_stale: bool = True
    recovered: int = 0
    damaged: tuple[str, ...] = ()
    mark: int = 0
    #: Of ``mtls-revocation``: the proxies' script and the other parts, as they were read or written last.
    script: str = ""
    kept: dict[str, str] = field(default_factory=dict)
    #: The newest version of ``mtls-revocation`` that was looked at, whoever wrote it.
    heeded: int = 0
    #: The lists for other gateways as our CAs signed them last.
    signed: tuple[Signed, ...] = ()
    #: The list of this namespace's own CAs, as its proxies and those of others have it; see `listed`.
    listing: Listing | None = None
    #: The CAs that the list is about, by digest, with their first indices; those left out of a list stay.
    firsts: dict[str, int] = field(default_factory=dict)
    #: While the Secrets of the CAs are missing: what was found published of them, by digest.
    former: Mapping[str, IssuerRevocations] = field(default_factory=dict)
    #: The list that other namespaces were told of.
    told: Listing | None = None
    publication: Publication | None = None
    readable: ReadableState | None = None
    #: Held while ``mtls-revocation`` is written, so that an older content never comes after a newer one.
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Held while the readable parts are made and their pages written.
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: How often the ledger has changed.
    revision: int = 0
    ready: bool = False
    #: While a block is being reserved: the newest version of the CA's Secret that was seen, which may be our own.
    reserving: bool = False
    noticed: int = 0
    #: While a page of the ledger is being written: its number, and the newest version of it that was seen meanwhile.
    page_in_hand: int | None = None
    page_noticed: int = 0
    #: By host (namespace/name): the issuers that every proxy of it trusts now.
    confirmed: dict[str, frozenset[str]] = field(default_factory=dict)
    #: Whether some proxies may refuse what the CA that signs now has signed: it took the place of one whose key was
    #: stolen, which waits for nobody. ``accepted`` is the CA that every proxy is known to have had, by digest.
    untrusted: bool = False
    accepted: str = ""
    #: What administrators gave as the next CA, whether that must be looked at again, and what they have to do.
    given: Given = field(default_factory=Given)
    given_stale: bool = True
    notice: Trouble | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def learn(self, records: Iterable[Record]) -> None:
        """Take in records of the ledger; ``owned`` has the serial numbers and their ends by the owner's UID."""
        self.revision += 1
        for said in records:
            record = self.ledger[said.serial] = inherited(self.ledger.get(said.serial), said)
            if is_compromised(record):
                self.compromised.add(record.key)
            self.owned.setdefault(record.owner_uid, {})[record.serial] = record.not_after

    def put(self, stored: Stored) -> None:
        """Take in a generation as it was written or read last."""
        others = [other for other in self.generations if other.generation != stored.generation]
        self.generations = tuple(sorted([*others, stored], key=lambda one: one.generation))

    def held(self, stored: Stored) -> Stored:
        """Return a generation as it is now: another block may have been reserved meanwhile."""
        return next((one for one in self.generations if one.generation == stored.generation), stored)

    def unlearn(self, serials: Iterable[str]) -> None:
        """Forget serial numbers that the ledger is about to drop."""
        for serial in serials:
            record = self.ledger.pop(serial, None)
            owned = self.owned.get(record.owner_uid, {}) if record is not None else {}
            owned.pop(serial, None)
            if record is not None and not owned:
                self.owned.pop(record.owner_uid, None)
        self.compromised = compromised_keys(self.ledger.values())

    @property
    def paged(self) -> bool:
        """Whether the readable parts do not fit into the first object, as far as is known yet."""
        return INDEX_KEY in self.kept

    @property
    def sources(self) -> tuple[object, ...]:
        """What the list rests on, but for the time: the ledger's state and the CAs with their indices."""
        cas = ((one.generation, one.phase, one.first_index, one.next_index) for one in self.generations)
        return (self.revision, tuple(cas))

    def listed(self, *, now: datetime, cas: Iterable[str] = ()) -> Listing:
        """Return the list of this namespace's CAs; the same one while nothing has changed.

        While their Secrets are missing it is about those that it was about before, and about the digests ``cas``.
        """
        known = () if self.generations else frozenset([*cas, *self.firsts, *self.former])
        about = (self.uid, self.sources, known)
        if self.listing is None or not self.listing.holds(now=now, about=about):
            revoked = in_force(self.ledger, now=now)
            self.listing = (
                list_of(self.generations, revoked, now=now, about=about)
                if self.generations
                else list_without_ca(
                    known,
                    revoked,
                    now=now,
                    about=about,
                    former=self.former,
                    known=self.ledger,
                    firsts=self.firsts,
                )
            )
            self.firsts = {**({} if self.generations else self.firsts), **_firsts(self.listing)}
        return self.listing

    @property
    def without_ca(self) -> bool:
        """Whether there was a CA, and its Secret is missing or cannot be used."""
        return self.obstacle is not None and self.obstacle.reason is Reason.CA_MISSING

    @property
    def publishes(self) -> bool:
        """Whether the list goes on while there is no CA: it is known of which CAs it is."""
        return self.publication is not None or bool(self.former)

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


def _firsts(listing: Listing) -> dict[str, int]:
    return {issuer.digest: issuer.first for issuer in listing.issuers}
