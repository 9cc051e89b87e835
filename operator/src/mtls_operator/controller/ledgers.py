"""The ledger's pages in the operator's namespace: read, recovered after a rollback, appended to.

A page is replaced at exactly the version read, so that a second operator (or a stale one) cannot lose a revocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.cluster import AlreadyExistsError, Body, ConflictError, Kind, NotFoundError
from mtls_operator.controller import keys
from mtls_operator.controller.context import Context
from mtls_operator.controller.tenant import Page, Tenant
from mtls_operator.envoy import IssuerRevocations, revocations_in
from mtls_operator.pki import read_bundle
from mtls_operator.plan.authority import require_format, selector
from mtls_operator.plan.ledger import RECORDS_KEY, Record, append, decode, latest
from mtls_operator.plan.ledger_pages import page_document, page_number
from mtls_operator.plan.pages import INDEX_KEY, PAGE_KEY, numbers_in
from mtls_operator.plan.pages import page_number as page_number_of
from mtls_operator.plan.pruning import prunable, without
from mtls_operator.plan.published import recover, still_signed_by
from mtls_operator.plan.readable import signed_of

_log = structlog.get_logger(__name__)
#: What of ``mtls-revocation`` is ours, beside the proxies' part.
_OURS: Final = (names.CRL_KEY, names.REVOKED_JSON_KEY, INDEX_KEY)
#: Longer texts are read in a thread: the event loop carries the revocations of others.
_LONG: Final = 200_000


@dataclass(slots=True)
class Ledgers:
    """The ledgers of all tenants; the caller holds the tenant's lock unless a method says otherwise."""

    context: Context

    async def load(self, tenant: Tenant) -> None:
        """Read the ledger; what memory or the signed, published list knows beyond it is written back."""
        tenant.pages_stale = False
        said = tenant.recovered, tenant.damaged
        try:
            await self._take(tenant)
        except BaseException:
            tenant.pages_stale = True
            raise
        finally:
            if said != (tenant.recovered, tenant.damaged):
                self._wake_hosts(tenant.namespace)

    def _wake_hosts(self, namespace: str) -> None:
        """Let the hosts say what became of the ledger: nothing else of theirs may have changed."""
        for name in self.context.world.hosts.of(namespace):
            self.context.queue.add(keys.host(namespace, name))

    async def record(self, tenant: Tenant, records: Iterable[Record]) -> None:
        """Append records to the ledger; they count once this returns."""
        async with tenant.lock:
            await self._append(tenant, list(records))

    async def pages(self, tenant: Tenant) -> list[Page]:
        """Return the pages of the namespace's present life, as they are in the cluster.

        Raises:
            AuthorityRefusedError: a newer operator wrote one, in a way that this one would misread.
        """
        bodies = await self.context.cluster.list(
            Kind.CONFIG_MAP,
            self.context.settings.operator_namespace,
            labels=selector("ledger", tenant.namespace, tenant.uid),
        )
        pages = []
        for body in bodies:
            number = page_number(body["metadata"]["name"], tenant.namespace)
            if number is not None:
                require_format(body)
                pages.append(_page(body, number))
        return sorted(pages, key=lambda page: page.number)

    async def _take(self, tenant: Tenant) -> None:
        tenant.pages = await self.pages(tenant)
        records: list[Record] = []
        damaged: list[str] = []
        for page in tenant.pages:
            read, lines = decode(page.text)
            records += read
            name = names.ledger_page(tenant.namespace, page.number)
            damaged += [f"{name} line {line}" for line in lines]
            await asyncio.sleep(0)  # a long ledger must not hold up the revocations of others
        tenant.damaged = tuple(damaged)
        stored = latest(records)
        lost = [record for serial, record in tenant.ledger.items() if not _covers(stored.get(serial), record)]
        tenant.ledger, tenant.owned, tenant.compromised = {}, {}, set()
        tenant.learn([*stored.values(), *lost])
        if tenant.generations:  # also where none signs: between closing the old one and opening the new one
            tenant.former = {}
            lost += await self._lost_to_a_rollback(tenant)
        elif tenant.without_ca and tenant.publication is None:
            tenant.former = await self._standing(tenant)
        if lost:
            tenant.recovered += len(lost)
            _log.error("ledger.rollback", namespace=tenant.namespace, recovered=len(lost))
            await self._append(tenant, lost)

    async def _lost_to_a_rollback(self, tenant: Tenant) -> list[Record]:
        """Return what the published lists revoke and the ledger does not: nobody else can have signed them."""
        text = await self._published(tenant)
        find = partial(still_signed_by, text, tenant.generations)
        found = await asyncio.to_thread(find) if len(text) > _LONG else find()
        if tenant.readable is None:
            tenant.signed = tuple(signed_of(found, tenant.generations))
        lost = [
            record
            for authority, listed, _ in found
            for record in recover(tenant.ledger, listed.revocations, authority=authority)
        ]
        return list(latest(lost).values())

    async def _standing(self, tenant: Tenant) -> dict[str, IssuerRevocations]:
        """Return what is published of the CAs of a namespace, by digest, when nothing else is known of them.

        Nobody can tell whether it is all ours, so it only adds to the ledger. It is about those CAs alone that are in
        the namespace's bundle: others' lists come and go with their grants.
        """
        await self._published(tenant)
        bundle = await self.context.cluster.get(Kind.CONFIG_MAP, tenant.namespace, names.CLIENT_CA_CONFIGMAP)
        pem = str(((bundle or {}).get("data") or {}).get(names.CA_KEY) or "")
        own = {ca.digest for ca in read_bundle(pem, now=self.context.now()).accepted}
        return {digest: said for digest, said in revocations_in(tenant.script).items() if digest in own}

    async def _published(self, tenant: Tenant) -> str:
        """Read ``mtls-revocation`` and its pages; return every text in which a signed list may be.

        Anybody in the namespace may have edited the index: pages that it does not name are looked at too, in the order
        of their numbers. What they hold together counts by its signature alone.
        """
        namespace, cluster = tenant.namespace, self.context.cluster
        body = await cluster.get(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)
        data = {key: str(value) for key, value in ((body or {}).get("data") or {}).items()}
        if tenant.readable is None:
            tenant.script = data.get(names.REVOCATION_KEY, "")
            tenant.kept = {key: data[key] for key in _OURS if key in data}
        named = numbers_in(data.get(INDEX_KEY, ""), names.CRL_KEY)
        seen = self.context.world.written[Kind.CONFIG_MAP].of(namespace)
        others = {number for number in map(page_number_of, seen) if number is not None}
        pages: dict[int, str] = {}
        for number in sorted({*named, *others}):
            page = await cluster.get(Kind.CONFIG_MAP, namespace, names.revocation_page(number))
            pages[number] = str(((page or {}).get("data") or {}).get(PAGE_KEY, ""))
        texts = [
            data.get(names.CRL_KEY, ""),
            "".join(pages[number] for number in named),
            "".join(pages.values()),
        ]
        return "\n".join(texts)

    async def drop(
        self, tenant: Tenant, serials: frozenset[str], *, now: datetime, retired: frozenset[str] = frozenset()
    ) -> int:
        """Remove every line of serial numbers that may go; return how many of them there were.

        Each page is rewritten at exactly the version read, and removed at it where nothing is left. Whatever is done of
        this when the process ends is right: each line that goes is one that matters no more. The last page stays: the
        next record goes there, and it shows that there was a ledger.
        """
        async with tenant.lock:
            going = prunable((page.text for page in tenant.pages), serials, now=now, retired=retired)
            if not going or tenant.pages_stale:
                return 0
            tenant.unlearn(going)  # first: what memory alone knows would be written back
            try:
                for page in list(tenant.pages):
                    await self._without(tenant, page, going)
            except (ConflictError, NotFoundError):
                tenant.pages_stale = True
                raise
        return len(going)

    async def _without(self, tenant: Tenant, page: Page, going: frozenset[str]) -> None:
        text = without(page.text, going)
        if text == page.text:
            return
        if text or page is tenant.pages[-1]:
            await self._write_page(tenant, page, text)
            return
        namespace, name = (
            self.context.settings.operator_namespace,
            names.ledger_page(tenant.namespace, page.number),
        )
        tenant.pages.remove(page)
        await self.context.cluster.delete(
            Kind.CONFIG_MAP, namespace, name, uid=page.uid, version=page.version
        )

    async def _append(self, tenant: Tenant, records: list[Record]) -> None:
        if not tenant.pages:
            tenant.pages = await self.pages(tenant)
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
            others=page.others,
            annotations=page.annotations,
        )
        tenant.page_in_hand, tenant.page_noticed = page.number, 0
        written = 0
        try:
            body = await (cluster.replace(document) if page.version else cluster.create(document))
            written = int(body["metadata"]["resourceVersion"])
        finally:
            tenant.page_in_hand = None
            if tenant.page_noticed > written:
                tenant.pages_stale = True
                self.context.queue.add(keys.authority(tenant.namespace))
        page.text, page.version = text, body["metadata"]["resourceVersion"]
        page.uid = body["metadata"]["uid"]
        if page not in tenant.pages:
            tenant.pages.append(page)


def _page(body: Body, number: int) -> Page:
    metadata, data = body["metadata"], body.get("data") or {}
    return Page(
        number=number,
        text=str(data.get(RECORDS_KEY, "")),
        version=metadata["resourceVersion"],
        uid=metadata["uid"],
        others={key: str(value) for key, value in data.items() if key != RECORDS_KEY},
        annotations=dict(metadata.get("annotations") or {}),
    )


def _covers(stored: Record | None, held: Record) -> bool:
    """Say whether a stored record says what memory says of a serial number, or something newer."""
    if stored is None:
        return False
    return stored == held or stored.at > held.at
