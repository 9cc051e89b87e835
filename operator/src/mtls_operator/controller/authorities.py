"""The CAs in memory: loaded once, with the ledger and the indices that go with them.

Writes are fenced: an index block is reserved by replacing the CA's Secret at exactly the version read, so that a
second operator (or a stale one) cannot use an index twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.cluster import ConflictError, Kind, NotFoundError
from mtls_operator.controller import keys
from mtls_operator.controller.context import Context
from mtls_operator.controller.generations import Generations
from mtls_operator.controller.given import GivenCas
from mtls_operator.controller.holdings import issued_in
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.limits import reservation
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.seen_certificates import facts_of, is_signed
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import SERIAL_ENTROPY, index_in, make_serial
from mtls_operator.plan.authority import (
    INDEX_BLOCK,
    AuthorityRefusedError,
    AuthorityUnusableError,
    Phase,
    Stored,
    closed,
    opened,
    predecessors_of,
    read_stored,
    recorded,
    reserve,
)
from mtls_operator.plan.capacity import is_spent
from mtls_operator.plan.ledger_pages import page_number
from mtls_operator.plan.objects import Document

_log = structlog.get_logger(__name__)
_RESERVE_TRIES = 5
#: As many indices are believed to be lost at once on the word of a certificate of a CA that was given to us: others may
#: have its key, and one number at the end of its range would make every list half a gigabyte.
MOST_LOST = 64 * INDEX_BLOCK


@dataclass(slots=True)
class Authorities:
    """All tenants, by namespace."""

    context: Context
    ledgers: Ledgers
    given: GivenCas = field(init=False)
    generations: Generations = field(init=False)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    #: By namespace and UID: objects that are gone, until the ledger has what their deletion asks for.
    left: dict[str, dict[str, ClientCertificate | Broken]] = field(default_factory=dict)
    #: By namespace: UIDs of objects that went back to an earlier state: a backup was restored under a running operator.
    set_back: dict[str, set[str]] = field(default_factory=dict)
    #: By namespace: names of requests to revoke a serial number that were not looked at yet.
    asked: dict[str, set[str]] = field(default_factory=dict)
    #: By namespace: the hosts that the rotation of its CA waits for.
    waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: By reason: how often nothing was issued because of a limit.
    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.given = GivenCas(self.context)
        self.generations = Generations(self.context, self.ledgers, self.given)

    def leave(self, certificate: ClientCertificate | Broken) -> None:
        """Take in that an object is gone, with or without having been released."""
        self.left.setdefault(certificate.meta.namespace, {})[certificate.meta.uid] = certificate

    def settle(self, certificates: Mapping[str, ClientCertificate | Broken]) -> None:
        """Forget objects that are gone and that the ledger has; what was learnt of them meanwhile stays."""
        for uid, certificate in certificates.items():
            waiting = self.left.get(certificate.meta.namespace, {})
            if waiting.get(uid) is certificate:
                del waiting[uid]

    def request_changed(self, namespace: str, name: str, *, gone: bool) -> None:
        """Take in that a request to revoke a serial number of a namespace is there, or is gone."""
        if gone:
            self.asked.get(namespace, set()).discard(name)
        else:
            self.asked.setdefault(namespace, set()).add(name)

    def known(self, namespace: str) -> Tenant | None:
        """Return what is in memory of the namespace's present life."""
        tenant = self.tenants.get(namespace)
        if tenant is None or tenant.uid != self.context.world.namespace_uid(namespace):
            return None
        return tenant

    async def load(self, namespace: str) -> Tenant | None:
        """Return the tenant with its CA (made on first use) and its ledger; None when the namespace is gone.

        A CA that is missing although it has existed is an obstacle, never a reason to make a new one.
        """
        uid = self.context.world.namespace_uid(namespace)
        if uid is None:
            return None
        tenant = self.tenants.get(namespace)
        if tenant is None or tenant.uid != uid:
            tenant = self.tenants[namespace] = Tenant(namespace, uid)
        if tenant.ready and not tenant.pages_stale:
            return tenant
        async with tenant.lock:
            if not tenant.ready:
                await self._read(tenant)
                await self.given.refresh(tenant)
            if tenant.pages_stale:
                await self._load_ledger(tenant)
            await self._raise_mark(tenant)
        return tenant

    async def _load_ledger(self, tenant: Tenant) -> None:
        """Read the ledger; without one that can be read nothing is signed and nothing is published."""
        try:
            await self.ledgers.load(tenant)
        except AuthorityRefusedError as problem:
            tenant.generations, tenant.free = (), range(0)
            tenant.obstacle = problem.trouble
            tenant.pages_stale = False  # until everything is read again
            _log.error("authority.refused", namespace=tenant.namespace, problem=str(problem))

    def secret_changed(self, namespace: str, *, gone: bool) -> None:
        """Take in that somebody changed or deleted the Secret of a CA: nothing is issued until it is read again."""
        tenant = self.tenants.get(namespace)
        if tenant is not None:
            tenant.ready = False
            tenant.free = range(0)
            if gone:
                tenant.generations = ()

    def doubt(self) -> None:
        """Read every CA and ledger again before the next use: this process stood still, others may not have."""
        for tenant in self.tenants.values():
            tenant.ready, tenant.free, tenant.pages_stale = False, range(0), True

    def page_changed(self, namespace: str, name: str, version: str | None) -> bool:
        """Take in that a page was seen at a version (None: deleted); return whether it must be read again."""
        tenant = self.tenants.get(namespace)
        if tenant is None:
            return False
        number = page_number(name, namespace)
        if version is not None and number is not None and number == tenant.page_in_hand:
            # what we just wrote can be seen before we are told: the answer says whose it was
            tenant.page_noticed = max(tenant.page_noticed, int(version))
            return False
        page = next((page for page in tenant.pages if page.number == number), None)
        if page is None or version is None or int(version) > int(page.version or 0):
            tenant.pages_stale = True
        return tenant.pages_stale

    async def allot(self, tenant: Tenant) -> tuple[Stored, int]:
        """Return the CA that signs now, and a serial number with an index of its own that was never used.

        Both at once: the list of one CA says nothing about the indices of another.

        Raises:
            ConflictError: somebody else keeps changing the CA's Secret.
            AuthorityUnusableError: there is no CA any more.
            LimitReachedError: the namespace may not have another one now.
        """
        async with tenant.lock:
            for _ in range(_RESERVE_TRIES):
                if tenant.free and tenant.stored is not None:
                    index, tenant.free = tenant.free[0], tenant.free[1:]
                    return tenant.stored, make_serial(index, self.context.entropy(SERIAL_ENTROPY))
                await self._reserve(tenant)
        raise ConflictError(f"the CA of namespace {tenant.namespace} is being changed by somebody else")

    async def pass_over(self, tenant: Tenant, index: int) -> None:
        """Never give out an index (again): a certificate that nobody remembers has it.

        Raises:
            ConflictError: somebody else is changing the CA's Secret.
            AuthorityUnusableError: there is no CA any more.
        """
        async with tenant.lock:
            if tenant.stored is None:
                raise AuthorityUnusableError("The CA of the namespace is gone.")
            if index in tenant.free:
                tenant.free = range(index + 1, tenant.free.stop)
            behind = index + 1 - tenant.stored.next_index
            if behind > 0:
                tenant.mark = max(tenant.mark, index + 1)
                await self._replace(tenant, tenant.stored, reserve(tenant.stored, block=behind))

    async def _reserve(self, tenant: Tenant) -> None:
        if tenant.stored is None:
            raise AuthorityUnusableError(
                tenant.obstacle.message if tenant.obstacle is not None else "The CA of the namespace is gone."
            )
        first = tenant.stored.next_index
        per_day = self.context.settings.max_issued_per_day
        document = reservation(tenant, tenant.stored, per_day=per_day, now=self.context.now())
        tenant.reserving, tenant.noticed = True, 0
        try:
            body = await self.context.cluster.replace(document)
        except (ConflictError, NotFoundError):
            await self._read(tenant)
            return
        finally:
            tenant.reserving = False
        reserved = read_stored(body, tenant.stored.generation)
        tenant.put(reserved)
        self.context.world.observe(Kind.SECRET, body, answer=True)
        tenant.free = range(first, first + INDEX_BLOCK)
        if is_spent(reserved):
            self.context.queue.add(keys.authority(tenant.namespace))
        if tenant.noticed > int(body["metadata"]["resourceVersion"]):
            self.secret_changed(tenant.namespace, gone=False)

    async def _raise_mark(self, tenant: Tenant) -> None:
        """Keep the mark of reserved indices above all that were given out.

        A CA that comes back from an older copy would use indices twice, and the list would end before some of those
        that are revoked. What the ledger, the Secrets that this CA signed and memory know is not in doubt.
        """
        if tenant.stored is None:
            return
        tenant.mark = max(tenant.mark, tenant.stored.next_index, self._given_out(tenant))
        behind = tenant.mark - tenant.stored.next_index
        if behind == 0:
            return
        await self._replace(tenant, tenant.stored, reserve(tenant.stored, block=behind + INDEX_BLOCK))
        tenant.free = range(0)
        _log.error("authority.rollback", namespace=tenant.namespace, behind=behind)

    def _given_out(self, tenant: Tenant) -> int:
        """Return the first index above all that are known to have been given out."""
        floor = max([tenant.mark, *(one.next_index for one in tenant.generations)])
        indices = [index for index in map(index_in, tenant.ledger) if index is not None]
        for written in issued_in(self.context.world, tenant.namespace):
            facts = facts_of(written.certificate)
            index = index_in(facts.serial) if facts is not None else None
            # Most are below the mark anyway: a signature is looked at only where it would raise it.
            if index is None or index < floor:
                continue
            if any(
                (not one.given_by or index < floor + MOST_LOST)
                and is_signed(one.authority.certificate_pem, written.certificate)
                for one in tenant.generations
            ):
                indices.append(index)
        return max(indices, default=-1) + 1

    async def _read(self, tenant: Tenant) -> None:
        await self.generations.read(tenant)
        tenant.free = range(0)
        tenant.ready = True
        tenant.pages_stale = True

    async def prepare(self, tenant: Tenant, given: str = "") -> None:
        """Make the successor of the present CA, or take the one that is ``given``; it signs nothing yet.

        Raises:
            ConflictError: what was given is not there any more.
        """
        async with tenant.lock:
            tenant.put(await self.generations.successor(tenant, given))

    async def close(self, tenant: Tenant, stored: Stored, phase: Phase) -> None:
        """Let a generation sign no more; whoever else still takes it for the active one cannot reserve from it."""
        async with tenant.lock:
            held = tenant.held(stored)
            await self._replace(tenant, held, closed(held, phase, now=self.context.now()))
            tenant.free = range(0)

    async def open(self, tenant: Tenant, stored: Stored) -> None:
        """Let a prepared generation sign, with indices above all that were ever given out.

        Its list begins above those of its predecessors, which are closed: where it comes from an older copy and has
        signed before, that is in it.
        """
        async with tenant.lock:
            first = max(one.next_index for one in tenant.generations)
            start = max(tenant.mark, self._given_out(tenant))
            held = tenant.held(stored)
            document = opened(
                held,
                first_index=first,
                next_index=start,
                now=self.context.now(),
                predecessors=predecessors_of(tenant.generations),
            )
            await self._replace(tenant, held, document)
            tenant.free = range(0)

    async def record(self, tenant: Tenant, stored: Stored) -> None:
        """Keep on record, with the generation that signs, where those before it stand."""
        async with tenant.lock:
            held = tenant.held(stored)
            await self._replace(tenant, held, recorded(held, predecessors_of(tenant.generations)))

    async def _replace(self, tenant: Tenant, stored: Stored, document: Document) -> None:
        try:
            body = await self.context.cluster.replace(document)
        except (ConflictError, NotFoundError):
            tenant.ready = False
            raise
        tenant.put(read_stored(body, stored.generation))
        self.context.world.observe(Kind.SECRET, body, answer=True)
