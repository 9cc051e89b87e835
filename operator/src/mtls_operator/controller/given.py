"""Issuing CAs that administrators give to the operator: which Secrets there are, what is wrong with them, taking one.

The mark on the Secret is written before the copy that is used, each only once and in this order: a crash in between
goes on, and a namespace that is made again does not get the CA of its former life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog

from mtls_operator.api import names
from mtls_operator.cluster import Body, ClusterError, Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import PkiError, TrustedCa, describe_ca
from mtls_operator.plan.authority import Phase, authority_document
from mtls_operator.plan.given import Candidate, Given, Scene, judge, mark_of
from mtls_operator.plan.objects import Document, secret_value

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class GivenCas:
    """The labelled Secrets of all namespaces; nothing of their content is kept."""

    context: Context
    #: The namespace that each Secret is labelled for, by its name.
    _seen: dict[str, str] = field(default_factory=dict)
    #: By namespace: Secrets that went since this was last looked at.
    _gone: dict[str, set[str]] = field(default_factory=dict)
    #: Namespaces whose Secrets have changed since they were looked at.
    _changed: set[str] = field(default_factory=set)
    #: Held while a CA is taken, so that no two namespaces take the same one.
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def seen(self, body: Mapping[str, Any]) -> set[str]:
        """Take in a labelled Secret; return the namespaces that it concerns, the one that it was for included."""
        name = str(body["metadata"]["name"])
        namespace = str((body["metadata"].get("labels") or {}).get(names.ISSUING_CA_LABEL) or "")
        concerned = {namespace, self._seen.get(name, namespace)} - {""}
        self._seen[name] = namespace
        self._changed |= concerned
        return concerned

    def gone(self, name: str) -> set[str]:
        """Take in that a Secret is gone, or has lost its label; return the namespaces that it concerns."""
        namespace = self._seen.pop(name, "")
        if not namespace:
            return set()
        self._gone.setdefault(namespace, set()).add(name)
        self._changed.add(namespace)
        return {namespace}

    def take_gone(self, namespace: str) -> set[str]:
        """Return the Secrets that went since this was last asked."""
        return self._gone.pop(namespace, set())

    async def refresh(self, tenant: Tenant) -> None:
        """Look at the Secrets of a tenant again if they, its CA or the time have changed."""
        namespace = tenant.namespace
        again = tenant.given.look_again
        due = again is not None and again <= self.context.now()
        if not (due or tenant.given_stale or namespace in self._changed):
            return
        self._changed.discard(namespace)
        try:
            if namespace in self._seen.values():
                tenant.given, _ = await self._judged(tenant, self._seen_cas())
            else:
                tenant.given = Given()
        except BaseException:
            self._changed.add(namespace)
            raise
        tenant.given_stale = False

    async def adopt(self, tenant: Tenant, generation: int, phase: Phase) -> Body | None:
        """Take the CA that is given next into a Secret of our own; None where there is none that can be taken.

        Raises:
            ConflictError: somebody changed that Secret meanwhile.
            AlreadyExistsError: there is such a generation.
        """
        async with self._taking:
            tenant.given, candidate = await self._judged(tenant, await self._all_cas())
            if candidate is None:
                return None
            await self._mark(candidate, tenant, generation)
            body = await self.context.cluster.create(self._document(candidate, tenant, generation, phase))
            self.context.world.observe(Kind.SECRET, body, answer=True)
        tenant.given, tenant.given_stale = Given(refused=tenant.given.refused), True
        _log.info(
            "authority.given.taken",
            namespace=tenant.namespace,
            secret=candidate.name,
            generation=generation,
        )
        return body

    def _document(self, candidate: Candidate, tenant: Tenant, generation: int, phase: Phase) -> Document:
        return authority_document(
            self.context.settings.operator_namespace,
            tenant.namespace,
            tenant.uid,
            generation=generation,
            authority=candidate.issuing.authority,
            phase=phase,
            given_by=candidate.name,
            chain_pem=candidate.issuing.chain_pem,
        )

    async def _judged(self, tenant: Tenant, others: Iterable[TrustedCa]) -> tuple[Given, Candidate | None]:
        """Read the Secrets of a tenant, judge them, and write on each why it is refused."""
        bodies = await self.context.cluster.list(
            Kind.SECRET,
            self.context.settings.operator_namespace,
            labels=f"{names.ISSUING_CA_LABEL}={tenant.namespace}",
        )
        scene = Scene(tenant.uid, tenant.generations, tuple(others), self.context.now())
        given, candidate = judge(bodies, scene)
        for body in bodies:
            await self._say(body, given.refused.get(body["metadata"]["name"], ""))
        return given, candidate

    async def _say(self, body: Body, problem: str) -> None:
        """Write on a Secret why its CA is refused, or that it is not any more."""
        meta = body["metadata"]
        said = (meta.get("annotations") or {}).get(names.REFUSED_ANNOTATION) or ""
        if said == problem:
            return
        if problem:
            _log.warning("authority.given.refused", secret=meta["name"], problem=problem)
        patch: Body = {"metadata": {"annotations": {names.REFUSED_ANNOTATION: problem or None}}}
        try:
            answer = await self.context.cluster.patch(Kind.SECRET, meta["namespace"], meta["name"], patch)
        except ClusterError as error:  # it says so elsewhere too, and revocations must not wait for it
            _log.info("authority.given.unsaid", secret=meta["name"], error=str(error))
            return
        meta["resourceVersion"] = answer["metadata"]["resourceVersion"]

    async def _mark(self, candidate: Candidate, tenant: Tenant, generation: int) -> None:
        """Write on a Secret, at exactly the version that was judged, what its CA is used for."""
        meta = candidate.body["metadata"]
        mark = str(mark_of(candidate, uid=tenant.uid, generation=generation))
        if (meta.get("annotations") or {}).get(names.ADOPTED_ANNOTATION) == mark:
            return
        patch: Body = {
            "metadata": {
                "annotations": {names.ADOPTED_ANNOTATION: mark},
                "resourceVersion": meta["resourceVersion"],
            }
        }
        await self.context.cluster.patch(Kind.SECRET, meta["namespace"], meta["name"], patch)

    def _seen_cas(self) -> list[TrustedCa]:
        """Return every CA of this operator as far as is seen."""
        written = self.context.world.written[Kind.SECRET].of(self.context.settings.operator_namespace)
        return _described(seen.certificate for seen in written.values())

    async def _all_cas(self) -> list[TrustedCa]:
        """Return every CA of this operator, by a question to the API server itself: what is seen may be old."""
        bodies = await self.context.cluster.list(
            Kind.SECRET,
            self.context.settings.operator_namespace,
            labels=f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}",
        )
        texts = (secret_value(body, names.TLS_CERT_KEY) or b"" for body in bodies)
        return _described(text.decode("ascii", "replace") for text in texts)


def _described(certificates: Iterable[str]) -> list[TrustedCa]:
    return [ca for ca in map(_describe, certificates) if ca is not None]


@lru_cache(maxsize=4096)
def _describe(certificate_pem: str) -> TrustedCa | None:
    try:
        return describe_ca(certificate_pem) if certificate_pem else None
    except PkiError:
        return None
