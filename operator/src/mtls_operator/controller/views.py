"""Gathers everything that a decision about one ClientCertificate rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.controller.contents import is_complete, with_chain
from mtls_operator.controller.context import Context
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.holdings import certain_of, former, holder_of, written_of
from mtls_operator.controller.issuer import conflict
from mtls_operator.controller.keystores import KeystoreMaker
from mtls_operator.controller.observed import Broken, Written
from mtls_operator.controller.seen_certificates import facts_of
from mtls_operator.controller.signer import Signer
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import CertificateFacts, PkiError, key_digest_of, plain_pem
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.certificate import CertificateView
from mtls_operator.plan.holder import request_of
from mtls_operator.plan.ledger import Entry, Record, due
from mtls_operator.plan.replacement import Replacement, next_replacement
from mtls_operator.plan.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Gathered:
    """A view, the Secret (or ConfigMap) as it was last seen, and which generation of the CA signed what is in it."""

    view: CertificateView
    seen: Written | None
    stored: Stored | None


@dataclass(slots=True)
class Views:
    """Looks; changes nothing."""

    context: Context
    keystores: KeystoreMaker
    granting: Granting

    async def of(self, certificate: ClientCertificate, tenant: Tenant) -> Gathered:
        """Return what is known of a certificate now."""
        version = await self.keystores.password_version(certificate)
        context = self.context
        now = context.now()
        seen = written_of(context.world, certificate)
        facts, obstacle = self._facts(certificate, tenant, seen)
        stored = None if facts is None or seen is None else Signer.signed_by_us(tenant, seen.certificate)
        serial = facts.serial if facts is not None else str(certificate.status.get("serialNumber") or "")
        record = tenant.ledger.get(serial)
        in_force, waiting_for = self._in_force(tenant, serial, record)
        current, problem = self._contents(certificate, seen, stored, version)
        view = CertificateView(
            certificate=certificate,
            facts=facts,
            obstacle=obstacle,
            record=record,
            in_force=in_force,
            waiting_for=waiting_for,
            pending_records=self._interesting(certificate, tenant) and self.pending(certificate, tenant),
            now=now,
            renewal=self._renewal(certificate, tenant, facts, seen, now=now),
            former=former(context.world, tenant, certificate, now=now),
            pem=_pem(certificate, seen, stored) if facts is not None and seen is not None else "",
            distrusted=stored is not None and not stored.trusted,
            ahead=tenant.untrusted and stored is not None and stored is tenant.stored,
            incomplete=not current,
            contents=problem,
        )
        return Gathered(view, seen, stored)

    def pending(self, certificate: ClientCertificate | Broken, tenant: Tenant) -> bool:
        """Say whether the ledger still has to follow this object."""
        holder = holder_of(self.context.world, tenant, certificate)
        return bool(due(tenant.ledger, [holder], now=self.context.now()))

    def recordable(self, certificate: ClientCertificate | Broken, tenant: Tenant) -> bool:
        """Say whether the ledger can follow this object now."""
        if tenant.obstacle is None:
            return self.pending(certificate, tenant)
        if not (tenant.without_ca and tenant.publishes):
            return False
        holder = certain_of(self.context.world, tenant, certificate)
        return bool(due(tenant.ledger, [holder], now=self.context.now()))

    def _facts(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written | None
    ) -> tuple[CertificateFacts | None, Trouble | None]:
        """Return the facts of what is there (None: nothing that could be used), and what keeps it from being made."""
        obstacle = tenant.obstacle
        if obstacle is None and tenant.authority is None:
            obstacle = Trouble(Reason.CA_MISSING, "The CA of the namespace is not loaded yet.")
        if seen is None:
            return None, obstacle
        if certificate.meta.uid not in seen.owners:
            return None, conflict(certificate)
        facts = facts_of(seen.certificate)
        if facts is None or not _has_its_key(certificate, seen):
            return None, obstacle
        if tenant.generations:
            known = Signer.signed_by_us(tenant, seen.certificate) is not None
        else:
            known = not _contradicts(certificate, facts)
        if not known:
            return None, obstacle
        return facts, None

    def _contents(
        self, certificate: ClientCertificate, seen: Written | None, stored: Stored | None, version: str | None
    ) -> tuple[bool, Trouble | None]:
        """Say whether everything beside the certificate is there, and why a keystore cannot be made."""
        if seen is None or stored is None:
            return True, None
        complete = is_complete(certificate, seen, stored)
        current, obstacle = self.keystores.judge(certificate, seen, version)
        return complete and current, obstacle

    def _renewal(
        self,
        certificate: ClientCertificate,
        tenant: Tenant,
        facts: CertificateFacts | None,
        seen: Written | None,
        *,
        now: datetime,
    ) -> Replacement | None:
        """Return when it is replaced, at the time of the view: what is due now must not be due a moment later."""
        if facts is None or seen is None or not tenant.generations:
            return None
        return next_replacement(
            certificate,
            facts,
            issued_for_digest=seen.issued_for,
            renewed_for=seen.renewed_for,
            signed_by=Signer.signed_by_us(tenant, seen.certificate),
            active=tenant.stored,
            reissue_window=self.context.settings.reissue_window,
            now=now,
        )

    def _in_force(self, tenant: Tenant, serial: str, record: Record | None) -> tuple[bool, str]:
        """Say whether every proxy that trusts the CA acknowledged a list that says of a serial what the ledger says."""
        publication = tenant.publication
        revoked = record is not None and record.entry is Entry.REVOKED
        if publication is None or (serial in publication.serials) is not revoked:
            return False, ""
        pods = self.context.world.pods.of(tenant.namespace).values()
        said, elsewhere = self.granting.lagging(tenant, serial, revoked=revoked)
        late = [*self.context.reports.lagging(pods, publication.version), *elsewhere]
        # Of other namespaces no more is said than their names.
        names = {
            pod.name if pod.namespace == tenant.namespace else f"namespace {pod.namespace}" for pod in late
        }
        named = ", ".join(sorted(names)[:3])
        proxies = "1 proxy" if len(late) == 1 else f"{len(late)} proxies"
        return said and not late, f"{proxies} to acknowledge it ({named})" if late else ""

    def _interesting(self, certificate: ClientCertificate, tenant: Tenant) -> bool:
        """Say whether the ledger can have to follow this object at all."""
        meta = certificate.meta
        return certificate.revoked or meta.deleting or meta.uid in tenant.owned


def _pem(certificate: ClientCertificate, seen: Written, stored: Stored | None) -> str:
    """Return what is there for the owner of a key; while the CA is missing what the status says of it stays."""
    plain = plain_pem(seen.certificate)
    if stored is not None:
        return with_chain(plain, stored)
    said = str(certificate.status.get("certificate") or "")
    return said if said.startswith(plain) else plain


def _contradicts(certificate: ClientCertificate, facts: CertificateFacts) -> bool:
    """Say whether the status names another end for the same number: no signature shows which is true."""
    status = certificate.status
    return status.get("serialNumber") == facts.serial and status.get("notAfter") != format_timestamp(
        facts.not_after
    )


def _has_its_key(certificate: ClientCertificate, seen: Written) -> bool:
    """Say whether a certificate goes with the key that it is for: the one beside it, or that of the request."""
    if certificate.request is None:
        return seen.has_key
    try:
        request = request_of(certificate)
        return request is not None and key_digest_of(seen.certificate) == request.key_digest
    except PkiError:
        return True  # an older operator read this request: what it signed stays
