"""Issues the certificate of one ClientCertificate into its Secret: the durable act, done at most once.

Where the key stays with its owner the certificate is written into a ConfigMap, in the same way, and from there into the
status. The first write is a create, never an apply, every later one a replacement of exactly the version that was
read: a stale view cannot overwrite what was issued (guarantee G3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, RevocationReason
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import AlreadyExistsError, Body, Kind, RejectedError
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.contents import NO_KEYSTORES, Keystores, document_of, into, value_of
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import known, place_of, written_of
from mtls_operator.controller.keystores import KeystoreMaker
from mtls_operator.controller.observed import Written
from mtls_operator.controller.signer import Made, Signer
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import CertificateFacts, PkiError, key_digest_of, plain_pem, read_certificate
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.replacement import granted
from mtls_operator.plan.trouble import Trouble


@dataclass(slots=True)
class Issuer:
    """Writes what the CA of the namespace signed, and keeps it as it was written."""

    context: Context
    authorities: Authorities
    keystores: KeystoreMaker
    signer: Signer = field(init=False)

    def __post_init__(self) -> None:
        self.signer = Signer(self.context, self.authorities)

    async def issue(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written | None
    ) -> Trouble | None:
        """Issue and write; return what stands in the way (None: it is there, or nobody wants it any more).

        ``seen`` is the Secret as it was last seen, if its certificate is damaged: it is written anew in its place. What
        the status names is recorded first, unless it can be put back as it was.

        Raises:
            ConflictError: somebody else keeps changing the CA's Secret, or what is to be replaced.
        """
        if tenant.authority is None:
            return tenant.obstacle
        former = str(certificate.status.get("serialNumber") or "")
        if seen is None and (former or _was_in_conflict(certificate)):
            obstacle = await self._adopt(certificate)
            if obstacle is not None or written_of(self.context.world, certificate) is not None:
                return obstacle
        body = await self._unchanged(certificate, seen) if seen is not None else None
        if seen is not None and body is None:
            return None
        made: Made | Trouble | None = self.signer.kept(certificate, tenant)
        if made is None:
            await self._keep_known(certificate, tenant, former, seen)
            made = await self.signer.sign(certificate, tenant, stored=body)
        if isinstance(made, Trouble):
            return made
        said = f"in place of {former}, which was damaged or missing" if former else _where(certificate)
        return await self._write(certificate, tenant, made, body, said=said)

    async def renew(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written, facts: CertificateFacts
    ) -> Trouble | None:
        """Replace the certificate in the Secret by a new one; the old one is recorded first: it stays valid.

        Whoever else changed the Secret since it was seen has the last word: what is there now is decided on anew.

        Raises:
            ConflictError: somebody else is writing the same objects.
        """
        body = await self._unchanged(certificate, seen)
        if body is None:
            return None
        await self._retain(certificate, tenant, facts, seen.certificate)
        made = await self.signer.sign(certificate, tenant, stored=body)
        if isinstance(made, Trouble):
            return made
        return await self._write(certificate, tenant, made, body, said=f"in place of {facts.serial}")

    async def complete(self, certificate: ClientCertificate, seen: Written, stored: Stored) -> Trouble | None:
        """Put back what is ours beside the certificate: the CA's certificate, labels, keystores.

        Returns why the keystores cannot be made; the rest is put back all the same.
        """
        body = await self._unchanged(certificate, seen)
        if body is None:
            return None
        pem = plain_pem(value_of(body, names.TLS_CERT_KEY))
        key = Secret(value_of(body, names.TLS_KEY_KEY)) if certificate.request is None else None
        keystores = await self._keystores(certificate, pem, stored, key, body)
        obstacle = keystores if isinstance(keystores, Trouble) else None
        if isinstance(keystores, Trouble):
            keystores = NO_KEYSTORES
        document = document_of(certificate, pem, stored, key=key, keystores=keystores)
        # The certificate is not new: what it was issued for stays as it is, so that a change of the spec is seen.
        document["metadata"]["annotations"].pop(names.ISSUED_FOR_ANNOTATION)
        refused = await self._replace(certificate, into(body, document, keystores))
        if obstacle is not None:
            now = written_of(self.context.world, certificate)
            self.keystores.refused(certificate, now if now is not None else seen, obstacle)
        return refused

    async def remember(self, certificate: ClientCertificate, tenant: Tenant, serial: str) -> None:
        """Record a certificate whose Secret is gone before a new one replaces it: it is still valid."""
        now = self.context.now().replace(microsecond=0)
        record = known(tenant, certificate, serial, now=now)
        if record is not None:
            await self.authorities.ledgers.record(tenant, [record])

    async def _keep_known(
        self, certificate: ClientCertificate, tenant: Tenant, former: str, seen: Written | None
    ) -> None:
        """Record every certificate that is about to leave this object while it is valid."""
        if former:
            await self.remember(certificate, tenant, former)
        if seen is None or not self.signer.signed_by_us(tenant, seen.certificate):
            return
        try:
            facts = read_certificate(seen.certificate)
        except PkiError:
            return
        await self._retain(certificate, tenant, facts, seen.certificate)

    async def _retain(
        self, certificate: ClientCertificate, tenant: Tenant, facts: CertificateFacts, pem: str
    ) -> None:
        """Record a certificate that leaves its Secret while still valid, so that revoking and deleting cover it."""
        now = self.context.now().replace(microsecond=0)
        if facts.serial in tenant.ledger or facts.not_after <= now:
            return
        record = Record(
            serial=facts.serial,
            entry=Entry.KNOWN,
            at=now,
            not_after=facts.not_after,
            reason=RevocationReason.UNSPECIFIED,
            owner="/".join(certificate.meta.key),
            owner_uid=certificate.meta.uid,
            key=key_digest_of(pem),
        )
        await self.authorities.ledgers.record(tenant, [record])

    async def _write(
        self, certificate: ClientCertificate, tenant: Tenant, made: Made, body: Body | None, *, said: str
    ) -> Trouble | None:
        """Write what was made: as a new object, or in the place of one at exactly the version that was read."""
        keystores = await self._keystores(certificate, made.pem, made.stored, made.key, body)
        if isinstance(keystores, Trouble):
            keystores = (
                NO_KEYSTORES  # the certificate does not wait for them; what is wrong is reported afterwards
            )
        document = document_of(
            certificate,
            made.pem,
            made.stored,
            key=made.key,
            keystores=keystores,
            renewed_for=granted(certificate, now=self.context.now()),
        )
        present = self.context.world.certificates.get(*certificate.meta.key)
        if present is None or present.meta.uid != certificate.meta.uid:
            return None
        # From here on it may exist: an object that goes before its status names it still revokes it (G3).
        tenant.unreported.setdefault(certificate.meta.uid, {})[made.facts.serial] = made.facts.not_after
        if body is not None:
            refused = await self._replace(certificate, into(body, document, keystores))
            if refused is not None:
                return refused
        else:
            try:
                answer = await self.context.cluster.create(document)
            except AlreadyExistsError:
                return await self._adopt(certificate)
            self.context.world.observe(place_of(certificate)[0], answer, answer=True)
        self.context.recorder.record(
            names.CERTIFICATE_KIND,
            certificate.meta,
            reason=(Reason.ISSUED if body is None else Reason.RENEWED).value,
            message=f"Issued certificate {made.facts.serial} {said}.",
        )
        return None

    async def _keystores(
        self,
        certificate: ClientCertificate,
        pem: str,
        stored: Stored,
        key: Secret | None,
        body: Body | None,
    ) -> Keystores | Trouble:
        if key is None or not certificate.keystore.wanted:
            return Keystores()
        return await self.keystores.make(certificate, pem, key, stored, body)

    async def _replace(self, certificate: ClientCertificate, body: Body) -> Trouble | None:
        kind, name = place_of(certificate)
        try:
            answer = await self.context.cluster.replace(body)
        except RejectedError as error:
            return Trouble(
                Reason.INVALID_SECRET,
                f"{kind.kind} {name} cannot be written: {error} If it is marked as immutable, delete it: it is made "
                "anew.",
            )
        self.context.world.observe(kind, answer, answer=True)
        return None

    async def _unchanged(self, certificate: ClientCertificate, seen: Written) -> Body | None:
        """Return an object if it is still as it was seen; otherwise what is there now is taken in."""
        kind, name = place_of(certificate)
        world = self.context.world
        body = await self.context.cluster.get(kind, certificate.meta.namespace, name)
        if body is None:
            world.written[kind].drop(certificate.meta.namespace, name, seen.version)
            return None
        if int(body["metadata"]["resourceVersion"]) == seen.version:
            return body
        world.observe(kind, body, answer=True)
        return None

    async def _adopt(self, certificate: ClientCertificate) -> Trouble | None:
        """Look at an object of our name that was there already: ours after a crash, or somebody else's."""
        kind, name = place_of(certificate)
        body = await self.context.cluster.get(kind, certificate.meta.namespace, name)
        if body is None:
            return None
        owners = {owner.get("uid") for owner in body["metadata"].get("ownerReferences") or ()}
        if certificate.meta.uid not in owners:
            return conflict(certificate)
        self.context.world.observe(kind, body, answer=True)
        return None


def _where(certificate: ClientCertificate) -> str:
    if certificate.request is not None:
        return "for the request; it is in the status"
    return f"into Secret {certificate.secret_name}"


def _was_in_conflict(certificate: ClientCertificate) -> bool:
    """Say whether the Secret's name was taken when we looked last: then look before using up another index."""
    return any(
        condition.get("type") == ConditionType.ISSUED.value
        and condition.get("reason") in (Reason.SECRET_CONFLICT.value, Reason.CONFIG_CONFLICT.value)
        for condition in conditions_of(certificate.status)
    )


def conflict(certificate: ClientCertificate) -> Trouble:
    """Return the refusal to touch an object that is not the certificate's own."""
    kind, name = place_of(certificate)
    if kind is Kind.CONFIG_MAP:
        return Trouble(
            Reason.CONFIG_CONFLICT,
            f"ConfigMap {name} exists and does not belong to this object: it is left alone. Delete it.",
        )
    return Trouble(
        Reason.SECRET_CONFLICT,
        f"Secret {name} exists and does not belong to this object: it is left alone. Choose another "
        "spec.secretName in a new object, or delete the Secret.",
    )
