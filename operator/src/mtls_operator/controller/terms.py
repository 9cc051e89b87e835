"""On which terms a namespace may have another certificate: its policy and its quota, asked before every signature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import written_of
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import PkiError, read_certificate
from mtls_operator.plan.issuance import refusal_by_policy
from mtls_operator.plan.quota import Claim, maximum_of, refusal_of, refused_by
from mtls_operator.plan.trouble import Trouble

#: A refusal counts for as long for everybody who was refused with it: many objects over a quota are counted once.
#: A grant is never remembered.
_REFUSED_FOR = timedelta(seconds=5)
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Terms:
    """Asks policy and quota; counts what is there, and keeps no counter."""

    context: Context
    _refused: dict[str, tuple[datetime, frozenset[str], str]] = field(default_factory=dict)

    def refusal(self, certificate: ClientCertificate, tenant: Tenant) -> Trouble | None:
        """Return why nothing is issued to an object now.

        Raises:
            PkiError: it cannot be issued, whatever the terms.
        """
        namespace = self.context.world.namespaces.get("", tenant.namespace)
        if namespace is None or namespace.uid != tenant.uid:
            return Trouble(Reason.PENDING, "The namespace is not there any more.")
        refused = refusal_by_policy(certificate, namespace.policy)
        if refused is not None:
            return refused
        message = self._over_quota(certificate, tenant, namespace.maximum)
        return Trouble(Reason.QUOTA_EXCEEDED, message) if message else None

    def _over_quota(self, certificate: ClientCertificate, tenant: Tenant, annotation: str | None) -> str:
        maximum = maximum_of(annotation, default=self.context.settings.max_certificates)
        if maximum.certificates is None:
            return ""
        objects = self.context.world.certificates.of(tenant.namespace)
        if len(objects) + len(tenant.owned) <= maximum.certificates:
            return ""
        now, uid = self.context.now(), certificate.meta.uid
        until, refused, said = self._refused.get(tenant.uid, (_FIRST, frozenset[str](), ""))
        if now < until and uid in refused:
            return said
        claims = list(self._claims(tenant, now=now))
        message = refusal_of(uid, claims, maximum, now=now)
        if message:
            self._refused[tenant.uid] = (
                now + _REFUSED_FOR,
                refused_by(claims, maximum, now=now),
                message,
            )
        return message

    def _claims(self, tenant: Tenant, *, now: datetime) -> Iterator[Claim]:
        """Return who takes or wants a place: every object, and every certificate that outlives its object."""
        present: set[str] = set()
        for certificate in self.context.world.certificates.of(tenant.namespace).values():
            uid = certificate.meta.uid
            present.add(uid)
            serial, end = self._held(certificate, tenant)
            gets_none = end is None and (certificate.meta.deleting or isinstance(certificate, Broken))
            yield Claim(
                uid=uid,
                created=_created(certificate),
                revoked=certificate.revoked or gets_none or tenant.is_revoked(serial),
                not_after=end,
            )
        for uid, serials in tenant.owned.items():
            ends = [end for serial, end in serials.items() if end > now and not tenant.is_revoked(serial)]
            if ends and uid not in present:
                yield Claim(uid=uid, created=_FIRST, revoked=False, not_after=max(ends))

    def _held(self, certificate: ClientCertificate | Broken, tenant: Tenant) -> tuple[str, datetime | None]:
        """Return the serial number and the end of what an object has now; a status may not be written yet."""
        unreported = tenant.unreported.get(certificate.meta.uid)
        if unreported:
            return max(unreported.items(), key=lambda item: item[1])
        status = certificate.status
        try:
            return str(status.get("serialNumber") or ""), parse_timestamp(str(status.get("notAfter") or ""))
        except ValueError:
            pass
        seen = None if isinstance(certificate, Broken) else written_of(self.context.world, certificate)
        if seen is None or certificate.meta.uid not in seen.owners:
            return "", None
        try:
            facts = read_certificate(seen.certificate)
        except PkiError:
            return "", None
        return facts.serial, facts.not_after


def _created(certificate: ClientCertificate | Broken) -> datetime:
    try:
        return parse_timestamp(certificate.meta.created)
    except ValueError:
        return _FIRST
