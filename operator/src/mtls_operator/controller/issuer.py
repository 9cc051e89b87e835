"""Issues the certificate of one ClientCertificate into its Secret: the durable act, done at most once.

The first write of a Secret is a create, never an apply: a stale view cannot overwrite what was issued (guarantee G3).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.certificate import KeyAlgorithm as RequestedAlgorithm
from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cluster import AlreadyExistsError, Kind
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import known
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import Written
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Subject,
    SubjectAltNames,
    issue_client,
)
from mtls_operator.plan.authority import CERTIFICATE_ROLE, AuthorityUnusableError, certificate_owner
from mtls_operator.plan.certificate import Obstacle
from mtls_operator.plan.holder import names_of
from mtls_operator.plan.objects import metadata, secret


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
        authority = tenant.authority
        if authority is None:
            return tenant.obstacle
        if _was_in_conflict(certificate):
            obstacle = await self._adopt(certificate)
            if obstacle is not None or self._is_there(certificate):
                return obstacle
        former = str(certificate.status.get("serialNumber") or "")
        if former and seen is None:
            await self.remember(certificate, tenant, former)
        try:
            names_wanted = names_of(certificate)  # before an index is used up for what can never be signed
            serial = await self.authorities.next_serial(tenant)
            issued = await self._sign(certificate, names_wanted, authority, serial)
        except AuthorityUnusableError as error:
            return Obstacle(Reason.CA_MISSING, str(error))
        except PkiError as error:
            return Obstacle(Reason(error.reason.value), str(error))
        document = secret(
            metadata(
                certificate.meta.namespace,
                certificate.secret_name,
                role=CERTIFICATE_ROLE,
                owner=certificate_owner(certificate.meta.name, certificate.meta.uid),
            ),
            {
                names.TLS_CERT_KEY: issued.certificate_pem,
                names.TLS_KEY_KEY: issued.key_pem,
                names.CA_KEY: authority.certificate_pem,
            },
        )
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

    async def remember(self, certificate: ClientCertificate, tenant: Tenant, serial: str) -> None:
        """Record a certificate whose Secret is gone before a new one replaces it: it is still valid."""
        now = self.context.now().replace(microsecond=0)
        record = known(tenant, certificate, serial, now=now)
        if record is not None:
            await self.authorities.ledgers.record(tenant, [record])

    def _is_there(self, certificate: ClientCertificate) -> bool:
        secrets = self.context.world.written[Kind.SECRET]
        return secrets.get(certificate.meta.namespace, certificate.secret_name) is not None

    async def _sign(
        self, certificate: ClientCertificate, wanted: _Names, authority: Authority, serial: int
    ) -> Issued:
        """Sign; an RSA key takes its time and is made off the event loop."""
        if certificate.algorithm is RequestedAlgorithm.RSA:
            return await asyncio.to_thread(_sign, certificate, wanted, authority, serial, self.context)
        return _sign(certificate, wanted, authority, serial, self.context)

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


def _sign(
    certificate: ClientCertificate, wanted: _Names, authority: Authority, serial: int, context: Context
) -> Issued:
    subject, alternative_names = wanted
    return issue_client(
        authority,
        subject=subject,
        sans=alternative_names,
        key=KeySpec(KeyAlgorithm(certificate.algorithm.value), certificate.key_size),
        validity=certificate.validity,
        serial=serial,
        now=context.now(),
    )


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
