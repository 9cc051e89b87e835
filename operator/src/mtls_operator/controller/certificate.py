"""Reconciles one ClientCertificate: finalizer, Secret, status; three API writes and an Event from nothing to Ready."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.conditions import status_differs
from mtls_operator.cluster import Kind, NotFoundError
from mtls_operator.controller import keys
from mtls_operator.controller.announcing import announce
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import holder_of
from mtls_operator.controller.issuer import Issuer
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.views import Gathered, Views
from mtls_operator.plan.certificate import CertificateView, Step, next_step
from mtls_operator.plan.certificate_status import broken_status, status_of
from mtls_operator.plan.trouble import Trouble

_log = structlog.get_logger(__name__)
_STEPS = 6


#: A renewal that is not possible now is tried again after this time.
RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a certificate could not be replaced or its contents completed, and when to try again."""

    step: Step
    obstacle: Trouble
    until: datetime


@dataclass(slots=True)
class CertificateReconciler:
    """One run takes a certificate as far as it can go now."""

    context: Context
    authorities: Authorities
    issuer: Issuer
    views: Views
    _failures: dict[str, _Failure] = field(default_factory=dict)
    _put_off: set[tuple[str, str]] = field(default_factory=set)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next steps; return in how many seconds to look again by the clock."""
        for _ in range(_STEPS):
            certificate = self.context.world.certificates.get(namespace, name)
            if certificate is None:
                self.views.keystores.forget(namespace, name)
                self._put_off.discard((namespace, name))
                return None
            tenant = await self.authorities.load(namespace)
            if tenant is None:
                return await self._release_in_ending_namespace(certificate)
            if isinstance(certificate, Broken):
                return await self._broken(certificate, tenant)
            if tenant.publication is None and tenant.obstacle is None:
                self.context.queue.add(keys.authority(namespace))
            gathered = await self.views.of(certificate, tenant)
            if self.context.world.certificates.get(namespace, name) is not certificate:
                continue  # it changed while the Secret of its password was read
            view = self._with_failure(gathered.view)
            step = next_step(view)
            await self._keep_former(view, tenant)
            if step in (Step.REPORT, Step.RECORD):
                return await self._rest(step, view, tenant)
            if step is Step.RENEW and self._gives_way(certificate):
                return None
            obstacle = await self._perform(step, view, tenant, gathered)
            if obstacle is not None and step in (Step.RENEW, Step.COMPLETE):
                until = self.context.now() + RETRY
                self._failures[certificate.meta.uid] = _Failure(step, obstacle, until)
                continue
            if obstacle is not None or step is Step.RELEASE:
                return await self._refuse(view, obstacle) if obstacle is not None else None
        return 1.0

    async def _rest(self, step: Step, view: CertificateView, tenant: Tenant) -> float | None:
        """Say how it stands; return in how many seconds to look again, None where the ledger has its turn first."""
        if step is Step.RECORD and self.views.recordable(view.certificate, tenant):
            self.context.queue.add(keys.authority(tenant.namespace))
        again = await self._report(view)
        if step is Step.RECORD:
            return None
        self._take_off(*view.certificate.meta.key, tenant)
        return again

    def _gives_way(self, certificate: ClientCertificate) -> bool:
        """Put a renewal off, once, until nothing else is due: what it replaces still works, who is new has nothing."""
        key = certificate.meta.key
        if key in self._put_off:
            self._put_off.discard(key)
            return False
        self._put_off.add(key)
        self.context.queue.add(keys.certificate(*key), patient=True)
        return True

    def _take_off(self, namespace: str, name: str, tenant: Tenant) -> None:
        """Forget what was issued once the status of the object, as the API server has it, names it."""
        present = self.context.world.certificates.get(namespace, name)
        if present is not None:
            uid, serial = present.meta.uid, present.status.get("serialNumber")
            if serial in tenant.unreported.get(uid, {}):
                del tenant.unreported[uid]

    def _with_failure(self, view: CertificateView) -> CertificateView:
        """Return a view that says why the last attempt to write failed, until the next one is due."""
        failure = self._failures.get(view.certificate.meta.uid)
        if failure is None:
            return view
        if failure.until <= view.now:
            del self._failures[view.certificate.meta.uid]
            return view
        if failure.step is Step.COMPLETE:
            return replace(view, incomplete=False, contents=failure.obstacle)
        if view.renewal is None:
            return view
        return replace(view, renewal=replace(view.renewal, obstacle=failure.obstacle))

    async def _perform(
        self, step: Step, view: CertificateView, tenant: Tenant, gathered: Gathered
    ) -> Trouble | None:
        seen, stored = gathered.seen, gathered.stored
        if step is Step.ADD_FINALIZER:
            await self._set_finalizers(view.certificate, [*view.certificate.meta.finalizers, names.FINALIZER])
        elif step is Step.RELEASE:
            kept = [name for name in view.certificate.meta.finalizers if name != names.FINALIZER]
            await self._set_finalizers(view.certificate, kept)
        elif step is Step.RENEW and seen is not None and view.facts is not None:
            return await self.issuer.renew(view.certificate, tenant, seen, view.facts)
        elif step is Step.COMPLETE and seen is not None and stored is not None:
            return await self.issuer.complete(view.certificate, seen, stored)
        else:
            return await self.issuer.issue(view.certificate, tenant, seen)
        return None

    async def _keep_former(self, view: CertificateView, tenant: Tenant) -> None:
        """Record what the status names when somebody put another certificate of ours into the Secret."""
        former = str(view.certificate.status.get("serialNumber") or "")
        if former and view.facts is not None and former != view.facts.serial:
            await self.issuer.remember(view.certificate, tenant, former)

    async def _set_finalizers(self, certificate: ClientCertificate, finalizers: list[str]) -> None:
        meta = certificate.meta
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": meta.resource_version}}
        try:
            body = await self.context.cluster.patch(Kind.CERTIFICATE, meta.namespace, meta.name, patch)
        except NotFoundError:
            return
        if finalizers or not meta.deleting:
            self.context.world.observe(Kind.CERTIFICATE, body, answer=True)

    async def _refuse(self, view: CertificateView, obstacle: Trouble) -> float | None:
        await self._report(replace(view, facts=None, obstacle=obstacle, pending_records=False))
        return 30.0

    async def _report(self, view: CertificateView) -> float | None:
        certificate = view.certificate
        status = status_of(view)
        if status_differs(certificate.status, status):
            body = {"metadata": {"namespace": certificate.meta.namespace, "name": certificate.meta.name}}
            await self.context.patch_status(Kind.CERTIFICATE, {**body, "status": status}, certificate.status)
            announce(self.context.recorder, certificate, status)
            if status["state"] in _WAITING:
                # The last proxy may have acknowledged while this was on its way: nobody would look again.
                self.context.queue.add(keys.certificate(*certificate.meta.key))
        if view.facts is None:
            return None
        moments = [view.facts.not_after, *view.former.values(), *self._superseding(view)]
        if certificate.meta.uid in self._failures:
            moments.append(self._failures[certificate.meta.uid].until)
        if view.renewal is not None and not certificate.revoked:
            moments.append(view.renewal.due)
        waits = [(moment - view.now).total_seconds() for moment in moments if moment > view.now]
        return min(waits) + 1 if waits else None

    def _superseding(self, view: CertificateView) -> list[datetime]:
        """Return when former certificates are to be revoked by their age."""
        tenant = self.authorities.known(view.certificate.meta.namespace)
        if tenant is None or not view.former:
            return []
        holder = holder_of(self.context.world, tenant, view.certificate)
        records = [tenant.ledger[serial] for serial in view.former if serial in tenant.ledger]
        return [moment for moment in map(holder.superseded_at, records) if moment is not None]

    async def _broken(self, broken: Broken, tenant: Tenant) -> float | None:
        """Report an object that cannot be read; its deletion revokes what it is known to hold."""
        meta = broken.meta
        if meta.deleting and names.FINALIZER in meta.finalizers:
            if self.views.pending(broken, tenant):
                self.context.queue.add(keys.authority(meta.namespace))
                return 1.0
            await self._release(broken)
            return None
        if self.views.recordable(broken, tenant):
            self.context.queue.add(keys.authority(meta.namespace))
        status = broken_status(broken.status, meta, broken.error, now=self.context.now())
        if status_differs(broken.status, status):
            body = {"metadata": {"namespace": meta.namespace, "name": meta.name}, "status": status}
            await self.context.patch_status(Kind.CERTIFICATE, body, broken.status)
        return None

    async def _release_in_ending_namespace(self, certificate: ClientCertificate | Broken) -> float | None:
        """Let go of an object whose namespace ends: its CA is never trusted again, nothing needs revoking.

        A namespace that was not seen yet is no namespace that ends: look again.
        """
        meta = certificate.meta
        if not meta.deleting or names.FINALIZER not in meta.finalizers:
            return None
        if self.context.world.namespaces.get("", meta.namespace) is None:
            return 1.0
        await self._release(certificate)
        return None

    async def _release(self, certificate: ClientCertificate | Broken) -> None:
        meta = certificate.meta
        kept = [name for name in meta.finalizers if name != names.FINALIZER]
        patch = {"metadata": {"finalizers": kept, "resourceVersion": meta.resource_version}}
        with contextlib.suppress(NotFoundError):
            await self.context.cluster.patch(Kind.CERTIFICATE, meta.namespace, meta.name, patch)


_WAITING = ("PendingRevocation", "PendingReactivation")
