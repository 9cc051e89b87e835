"""Grants requests to revoke serial numbers without an object: into the ledger first, then the request goes away.

A request that was granted and is still there (the process was killed in between) is granted again, which changes
nothing. One that is refused stays and says why, until somebody changes or deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind, NotFoundError
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import claimed, proved
from mtls_operator.controller.tenant import Tenant
from mtls_operator.plan.authority import selector
from mtls_operator.plan.requests import REQUEST_ROLE, RequestRefusedError, judge, read_request

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RevocationRequests:
    """The requests of all namespaces; which there are is kept with the authorities."""

    context: Context
    authorities: Authorities

    async def take(self, tenant: Tenant) -> list[Body]:
        """Record what is asked for in the ledger; return the requests to ``finish`` once that is published."""
        asked = set(self.authorities.asked.get(tenant.namespace, ()))
        if not asked:
            return []
        granted = []
        for body in await self._bodies(tenant.namespace):
            try:
                _require_life(body, tenant)
                await self._grant(tenant, body)
                granted.append(body)
            except RequestRefusedError as problem:
                await self._refuse(body, str(problem))
        self._forget(tenant.namespace, asked)
        return granted

    async def finish(self, granted: Iterable[Body]) -> None:
        """Delete requests that are granted."""
        for body in granted:
            meta = body["metadata"]
            await self.context.cluster.delete(
                Kind.CONFIG_MAP, meta["namespace"], meta["name"], uid=meta["uid"]
            )

    async def refuse_all(self, namespace: str, problem: str) -> None:
        """Refuse the requests of a namespace that has nothing to revoke."""
        asked = set(self.authorities.asked.get(namespace, ()))
        if asked:
            for body in await self._bodies(namespace):
                await self._refuse(body, problem)
            self._forget(namespace, asked)

    async def _grant(self, tenant: Tenant, body: Body) -> None:
        request = read_request(body.get("data") or {})
        world = self.context.world
        grant = judge(
            request,
            tenant.generations,
            tenant.ledger,
            proved=proved(world, tenant),
            claimed=claimed(world, tenant.namespace),
            now=self.context.now().replace(microsecond=0),
        )
        if grant.record is None:
            return
        await self.authorities.pass_over(tenant, grant.index)
        await self.authorities.ledgers.record(tenant, [grant.record])
        _log.info("revocation.requested", namespace=tenant.namespace, serial=request.serial)
        for name, certificate in world.certificates.of(tenant.namespace).items():
            if certificate.status.get("serialNumber") == request.serial:
                self.context.queue.add(keys.certificate(tenant.namespace, name))

    async def _refuse(self, body: Body, problem: str) -> None:
        meta = body["metadata"]
        if (meta.get("annotations") or {}).get(names.REFUSED_ANNOTATION) == problem:
            return
        _log.warning("revocation.refused", request=meta["name"], problem=problem)
        patch: Body = {"metadata": {"annotations": {names.REFUSED_ANNOTATION: problem}}}
        try:
            answer = await self.context.cluster.patch(Kind.CONFIG_MAP, meta["namespace"], meta["name"], patch)
        except NotFoundError:
            return
        self.context.world.observe(Kind.CONFIG_MAP, answer, answer=True)

    async def _bodies(self, namespace: str) -> list[Body]:
        bodies = await self.context.cluster.list(
            Kind.CONFIG_MAP,
            self.context.settings.operator_namespace,
            labels=selector(REQUEST_ROLE, namespace),
        )
        return sorted(bodies, key=lambda body: str(body["metadata"]["name"]))

    def _forget(self, namespace: str, asked: set[str]) -> None:
        """Forget what was looked at; a request that changed meanwhile comes again."""
        left = self.authorities.asked.get(namespace, set())
        left -= asked
        if not left:
            self.authorities.asked.pop(namespace, None)


def _require_life(body: Body, tenant: Tenant) -> None:
    """Refuse a request about a former life of the namespace, whose CA nobody trusts."""
    uid = (body["metadata"].get("labels") or {}).get(names.NAMESPACE_UID_LABEL, tenant.uid)
    if uid != tenant.uid:
        raise RequestRefusedError(
            f"It is about a former namespace {tenant.namespace}, whose certificates count no more."
        )
