"""The CAs in memory: loaded once, with the ledger and the indices that go with them.

Writes are fenced: an index block is reserved by replacing the CA's Secret at exactly the version read, and a ledger
page likewise, so that a second operator (or a stale one) cannot use an index twice or lose a revocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import AlreadyExistsError, Body, ConflictError, Kind, NotFoundError
from mtls_operator.controller.context import Context
from mtls_operator.controller.world import Broken
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    has_index,
    index_of,
    is_issued_by,
    make_serial,
    new_authority,
    parse_serial,
    read_certificate,
)
from mtls_operator.plan.authority import (
    AUTHORITY_LIFETIME,
    CERTIFICATE_ROLE,
    INDEX_BLOCK,
    AuthorityUnusableError,
    Stored,
    authority_document,
    generation_of,
    page_document,
    page_number,
    read_stored,
    reserve,
    selector,
    without_data,
)
from mtls_operator.plan.certificate import Obstacle
from mtls_operator.plan.ledger import RECORDS_KEY, Record, append, decode, latest
from mtls_operator.plan.published import Publication, recover, still_signed

_log = structlog.get_logger(__name__)
_RESERVE_TRIES = 5


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


@dataclass(slots=True)
class Authorities:
    """All tenants, by namespace."""

    context: Context
    tenants: dict[str, Tenant] = field(default_factory=dict)
    #: By namespace and UID: objects that are gone, until the ledger has what their deletion asks for.
    left: dict[str, dict[str, ClientCertificate | Broken]] = field(default_factory=dict)

    def leave(self, certificate: ClientCertificate | Broken) -> None:
        """Take in that an object is gone, with or without having been released."""
        self.left.setdefault(certificate.meta.namespace, {})[certificate.meta.uid] = certificate

    def settle(self, certificates: Mapping[str, ClientCertificate | Broken]) -> None:
        """Forget objects that are gone and that the ledger has; what was learnt of them meanwhile stays."""
        for uid, certificate in certificates.items():
            waiting = self.left.get(certificate.meta.namespace, {})
            if waiting.get(uid) is certificate:
                del waiting[uid]

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
                await self._load_authority(tenant)
            if tenant.pages_stale:
                await self._load_ledger(tenant)
            await self._raise_mark(tenant)
        return tenant

    def secret_changed(self, namespace: str, *, gone: bool) -> None:
        """Take in that somebody changed or deleted the Secret of a CA: nothing is issued until it is read again."""
        tenant = self.tenants.get(namespace)
        if tenant is not None:
            tenant.ready = False
            tenant.free = range(0)
            if gone:
                tenant.stored = None

    def page_changed(self, namespace: str, name: str, version: str | None) -> bool:
        """Take in that a page was seen at a version (None: deleted); return whether it must be read again."""
        tenant = self.tenants.get(namespace)
        if tenant is None:
            return False
        page = next((page for page in tenant.pages if page.number == page_number(name, namespace)), None)
        if page is None or version is None or int(version) > int(page.version or 0):
            tenant.pages_stale = True
        return tenant.pages_stale

    async def next_serial(self, tenant: Tenant) -> int:
        """Return a serial number with an index that was never used.

        Raises:
            ConflictError: somebody else keeps changing the CA's Secret.
            AuthorityUnusableError: there is no CA any more.
        """
        async with tenant.lock:
            for _ in range(_RESERVE_TRIES):
                if tenant.free:
                    index, tenant.free = tenant.free[0], tenant.free[1:]
                    return make_serial(index, self.context.entropy(SERIAL_ENTROPY))
                await self._reserve(tenant)
        raise ConflictError(f"the CA of namespace {tenant.namespace} is being changed by somebody else")

    async def _reserve(self, tenant: Tenant) -> None:
        if tenant.stored is None:
            raise AuthorityUnusableError(
                tenant.obstacle.message if tenant.obstacle is not None else "The CA of the namespace is gone."
            )
        first = tenant.stored.next_index
        tenant.reserving, tenant.noticed = True, 0
        try:
            body = await self.context.cluster.replace(reserve(tenant.stored))
        except (ConflictError, NotFoundError):
            await self._load_authority(tenant)
            return
        finally:
            tenant.reserving = False
        tenant.stored = read_stored([body], tenant.namespace)
        self.context.world.observe(Kind.SECRET, body, answer=True)
        tenant.free = range(first, first + INDEX_BLOCK)
        if tenant.noticed > int(body["metadata"]["resourceVersion"]):
            self.secret_changed(tenant.namespace, gone=False)

    async def _raise_mark(self, tenant: Tenant) -> None:
        """Keep the mark of reserved indices above all that were given out.

        A CA that comes back from an older copy would use indices twice, and the list would end before some of those
        that are revoked. What the ledger, the Secrets that this CA signed and memory know is not in doubt.
        """
        if tenant.stored is None:
            return
        tenant.mark = max(tenant.mark, tenant.stored.next_index, self._given_out(tenant, tenant.stored))
        behind = tenant.mark - tenant.stored.next_index
        if behind == 0:
            return
        try:
            body = await self.context.cluster.replace(reserve(tenant.stored, block=behind + INDEX_BLOCK))
        except (ConflictError, NotFoundError):
            tenant.ready = False
            raise
        tenant.stored = read_stored([body], tenant.namespace)
        tenant.free = range(0)
        self.context.world.observe(Kind.SECRET, body)
        _log.error("authority.rollback", namespace=tenant.namespace, behind=behind)

    def _given_out(self, tenant: Tenant, stored: Stored) -> int:
        """Return the first index above all that are known to have been given out."""
        indices = [index_of(number) for number in map(parse_serial, tenant.ledger) if has_index(number)]
        for secret in self.context.world.written[Kind.SECRET].of(tenant.namespace).values():
            if secret.role != CERTIFICATE_ROLE or not is_issued_by(stored.authority, secret.certificate):
                continue
            number = parse_serial(read_certificate(secret.certificate).serial)
            if has_index(number):
                indices.append(index_of(number))
        return max(indices, default=-1) + 1

    async def _load_authority(self, tenant: Tenant) -> None:
        settings, cluster = self.context.settings, self.context.cluster
        labels = selector("authority", tenant.namespace)
        bodies = await cluster.list(Kind.SECRET, settings.operator_namespace, labels=labels)
        ours = [
            body for body in bodies if body["metadata"]["labels"].get(names.NAMESPACE_UID_LABEL) == tenant.uid
        ]
        tenant.obstacle = None
        try:
            tenant.stored = read_stored(ours, tenant.namespace)
            if tenant.stored is None:
                tenant.stored = await self._create_authority(tenant, bodies)
        except AuthorityUnusableError as problem:
            tenant.stored = None
            tenant.obstacle = Obstacle(Reason.CA_MISSING, str(problem))
            _log.error("authority.unusable", namespace=tenant.namespace, problem=str(problem))
        tenant.free = range(0)
        tenant.ready = True
        tenant.pages_stale = True

    async def _create_authority(self, tenant: Tenant, former: Sequence[Body]) -> Stored:
        evidence = await self._evidence(tenant)
        if evidence:
            raise AuthorityUnusableError(
                f"The Secret of this namespace's CA is missing although {evidence}: restore "
                f"{names.authority_secret(tenant.namespace, 1)} (or its successor) in namespace "
                f"{self.context.settings.operator_namespace} from a backup."
            )
        context = self.context
        authority = new_authority(
            f"mtls-operator {tenant.namespace}"[:64],
            now=context.now(),
            lifetime=AUTHORITY_LIFETIME,
            entropy=context.entropy(AUTHORITY_ENTROPY),
        )
        generations = [generation_of(body["metadata"]["name"], tenant.namespace) or 0 for body in former]
        generation = max(generations, default=0) + 1
        document = authority_document(
            context.settings.operator_namespace, tenant.namespace, tenant.uid, generation, authority
        )
        try:
            body = await context.cluster.create(document)
        except AlreadyExistsError:
            raise ConflictError(
                f"Secret {document['metadata']['name']} exists and is not labelled as the CA of this namespace"
            ) from None
        context.world.observe(Kind.SECRET, body, answer=True)
        _log.info("authority.created", namespace=tenant.namespace, generation=generation)
        return Stored(authority, generation, 0, without_data(body))

    async def _evidence(self, tenant: Tenant) -> str:
        """Return what shows that the present life of the namespace had a CA; empty when nothing does."""
        world = self.context.world
        for name in (names.CLIENT_CA_CONFIGMAP, names.REVOCATION_CONFIGMAP):
            if world.written[Kind.CONFIG_MAP].get(tenant.namespace, name) is not None:
                return f"ConfigMap {name} shows that there was one"
        for certificate in world.certificates.of(tenant.namespace).values():
            if certificate.status.get("serialNumber"):
                return f"ClientCertificate {certificate.meta.name} was issued by one"
        if await self._pages(tenant):
            return "its ledger of revocations exists"
        return ""

    async def _pages(self, tenant: Tenant) -> list[Page]:
        bodies = await self.context.cluster.list(
            Kind.CONFIG_MAP,
            self.context.settings.operator_namespace,
            labels=selector("ledger", tenant.namespace, tenant.uid),
        )
        pages = []
        for body in bodies:
            number = page_number(body["metadata"]["name"], tenant.namespace)
            if number is not None:
                text = str((body.get("data") or {}).get(RECORDS_KEY, ""))
                pages.append(Page(number, text, body["metadata"]["resourceVersion"]))
        return sorted(pages, key=lambda page: page.number)

    async def _load_ledger(self, tenant: Tenant) -> None:
        """Read the ledger; what memory or the signed, published list knows beyond it is written back."""
        tenant.pages_stale = False
        try:
            await self._take_ledger(tenant)
        except BaseException:
            tenant.pages_stale = True
            raise

    async def _take_ledger(self, tenant: Tenant) -> None:
        tenant.pages = await self._pages(tenant)
        records: list[Record] = []
        damaged: list[str] = []
        for page in tenant.pages:
            read, lines = decode(page.text)
            records += read
            name = names.ledger_page(tenant.namespace, page.number)
            damaged += [f"{name} line {line}" for line in lines]
        tenant.damaged = tuple(damaged)
        stored = latest(records)
        lost = [record for serial, record in tenant.ledger.items() if not _covers(stored.get(serial), record)]
        tenant.ledger, tenant.owned = {}, {}
        tenant.learn([*stored.values(), *lost])
        if tenant.authority is not None:
            lost += await self._lost_to_a_rollback(tenant, tenant.authority)
        if lost:
            tenant.recovered += len(lost)
            _log.error("ledger.rollback", namespace=tenant.namespace, recovered=len(lost))
            await self._append(tenant, lost)

    async def _lost_to_a_rollback(self, tenant: Tenant, authority: Authority) -> list[Record]:
        body = await self.context.cluster.get(Kind.CONFIG_MAP, tenant.namespace, names.REVOCATION_CONFIGMAP)
        tenant.published = {key: str(value) for key, value in ((body or {}).get("data") or {}).items()}
        listed = still_signed(tenant.published.get(names.CRL_KEY), authority)
        if listed is None:
            return []
        return recover(tenant.ledger, listed.revocations, authority=authority)

    async def record(self, tenant: Tenant, records: Iterable[Record]) -> None:
        """Append records to the ledger; they count once this returns."""
        async with tenant.lock:
            await self._append(tenant, list(records))

    async def _append(self, tenant: Tenant, records: list[Record]) -> None:
        if not tenant.pages:
            tenant.pages = await self._pages(tenant)
        last = tenant.pages[-1] if tenant.pages else Page(await self._first_page(tenant), "", "")
        try:
            for offset, text in enumerate(append(last.text, records)):
                page = last if offset == 0 else Page(last.number + offset, "", "")
                if text != page.text:
                    await self._write_page(tenant, page, text)
        except (ConflictError, AlreadyExistsError, NotFoundError):
            tenant.pages_stale = True
            raise
        tenant.learn(records)

    async def _first_page(self, tenant: Tenant) -> int:
        """Return a page number that no former life of the namespace has used."""
        bodies = await self.context.cluster.list(
            Kind.CONFIG_MAP,
            self.context.settings.operator_namespace,
            labels=selector("ledger", tenant.namespace),
        )
        numbers = [page_number(body["metadata"]["name"], tenant.namespace) or 0 for body in bodies]
        return max(numbers, default=0) + 1

    async def _write_page(self, tenant: Tenant, page: Page, text: str) -> None:
        cluster = self.context.cluster
        document = page_document(
            self.context.settings.operator_namespace,
            tenant.namespace,
            tenant.uid,
            page=page.number,
            text=text,
            version=page.version,
        )
        body = await (cluster.replace(document) if page.version else cluster.create(document))
        page.text, page.version = text, body["metadata"]["resourceVersion"]
        if page not in tenant.pages:
            tenant.pages.append(page)


def _covers(stored: Record | None, held: Record) -> bool:
    """Say whether a stored record says what memory says of a serial number, or something newer."""
    if stored is None:
        return False
    return stored == held or stored.at > held.at
