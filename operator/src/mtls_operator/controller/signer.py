"""Signs client certificates with the CA of a namespace: the one place where a serial number is used up.

Policy and quota are asked here, before every signature; what was signed already is never asked about again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from mtls_operator.api import names
from mtls_operator.api.certificate import (
    FINAL_REASONS,
    ClientCertificate,
    RotationPolicy,
)
from mtls_operator.api.certificate import KeyAlgorithm as RequestedAlgorithm
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Body
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.contents import value_of
from mtls_operator.controller.context import Context
from mtls_operator.controller.limits import LimitReachedError, Limits
from mtls_operator.controller.seen_certificates import facts_of, is_signed
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.terms import Terms
from mtls_operator.pki import (
    CertificateFacts,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Request,
    digest_of_key,
    index_in,
    is_pair,
    issue_client,
    issue_client_from_request,
    key_digest_of,
    kind_of_key,
    plain_pem,
    read_certificate,
)
from mtls_operator.plan.authority import AuthorityUnusableError, Stored
from mtls_operator.plan.holder import names_of, own_names, request_of
from mtls_operator.plan.ledger import Entry
from mtls_operator.plan.trouble import Trouble

_T = TypeVar("_T", Trouble, Trouble | None)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate, the generation of the CA that signed it, and its key (None: its owner has it)."""

    pem: str
    stored: Stored
    facts: CertificateFacts
    key: Secret | None


@dataclass(slots=True)
class Signer:
    """Signs; writes nothing but the reservation of serial numbers."""

    context: Context
    authorities: Authorities
    terms: Terms = field(init=False)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.terms, self.limits = Terms(self.context), Limits(self.context)

    async def sign(
        self, certificate: ClientCertificate, tenant: Tenant, *, stored: Body | None
    ) -> Made | Trouble:
        """Sign with the CA that signs now; ``stored`` may hold a key that is to be kept.

        Raises:
            ConflictError: somebody else keeps changing the CA's Secret.
        """
        try:
            refusal = self.terms.refusal(certificate, tenant)  # before an index is used up for nothing
            if refusal is None:
                refusal = self._limited(self.limits.refusal(certificate, tenant))
            if refusal is not None:
                return refusal
            request = request_of(certificate)
            if request is not None and _is_compromised(certificate, request, tenant):
                return _COMPROMISED_REQUEST
            kept = self._kept_key(certificate, tenant, stored)
            if kept is not None and digest_of_key(kept) in tenant.compromised:
                return _COMPROMISED_SECRET
            active, serial = await self.authorities.allot(tenant)
            if request is not None:
                return self._for_request(certificate, request, tenant, active, serial)
            return await self._with_key(certificate, tenant, active, serial, kept=kept)
        except LimitReachedError as error:
            return self._limited(error.obstacle)
        except AuthorityUnusableError as error:
            return Trouble(Reason.CA_MISSING, str(error))
        except PkiError as error:
            return Trouble(Reason(error.reason.value), str(error))

    def _limited(self, obstacle: _T) -> _T:
        """Count a refusal because of a limit."""
        if obstacle is not None:
            self.authorities.refused[obstacle.reason.value] += 1
        return obstacle

    def kept(self, certificate: ClientCertificate, tenant: Tenant) -> Made | None:
        """Return what the status has for a request, if that is what was issued: nothing is signed twice."""
        pem = str(certificate.status.get("certificate") or "")
        if certificate.request is None or not pem:
            return None
        stored = self.signed_by_us(tenant, pem)
        try:
            facts, request = read_certificate(pem), request_of(certificate)
            fits = request is not None and key_digest_of(pem) == request.key_digest
        except PkiError:
            return None
        if stored is None or not fits or facts.serial != certificate.status.get("serialNumber"):
            return None
        return Made(plain_pem(pem), stored, facts, None)

    @staticmethod
    def signed_by_us(tenant: Tenant, certificate_pem: str) -> Stored | None:
        """Return the generation of the CA that signed a certificate, also one that counts no more.

        With a CA that was given to us somebody else may have signed, too: what no list of ours could name is not ours.
        """
        for stored in reversed(tenant.generations):
            if is_signed(stored.authority.certificate_pem, certificate_pem):
                return stored if not stored.given_by or _is_in(stored, certificate_pem) else None
        return None

    def _for_request(
        self,
        certificate: ClientCertificate,
        request: Request,
        tenant: Tenant,
        active: Stored,
        serial: int,
    ) -> Made:
        subject, alternative_names = own_names(certificate)
        issued = issue_client_from_request(
            active.authority,
            request,
            validity=certificate.validity,
            serial=serial,
            now=self.context.now(),
            subject=subject,
            sans=alternative_names,
            crl_url=self.context.settings.crl_url_of(tenant.namespace, active.generation),
        )
        return Made(issued.certificate_pem, active, issued.facts, None)

    async def _with_key(
        self,
        certificate: ClientCertificate,
        tenant: Tenant,
        active: Stored,
        serial: int,
        *,
        kept: Secret | None,
    ) -> Made:
        """Sign; RSA keys take their time to make, and do so off the event loop."""
        subject, alternative_names = names_of(certificate)
        url = self.context.settings.crl_url_of(tenant.namespace, active.generation)

        def sign() -> Issued:
            new = KeySpec(KeyAlgorithm(certificate.algorithm.value), certificate.key_size)
            return issue_client(
                active.authority,
                subject=subject,
                sans=alternative_names,
                key=new if kept is None else kept,
                validity=certificate.validity,
                serial=serial,
                now=self.context.now(),
                crl_url=url,
            )

        slow = kept is None and certificate.algorithm is RequestedAlgorithm.RSA
        issued = await asyncio.to_thread(sign) if slow else sign()
        return Made(issued.certificate_pem, active, issued.facts, issued.key_pem)

    def _kept_key(self, certificate: ClientCertificate, tenant: Tenant, stored: Body | None) -> Secret | None:
        """Return the key in a Secret that a new certificate keeps; None: a new one is made."""
        if (
            stored is None
            or certificate.rotation_policy is RotationPolicy.ALWAYS
            or certificate.request is not None
        ):
            return None
        return self._key_to_keep(certificate, tenant, stored)

    def _key_to_keep(self, certificate: ClientCertificate, tenant: Tenant, stored: Body) -> Secret | None:
        """Return the key of a Secret while it is of the kind that is asked for.

        Never when a certificate lies beside it that is not ours or not its own: then somebody put it there.
        """
        key = Secret(value_of(stored, names.TLS_KEY_KEY))
        try:
            if kind_of_key(key) != f"{certificate.algorithm.value}-{certificate.key_size}":
                return None
        except PkiError:
            return None
        beside = value_of(stored, names.TLS_CERT_KEY)
        try:
            read_certificate(beside)
        except PkiError:
            return key
        ours = self.signed_by_us(tenant, beside.decode("ascii", "replace")) is not None
        return key if ours and is_pair(beside, key) else None


def _is_in(stored: Stored, certificate_pem: str) -> bool:
    """Say whether the serial number of a certificate is one that a generation gives out."""
    facts = facts_of(certificate_pem)
    index = index_in(facts.serial) if facts is not None else None
    return index is not None and index >= stored.first_index


_COMPROMISED_SECRET = Trouble(
    Reason.COMPROMISED_KEY,
    "The key in the Secret is known to be compromised, and privateKey.rotationPolicy: Never keeps it: set it to Always "
    "for a new key.",
)
_COMPROMISED_REQUEST = Trouble(
    Reason.COMPROMISED_KEY,
    "The key of the request is known to be compromised: make a new key, and a new ClientCertificate with its request.",
)


def _is_compromised(certificate: ClientCertificate, request: Request, tenant: Tenant) -> bool:
    """Say whether the key of a request is compromised: by a certificate of it, or of this object, which has but one."""
    if request.key_digest in tenant.compromised:
        return True
    records = (tenant.ledger.get(serial) for serial in tenant.owned.get(certificate.meta.uid, {}))
    return any(
        record is not None and record.entry is Entry.REVOKED and record.reason in FINAL_REASONS
        for record in records
    )
