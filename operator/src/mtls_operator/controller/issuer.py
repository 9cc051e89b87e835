"""Issues the certificate of one ClientCertificate into its Secret: the durable act, done at most once.

The first write of a Secret is a create, never an apply: a stale view cannot overwrite what was issued (guarantee G3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, RevocationReason, RotationPolicy
from mtls_operator.api.certificate import KeyAlgorithm as RequestedAlgorithm
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import AlreadyExistsError, Body, Kind
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import known
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import Written
from mtls_operator.pki import (
    Authority,
    CertificateFacts,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Subject,
    SubjectAltNames,
    issue_client,
)
from mtls_operator.plan.authority import CERTIFICATE_ROLE, AuthorityUnusableError, certificate_owner
from mtls_operator.plan.certificate import Obstacle, issued_for
from mtls_operator.plan.holder import names_of
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.objects import Document, metadata, secret, secret_value


@dataclass(slots=True)
class Issuer:
    """Signs with the CA of the namespace and writes the Secret."""

    context: Context
    authorities: Authorities

    async def issue(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written | None
    ) -> Obstacle | None:
        """Issue and write the Secret; return what stands in the way (None: it is there, or nobody wants it any more).

        ``seen`` is the Secret as it was last seen; without it, what the status names is recorded first.

        Raises:
            ConflictError: somebody else keeps changing the CA's Secret.
        """
        if tenant.authority is None:
            return tenant.obstacle
        if _was_in_conflict(certificate):
            obstacle = await self._adopt(certificate)
            if obstacle is not None or self._is_there(certificate):
                return obstacle
        former = str(certificate.status.get("serialNumber") or "")
        if former and seen is None:
            await self.remember(certificate, tenant, former)
        signed = await self._signed(certificate, tenant, None)
        if isinstance(signed, Obstacle):
            return signed
        authority, issued = signed
        document = _document(certificate, authority, issued)
        # From here on it may exist: an object that goes before its status names it still revokes it (G3).
        tenant.unreported.setdefault(certificate.meta.uid, {})[issued.facts.serial] = issued.facts.not_after
        present = self.context.world.certificates.get(*certificate.meta.key)
        if present is None or present.meta.uid != certificate.meta.uid:
            tenant.unreported.pop(certificate.meta.uid)
            return None
        try:
            body = await self.context.cluster.create(document)
        except AlreadyExistsError:
            return await self._adopt(certificate)
        self.context.world.observe(Kind.SECRET, body, answer=True)
        self.context.recorder.record(
            names.CERTIFICATE_KIND,
            certificate.meta,
            reason=Reason.ISSUED.value,
            message=f"Issued certificate {issued.facts.serial} into Secret {certificate.secret_name}.",
        )
        return None

    async def renew(
        self, certificate: ClientCertificate, tenant: Tenant, seen: Written, facts: CertificateFacts
    ) -> Obstacle | None:
        """Replace the certificate in the Secret by a new one; the old one is recorded first: it stays valid.

        The Secret is replaced at exactly the version that was read, and only if it still holds the certificate that
        was decided on: whoever else renewed it meanwhile has the last word.

        Raises:
            ConflictError: somebody else is writing the same objects.
        """
        body = await self.context.cluster.get(
            Kind.SECRET, certificate.meta.namespace, certificate.secret_name
        )
        if body is None or (secret_value(body, names.TLS_CERT_KEY) or b"") != seen.certificate.encode():
            if body is not None:
                self.context.world.observe(Kind.SECRET, body, answer=True)
            return Obstacle(Reason.PENDING, f"Secret {certificate.secret_name} was changed meanwhile.")
        await self._retain(certificate, tenant, facts)
        kept = secret_value(body, names.TLS_KEY_KEY) if _keeps_key(certificate, facts) else None
        signed = await self._signed(certificate, tenant, Secret(kept) if kept else None)
        if isinstance(signed, Obstacle):
            return signed
        authority, issued = signed
        tenant.unreported.setdefault(certificate.meta.uid, {})[issued.facts.serial] = issued.facts.not_after
        body = await self.context.cluster.replace(_into(body, _document(certificate, authority, issued)))
        self.context.world.observe(Kind.SECRET, body, answer=True)
        self.context.recorder.record(
            names.CERTIFICATE_KIND,
            certificate.meta,
            reason=Reason.RENEWED.value,
            message=f"Issued certificate {issued.facts.serial} in place of {facts.serial}.",
        )
        return None

    async def _retain(self, certificate: ClientCertificate, tenant: Tenant, facts: CertificateFacts) -> None:
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
        )
        await self.authorities.ledgers.record(tenant, [record])

    async def _signed(
        self, certificate: ClientCertificate, tenant: Tenant, key: Secret | None
    ) -> tuple[Authority, Issued] | Obstacle:
        """Sign with the CA that signs now; ``key``: the one to keep."""
        try:
            wanted = names_of(certificate)  # before an index is used up for what can never be signed
            authority, serial = await self.authorities.allot(tenant)
            url = self._list_of(tenant, authority)
            return authority, await self._sign(certificate, wanted, authority, serial, key, url)
        except AuthorityUnusableError as error:
            return Obstacle(Reason.CA_MISSING, str(error))
        except PkiError as error:
            return Obstacle(Reason(error.reason.value), str(error))

    async def remember(self, certificate: ClientCertificate, tenant: Tenant, serial: str) -> None:
        """Record a certificate whose Secret is gone before a new one replaces it: it is still valid."""
        now = self.context.now().replace(microsecond=0)
        record = known(tenant, certificate, serial, now=now)
        if record is not None:
            await self.authorities.ledgers.record(tenant, [record])

    def _is_there(self, certificate: ClientCertificate) -> bool:
        secrets = self.context.world.written[Kind.SECRET]
        return secrets.get(certificate.meta.namespace, certificate.secret_name) is not None

    def _list_of(self, tenant: Tenant, authority: Authority) -> str:
        """Return the URL of the list of a CA, for what is issued now: another URL is no reason to issue anew."""
        own = (one.generation for one in tenant.generations if one.authority.digest == authority.digest)
        return self.context.settings.crl_url_of(tenant.namespace, next(own))

    async def _sign(  # noqa: PLR0913, PLR0917 - what one certificate is made of
        self,
        certificate: ClientCertificate,
        wanted: _Names,
        authority: Authority,
        serial: int,
        key: Secret | None,
        crl_url: str,
    ) -> Issued:
        """Sign; a new RSA key takes its time and is made off the event loop."""
        subject, alternative_names = wanted
        sign = partial(
            issue_client,
            authority,
            subject=subject,
            sans=alternative_names,
            key=_kind_of_key(certificate) if key is None else key,
            validity=certificate.validity,
            serial=serial,
            now=self.context.now(),
            crl_url=crl_url,
        )
        if key is None and certificate.algorithm is RequestedAlgorithm.RSA:
            return await asyncio.to_thread(sign)
        return sign()

    async def _adopt(self, certificate: ClientCertificate) -> Obstacle | None:
        """Look at a Secret of our name that was there already: ours after a crash, or somebody else's."""
        body = await self.context.cluster.get(
            Kind.SECRET, certificate.meta.namespace, certificate.secret_name
        )
        if body is None:
            return None
        owners = {owner.get("uid") for owner in body["metadata"].get("ownerReferences") or ()}
        if certificate.meta.uid not in owners:
            return conflict(certificate)
        self.context.world.observe(Kind.SECRET, body, answer=True)
        return None


_Names: TypeAlias = tuple[Subject, SubjectAltNames]


def _kind_of_key(certificate: ClientCertificate) -> KeySpec:
    return KeySpec(KeyAlgorithm(certificate.algorithm.value), certificate.key_size)


def _document(certificate: ClientCertificate, authority: Authority, issued: Issued) -> Document:
    """Return the Secret of a certificate."""
    meta = metadata(
        certificate.meta.namespace,
        certificate.secret_name,
        role=CERTIFICATE_ROLE,
        owner=certificate_owner(certificate.meta.name, certificate.meta.uid),
    )
    meta["annotations"] = {names.ISSUED_FOR_ANNOTATION: issued_for(certificate)}
    return secret(
        meta,
        {
            names.TLS_CERT_KEY: issued.certificate_pem,
            names.TLS_KEY_KEY: issued.key_pem,
            names.CA_KEY: authority.certificate_pem,
        },
    )


def _into(body: Body, document: Document) -> Body:
    """Return a Secret as it was read with what is ours replaced; what others added to it stays."""
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    for part in ("labels", "annotations"):
        meta[part] = {**(meta.get(part) or {}), **document["metadata"][part]}
    return {**body, "metadata": meta, "data": {**(body.get("data") or {}), **document["data"]}}


def _keeps_key(certificate: ClientCertificate, facts: CertificateFacts) -> bool:
    """Say whether a renewal keeps the key: it is asked for, and the key is still of the kind that is asked for."""
    wanted = f"{certificate.algorithm.value}-{certificate.key_size}"
    return certificate.rotation_policy is RotationPolicy.NEVER and facts.public_key == wanted


def _was_in_conflict(certificate: ClientCertificate) -> bool:
    """Say whether the Secret's name was taken when we looked last: then look before using up another index."""
    return any(
        condition.get("type") == ConditionType.ISSUED.value
        and condition.get("reason") == Reason.SECRET_CONFLICT.value
        for condition in conditions_of(certificate.status)
    )


def conflict(certificate: ClientCertificate) -> Obstacle:
    """Return the refusal to touch a Secret that is not the object's own."""
    return Obstacle(
        Reason.SECRET_CONFLICT,
        f"Secret {certificate.secret_name} exists and does not belong to this object: it is left alone. Choose "
        "another spec.secretName in a new object, or delete the Secret.",
    )
