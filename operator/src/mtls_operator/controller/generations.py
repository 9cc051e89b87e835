"""Reads the generations of a namespace's CA, and makes or takes new ones; never a first one where there was one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import AlreadyExistsError, Body, ConflictError, Kind
from mtls_operator.controller.claims import taken
from mtls_operator.controller.context import Context
from mtls_operator.controller.given import GivenCas
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import AUTHORITY_ENTROPY, new_authority
from mtls_operator.plan.authority import (
    AUTHORITY_LIFETIME,
    AuthorityRefusedError,
    AuthorityUnusableError,
    Phase,
    Stored,
    authority_document,
    generation_of,
    read_generations,
    read_stored,
    selector,
)
from mtls_operator.plan.given import Given
from mtls_operator.plan.trouble import Trouble

_log = structlog.get_logger(__name__)
#: The longest common name (RFC 5280, appendix A.1).
_COMMON_NAME: Final = 64


@dataclass(slots=True)
class Generations:
    """The Secrets of CAs; whoever calls holds the tenant's lock."""

    context: Context
    ledgers: Ledgers
    given: GivenCas

    async def read(self, tenant: Tenant) -> None:
        """Read all generations of a namespace, or make the first; what cannot be used becomes its obstacle."""
        settings, cluster = self.context.settings, self.context.cluster
        labels = selector("authority", tenant.namespace)
        bodies = await cluster.list(Kind.SECRET, settings.operator_namespace, labels=labels)
        ours = [
            body for body in bodies if body["metadata"]["labels"].get(names.NAMESPACE_UID_LABEL) == tenant.uid
        ]
        tenant.given, tenant.given_stale = Given(), True
        try:
            tenant.generations = read_generations(ours, tenant.namespace)
            if not tenant.generations:
                tenant.put(await self._first(tenant, bodies))
            tenant.obstacle = None
        except AuthorityRefusedError as problem:
            tenant.generations = ()
            tenant.obstacle = problem.trouble
            _log.error("authority.refused", namespace=tenant.namespace, problem=str(problem))
        except AuthorityUnusableError as problem:
            tenant.generations = ()
            tenant.obstacle = Trouble(Reason.CA_MISSING, str(problem))
            _log.error("authority.unusable", namespace=tenant.namespace, problem=str(problem))

    async def successor(self, tenant: Tenant, given: str = "") -> Stored:
        """Return the new successor of the present CA, made or, with ``given``, taken; it signs nothing yet.

        Raises:
            ConflictError: what was given is not there any more.
        """
        generation = max(stored.generation for stored in tenant.generations) + 1
        if not given:
            return await self._create(tenant, generation, Phase.PREPARED)
        stored = await self._adopt(tenant, generation, Phase.PREPARED)
        if stored is None:
            tenant.given_stale = True
            raise ConflictError(f"Secret {given} changed before its CA was taken")
        return stored

    async def _first(self, tenant: Tenant, former: Sequence[Body]) -> Stored:
        evidence = await self._evidence(tenant)
        if evidence:
            raise AuthorityUnusableError(
                f"The Secret of this namespace's CA is missing although {evidence}: restore "
                f"{names.authority_secret(tenant.namespace, 1)} (or its successor) in namespace "
                f"{self.context.settings.operator_namespace} from a backup."
            )
        conflict = await taken(self.context, tenant.namespace)
        if conflict is not None:
            raise AuthorityRefusedError(conflict)
        generations = [generation_of(body["metadata"]["name"], tenant.namespace) or 0 for body in former]
        generation = max(generations, default=0) + 1
        given = await self._adopt(tenant, generation, Phase.ACTIVE)
        if given is not None:
            return given
        if tenant.given.refused:
            # Whoever gave a CA does not want one of ours: nothing is issued until that is mended, or taken back.
            message = " ".join(text for _, text in sorted(tenant.given.refused.items()))
            raise AuthorityRefusedError(Trouble(Reason.ISSUING_CA_REFUSED, message))
        return await self._create(tenant, generation, Phase.ACTIVE)

    async def _adopt(self, tenant: Tenant, generation: int, phase: Phase) -> Stored | None:
        try:
            body = await self.given.adopt(tenant, generation, phase)
        except AlreadyExistsError:
            raise _taken(names.authority_secret(tenant.namespace, generation)) from None
        return read_stored(body, generation) if body is not None else None

    async def _create(self, tenant: Tenant, generation: int, phase: Phase) -> Stored:
        context = self.context
        suffix = "" if generation == 1 else f" {generation}"
        authority = new_authority(
            f"mtls-operator {tenant.namespace}"[: _COMMON_NAME - len(suffix)] + suffix,
            now=context.now(),
            lifetime=AUTHORITY_LIFETIME,
            entropy=context.entropy(AUTHORITY_ENTROPY),
        )
        document = authority_document(
            context.settings.operator_namespace,
            tenant.namespace,
            tenant.uid,
            generation=generation,
            authority=authority,
            phase=phase,
        )
        try:
            body = await context.cluster.create(document)
        except AlreadyExistsError:
            raise _taken(document["metadata"]["name"]) from None
        context.world.observe(Kind.SECRET, body, answer=True)
        _log.info("authority.created", namespace=tenant.namespace, generation=generation)
        return read_stored(body, generation)

    async def _evidence(self, tenant: Tenant) -> str:
        """Return what shows that the present life of the namespace had a CA; empty when nothing does."""
        world = self.context.world
        for name in (names.CLIENT_CA_CONFIGMAP, names.REVOCATION_CONFIGMAP):
            if world.written[Kind.CONFIG_MAP].get(tenant.namespace, name) is not None:
                return f"ConfigMap {name} shows that there was one"
        for certificate in world.certificates.of(tenant.namespace).values():
            if certificate.status.get("serialNumber"):
                return f"ClientCertificate {certificate.meta.name} was issued by one"
        if await self.ledgers.pages(tenant):
            return "its ledger of revocations exists"
        return ""


def _taken(secret: str) -> ConflictError:
    return ConflictError(f"Secret {secret} exists and is not labelled as the CA of this namespace")
