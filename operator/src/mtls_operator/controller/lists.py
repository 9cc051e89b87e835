"""Writes ``mtls-revocation``: the proxies' part at once, the parts for people and other gateways when they are made.

Of a short list both are one write. A long one takes seconds to sign and megabytes to write, so it is made in a thread,
under a queue key of its own, and less often; no revocation waits for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.served import ServedLists
from mtls_operator.controller.tenant import ReadableState, Tenant
from mtls_operator.plan.objects import Document, config_map, content_of, differs, metadata
from mtls_operator.plan.pages import INDEX_KEY, PAGE_ROLE, numbers_in, page_documents, page_number
from mtls_operator.plan.published import Publication, in_force, still_signed_by
from mtls_operator.plan.readable import Readable, readable, signed_of

_log = structlog.get_logger(__name__)

#: Up to so many revocations the readable parts are made at once, in a few hundredths of a second.
SHORT: Final = 1000
#: A signed list of so many revocations is no longer than this.
_LONGEST: Final = 200_000
#: What changed while the readable parts were being made is in the next ones, after the least time between two.
LATER: Final = 1.0
#: Longest time in seconds that the thread goes on while the event loop has something to do.
_TURN: Final = 0.0002
_USUAL_TURN: Final = sys.getswitchinterval()


@dataclass(slots=True)
class Lists:
    """The lists of all namespaces; ``served`` are those that are fetched over HTTP."""

    context: Context
    authorities: Authorities
    served: ServedLists

    async def update(self, tenant: Tenant) -> None:
        """Write what the publication of a tenant says; leave the readable parts of a long list for later.

        Without a CA nobody can sign anew: the readable parts, which are evidence, stay as they are.
        """
        if tenant.publication is None:
            return
        if not tenant.generations:
            async with tenant.writing:
                await self._write_first(tenant)
            return
        short = len(tenant.publication.serials) <= SHORT and not tenant.making.locked()
        if self._is_stale(tenant) and short:
            async with tenant.making:
                await self._refresh(tenant, tenant.publication)
            return
        async with tenant.writing:
            await self._write_first(tenant)
        if self._is_stale(tenant):
            self.context.queue.add(keys.lists(tenant.namespace))

    async def heed(self, tenant: Tenant) -> None:
        """Take in what somebody else wrote in the place of the list: what is as good as ours stays as it is.

        Another operator may be at work, for a moment or longer: two that each insisted on a list of their own would
        write for ever. Nothing is believed: a script counts where it is byte for byte what we would write, a signed
        list by its signature, where it says the same and has a higher number.
        """
        place = (tenant.namespace, names.REVOCATION_CONFIGMAP)
        shelf = self.context.world.written[Kind.CONFIG_MAP]
        seen = shelf.get(*place)
        if (
            seen is None
            or tenant.publication is None
            or tenant.writing.locked()
            or seen.version <= tenant.heeded
        ):
            return
        tenant.heeded = seen.version
        if shelf.answers.get(place) == seen.version:
            return
        body = await self.context.cluster.get(Kind.CONFIG_MAP, *place)
        data = {key: str(value) for key, value in ((body or {}).get("data") or {}).items()}
        tenant.script = data.get(names.REVOCATION_KEY, "")
        text = data.get(names.CRL_KEY, "")
        if len(tenant.publication.serials) > SHORT or len(text) > _LONGEST:
            return
        numbers = {signed.generation: signed.number for signed in tenant.signed}
        newer = tuple(
            signed
            for signed in signed_of(still_signed_by(text, tenant.generations), tenant.generations)
            if signed.number > numbers.get(signed.generation, 0)
        )
        if newer:
            tenant.signed, tenant.readable = (*newer, *tenant.signed), None

    async def reconcile(self, namespace: str) -> float | None:
        """Make and write the readable parts of a long list, if they are not current."""
        tenant = self.authorities.known(namespace)
        if (
            tenant is None
            or tenant.publication is None
            or not tenant.generations
            or not self._is_stale(tenant)
        ):
            return None
        async with tenant.making:
            await self._refresh(tenant, tenant.publication)
        return LATER if self._is_stale(tenant) else None

    def forget(self, namespace: str) -> None:
        """Serve no list of a namespace that is gone."""
        self.served.put(namespace, ())

    def _is_stale(self, tenant: Tenant) -> bool:
        now, state = self.context.now(), tenant.readable
        if state is None or state.about != _about(tenant) or not state.made_at <= now < state.parts.renew_at:
            return True
        observed = self.context.world.written[Kind.CONFIG_MAP]
        return any(
            (seen := observed.get(tenant.namespace, names.revocation_page(number))) is None
            or any(seen.content.get(key) != digest for key, digest in content.items())
            for number, content in state.pages.items()
        )

    async def _refresh(self, tenant: Tenant, publication: Publication) -> None:
        """Make the readable parts, then write pages, index, and remove the pages that are in use no more."""
        about, now = _about(tenant), self.context.now()
        revoked = in_force(tenant.ledger, now=now)
        make = partial(
            readable,
            tenant.generations,
            revoked,
            former=tenant.signed,
            present=tenant.kept.get(INDEX_KEY, ""),
            script_bytes=len(publication.script),
            epoch=publication.epoch,
            now=now,
        )
        made = await _aside(make) if len(revoked) > SHORT else make()
        documents = page_documents(tenant.namespace, made.pages)
        for document in documents.values():
            await self.context.ensure(document)
        former, was, was_paged = tenant.kept.get(INDEX_KEY, ""), tenant.readable, tenant.paged
        async with tenant.writing:
            tenant.kept, tenant.signed = dict(made.kept), made.lists
            await self._write_first(tenant)
        await self._remove_unused(tenant)
        tenant.readable = ReadableState(
            parts=replace(made, pages={}),
            pages={number: content_of(document) for number, document in documents.items()},
            about=about,
            made_at=now,
            listed=frozenset(record.serial for record in revoked),
        )
        self.served.put(tenant.namespace, made.lists)
        if made.kept.get(INDEX_KEY, "") != former or made.left_out:
            _log.warning(
                "revocation.paged",
                namespace=tenant.namespace,
                revoked=len(revoked),
                pages=len(documents),
                left_out=made.left_out,
            )
        left_out = was.parts.left_out if was is not None else ()
        if (was_paged, left_out) != (tenant.paged, made.left_out):
            for name in self.context.world.hosts.of(tenant.namespace):
                self.context.queue.add(keys.host(tenant.namespace, name))

    async def shorten(self, tenant: Tenant, publication: Publication) -> None:
        """Write a script that refuses fewer serial numbers than the one before, in the place of what was seen alone.

        Whoever is cut off from the API server, or was and has seen nothing of what happened meanwhile, fails here.

        Raises:
            ConflictError: the list is not what was seen: somebody else wrote it.
        """
        place = (tenant.namespace, names.REVOCATION_CONFIGMAP)
        async with tenant.writing:
            document = self._first(tenant, publication)
            seen = self.context.world.written[Kind.CONFIG_MAP].get(*place)
            if seen is not None:
                document["metadata"]["resourceVersion"] = str(seen.version)
            answer = await self.context.cluster.apply(document)
            self.context.world.observe(Kind.CONFIG_MAP, answer, answer=True)
            tenant.script = publication.script

    @staticmethod
    def _first(tenant: Tenant, publication: Publication) -> Document:
        return config_map(
            metadata(tenant.namespace, names.REVOCATION_CONFIGMAP, role="revocation"),
            {names.REVOCATION_KEY: publication.script, **tenant.kept},
        )

    async def _write_first(self, tenant: Tenant) -> None:
        """Write the first object with the newest script; the caller holds ``writing``: no older one comes after it."""
        if tenant.publication is None:
            return
        document = self._first(tenant, tenant.publication)
        tenant.script = tenant.publication.script
        observed = self.context.world.written[Kind.CONFIG_MAP].get(
            tenant.namespace, names.REVOCATION_CONFIGMAP
        )
        if differs(document, observed.content if observed is not None else None):
            await self.context.ensure(document)

    async def _remove_unused(self, tenant: Tenant) -> None:
        used = numbers_in(tenant.kept.get(INDEX_KEY, ""))
        present = self.context.world.written[Kind.CONFIG_MAP].of(tenant.namespace)
        for name, seen in sorted(present.items()):
            number = page_number(name)
            if number is not None and number not in used and seen.role == PAGE_ROLE:
                await self.context.cluster.delete(Kind.CONFIG_MAP, tenant.namespace, name, uid=seen.uid)


def _about(tenant: Tenant) -> tuple[object, ...]:
    """Return what the readable parts rest on, but for the time."""
    return (tenant.sources, tenant.publication.version if tenant.publication is not None else "")


async def _aside(make: Callable[[], Readable]) -> Readable:
    """Make something in a thread that does not keep the event loop waiting each time that it wakes up.

    By default Python lets a thread go on for 5 ms before another one gets its turn, and a revocation takes some tens of
    turns of the loop.
    """
    sys.setswitchinterval(_TURN)
    try:
        return await asyncio.to_thread(make)
    finally:
        sys.setswitchinterval(_USUAL_TURN)
