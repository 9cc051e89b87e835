"""Reconciles one ClientCertificate: finalizer, Secret, status; three API writes and an Event from nothing to Ready."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.conditions import condition_status, status_differs
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cluster import Kind, NotFoundError
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import former, holder_of
from mtls_operator.controller.issuer import Issuer, conflict
from mtls_operator.controller.seen_certificates import facts_of, is_signed
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import Broken, Written
from mtls_operator.pki import CertificateFacts
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.certificate import (
    CertificateView,
    Obstacle,
    Renewal,
    Step,
    broken_status,
    next_renewal,
    next_step,
    status_of,
)
from mtls_operator.plan.ledger import Entry, Record, due

_log = structlog.get_logger(__name__)
_STEPS = 6


#: A renewal that is not possible now is tried again after this time.
RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a renewal was not possible, and when to try again."""

    obstacle: Obstacle
    until: datetime


@dataclass(slots=True)
class CertificateReconciler:
    """One run takes a certificate as far as it can go now."""

    context: Context
    authorities: Authorities
    issuer: Issuer
    _failures: dict[str, _Failure] = field(default_factory=dict)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Take the next steps; return in how many seconds to look again by the clock."""
        for _ in range(_STEPS):
            certificate = self.context.world.certificates.get(namespace, name)
            if certificate is None:
                return None
            tenant = await self.authorities.load(namespace)
            if tenant is None:
                return await self._release_in_ending_namespace(certificate)
            if isinstance(certificate, Broken):
                return await self._broken(certificate, tenant)
            if tenant.publication is None and tenant.obstacle is None:
                self.context.queue.add(keys.authority(namespace))
            view, secret_seen = self._view(certificate, tenant)
            step = next_step(view)
            await self._keep_former(view, tenant)
            if step is Step.REPORT:
                again = await self._report(view)
                self._take_off(namespace, name, tenant)
                return again
            if step is Step.RECORD:
                if tenant.obstacle is None:
                    self.context.queue.add(keys.authority(namespace))
                await self._report(view)
                return None
            obstacle = await self._perform(step, view, tenant, secret_seen)
            if obstacle is not None and step is Step.RENEW:
                until = self.context.now() + RETRY
                self._failures[certificate.meta.uid] = _Failure(obstacle, until)
                continue
            if obstacle is not None:
                return await self._refuse(view, obstacle)
            if step is Step.RELEASE:
                return None
        return 1.0

    def _take_off(self, namespace: str, name: str, tenant: Tenant) -> None:
        """Forget what was issued once the status of the object, as the API server has it, names it."""
        present = self.context.world.certificates.get(namespace, name)
        if present is not None:
            uid, serial = present.meta.uid, present.status.get("serialNumber")
            if serial in tenant.unreported.get(uid, {}):
                del tenant.unreported[uid]

    async def _perform(
        self, step: Step, view: CertificateView, tenant: Tenant, seen: Written | None
    ) -> Obstacle | None:
        if step is Step.ADD_FINALIZER:
            await self._set_finalizers(view.certificate, [*view.certificate.meta.finalizers, names.FINALIZER])
        elif step is Step.RELEASE:
            kept = [name for name in view.certificate.meta.finalizers if name != names.FINALIZER]
            await self._set_finalizers(view.certificate, kept)
        elif step is Step.RENEW and seen is not None and view.facts is not None:
            return await self.issuer.renew(view.certificate, tenant, seen, view.facts)
        else:
            return await self.issuer.issue(view.certificate, tenant, seen)
        return None

    def _view(self, certificate: ClientCertificate, tenant: Tenant) -> tuple[CertificateView, Written | None]:
        context = self.context
        namespace = certificate.meta.namespace
        seen = context.world.written[Kind.SECRET].get(namespace, certificate.secret_name)
        facts, obstacle = self._facts(certificate, tenant, seen)
        serial = facts.serial if facts is not None else str(certificate.status.get("serialNumber") or "")
        record = tenant.ledger.get(serial)
        now = context.now()
        in_force, waiting_for = self._in_force(tenant, serial, record)
        return (
            CertificateView(
                certificate=certificate,
                facts=facts,
                obstacle=obstacle,
                record=record,
                in_force=in_force,
                waiting_for=waiting_for,
                pending_records=self._interesting(certificate, tenant) and self._pending(certificate, tenant),
                now=now,
                renewal=self._renewal(certificate, tenant, facts, seen),
                former=former(context.world, tenant, certificate, now=now),
            ),
            seen,
        )

    def _facts(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written | None
    ) -> tuple[CertificateFacts | None, Obstacle | None]:
        obstacle = tenant.obstacle
        if obstacle is None and tenant.authority is None:
            obstacle = Obstacle(Reason.CA_MISSING, "The CA of the namespace is not loaded yet.")
        if seen is None:
            return None, obstacle
        if certificate.meta.uid not in seen.owners:
            return None, conflict(certificate)
        facts = facts_of(seen.certificate)
        if facts is None or not seen.has_key:
            return None, Obstacle(
                Reason.INVALID_SECRET,
                f"Secret {certificate.secret_name} was damaged: delete it, and a new certificate is issued.",
            )
        if tenant.generations and _signed_by(tenant, seen.certificate) is None:
            return None, Obstacle(
                Reason.INVALID_SECRET,
                f"The certificate in Secret {certificate.secret_name} was not signed by the CA of this "
                "namespace: delete the Secret, and a new certificate is issued.",
            )
        return facts, None

    def _renewal(
        self,
        certificate: ClientCertificate,
        tenant: Tenant,
        facts: CertificateFacts | None,
        seen: Written | None,
    ) -> Renewal | None:
        if facts is None or seen is None or not tenant.generations:
            return None
        renewal = next_renewal(
            certificate,
            facts,
            issued_for_digest=seen.issued_for,
            signed_by=_signed_by(tenant, seen.certificate),
            active=tenant.stored,
            reissue_window=self.context.settings.reissue_window,
            now=self.context.now(),
        )
        failure = self._failures.get(certificate.meta.uid)
        if renewal is None or failure is None or failure.until <= self.context.now():
            return renewal
        return replace(renewal, obstacle=failure.obstacle)

    def _in_force(self, tenant: Tenant, serial: str, record: Record | None) -> tuple[bool, str]:
        """Say whether every proxy acknowledged a list that says of a serial number what the ledger says."""
        publication = tenant.publication
        revoked = record is not None and record.entry is Entry.REVOKED
        if publication is None or (serial in publication.serials) is not revoked:
            return False, ""
        pods = self.context.world.pods.of(tenant.namespace).values()
        late = self.context.reports.lagging(pods, publication.version)
        named = ", ".join(sorted(pod.name for pod in late)[:3])
        proxies = "1 proxy" if len(late) == 1 else f"{len(late)} proxies"
        return not late, f"{proxies} to acknowledge it ({named})" if late else ""

    def _interesting(self, certificate: ClientCertificate, tenant: Tenant) -> bool:
        """Say whether the ledger can have to follow this object at all."""
        meta = certificate.meta
        return certificate.revoked or meta.deleting or meta.uid in tenant.owned

    def _pending(self, certificate: ClientCertificate | Broken, tenant: Tenant) -> bool:
        """Say whether the ledger still has to follow this object."""
        holder = holder_of(self.context.world, tenant, certificate)
        return bool(due(tenant.ledger, [holder], now=self.context.now()))

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

    async def _refuse(self, view: CertificateView, obstacle: Obstacle) -> float | None:
        refused = CertificateView(
            certificate=view.certificate,
            facts=None,
            obstacle=obstacle,
            record=view.record,
            in_force=view.in_force,
            waiting_for=view.waiting_for,
            pending_records=False,
            now=view.now,
        )
        await self._report(refused)
        return 30.0

    async def _report(self, view: CertificateView) -> float | None:
        certificate = view.certificate
        status = status_of(view)
        if status_differs(certificate.status, status):
            body = {"metadata": {"namespace": certificate.meta.namespace, "name": certificate.meta.name}}
            await self.context.patch_status(Kind.CERTIFICATE, {**body, "status": status}, certificate.status)
            self._announce(certificate, status)
            if status["state"] in _WAITING:
                # The last proxy may have acknowledged while this was on its way: nobody would look again.
                self.context.queue.add(keys.certificate(*certificate.meta.key))
        if view.facts is None:
            return None
        moments = [view.facts.not_after, *view.former.values(), *self._superseding(view)]
        if view.renewal is not None and not certificate.revoked:
            moments.append(view.now + RETRY if view.renewal.obstacle is not None else view.renewal.due)
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

    def _announce(self, certificate: ClientCertificate, status: dict[str, Any]) -> None:
        """Post an Event for a transition worth one; issuing has its own."""
        before, after = certificate.status.get("state"), status["state"]
        if before != after and after in _ANNOUNCED:
            reason, message = _ANNOUNCED[after]
            if after == "Active" and before != "PendingReactivation":
                return
            self.context.recorder.record(
                names.CERTIFICATE_KIND, certificate.meta, reason=reason, message=message
            )
        was_issued = condition_status(certificate.status, ConditionType.ISSUED)
        issued = next(c for c in status["conditions"] if c["type"] == ConditionType.ISSUED.value)
        if issued["status"] == "False" and was_issued is not False and after == "Failed":
            self.context.recorder.record(
                names.CERTIFICATE_KIND,
                certificate.meta,
                reason=issued["reason"],
                message=issued["message"],
                warning=True,
            )

    async def _broken(self, broken: Broken, tenant: Tenant) -> float | None:
        """Report an object that cannot be read; its deletion revokes what it is known to hold."""
        meta = broken.meta
        if meta.deleting and names.FINALIZER in meta.finalizers:
            if self._pending(broken, tenant):
                self.context.queue.add(keys.authority(meta.namespace))
                return 1.0
            await self._release(broken)
            return None
        if self._pending(broken, tenant) and tenant.obstacle is None:
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
_ANNOUNCED = {
    "Revoked": ("Revoked", "Every proxy refuses the certificate."),
    "Active": ("Restored", "Every proxy accepts the certificate again."),
    "Expired": ("Expired", "The certificate has expired."),
}


def _signed_by(tenant: Tenant, certificate_pem: str) -> Stored | None:
    """Return the generation of the CA that signed a certificate, also one that counts no more."""
    for stored in reversed(tenant.generations):
        if is_signed(stored.authority.certificate_pem, certificate_pem):
            return stored
    return None
