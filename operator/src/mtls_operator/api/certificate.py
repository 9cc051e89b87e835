"""ClientCertificate: one client's certificate, its life and its end."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mtls_operator.api import limits, names
from mtls_operator.api.authorship import writer_of
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import Fields, fields_of
from mtls_operator.api.keystore import NO_KEYSTORE, Keystore, parse_keystore
from mtls_operator.api.meta import Meta, parse_meta
from mtls_operator.api.timestamp import parse_timestamp


class KeyAlgorithm(StrEnum):
    """What kind of private key is made."""

    ECDSA = "ECDSA"
    RSA = "RSA"


class RotationPolicy(StrEnum):
    """Whether a renewal makes a new key."""

    ALWAYS = "Always"
    NEVER = "Never"


class RenewalPolicy(StrEnum):
    """Whether a certificate is replaced before it expires."""

    AUTO = "Auto"
    NEVER = "Never"


class DeletionPolicy(StrEnum):
    """What deleting the object does to its certificate."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


class RevocationReason(StrEnum):
    """Why a certificate was revoked: the reasons of RFC 5280, 5.3.1, but removeFromCRL."""

    UNSPECIFIED = "Unspecified"
    KEY_COMPROMISE = "KeyCompromise"
    CA_COMPROMISE = "CACompromise"
    AFFILIATION_CHANGED = "AffiliationChanged"
    SUPERSEDED = "Superseded"
    CESSATION_OF_OPERATION = "CessationOfOperation"
    CERTIFICATE_HOLD = "CertificateHold"
    PRIVILEGE_WITHDRAWN = "PrivilegeWithdrawn"
    AA_COMPROMISE = "AACompromise"


#: After these nobody may trust the key again: such a revocation is final.
FINAL_REASONS: Final = frozenset({RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE})


class CertificateState(StrEnum):
    """Where a certificate stands, in Cloudflare's words for client certificates plus Expired and Failed."""

    PENDING = "Pending"
    ACTIVE = "Active"
    PENDING_REVOCATION = "PendingRevocation"
    REVOKED = "Revoked"
    PENDING_REACTIVATION = "PendingReactivation"
    EXPIRED = "Expired"
    FAILED = "Failed"


KEY_SIZES: Final[Mapping[KeyAlgorithm, tuple[int, ...]]] = {
    KeyAlgorithm.ECDSA: (256, 384),
    KeyAlgorithm.RSA: (2048, 3072, 4096),
}
DEFAULT_KEY_SIZE: Final = 256
DEFAULT_VALIDITY: Final = timedelta(hours=8760)


@dataclass(frozen=True, slots=True)
class CertificateSubject:
    """The parts of the subject name, each in the order written."""

    common_name: str | None = None
    organizations: tuple[str, ...] = ()
    organizational_units: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    localities: tuple[str, ...] = ()
    provinces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """When a certificate is replaced; ``before`` None: a third of its validity before its end.

    ``revoke_old_after`` None: the old certificate stays valid until its own end.
    """

    policy: RenewalPolicy = RenewalPolicy.AUTO
    before: timedelta | None = None
    revoke_old_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A ClientCertificate as its author wants it, defaults applied.

    ``request`` is a PEM signing request, None where the key is made here: then the certificate is written into a
    Secret, otherwise into the status alone. ``renew_at`` is when somebody wants it replaced out of turn.
    ``revoked_through`` is the program that wrote ``revoked`` last. ``status`` is what was written last, as it is.
    """

    meta: Meta
    subject: CertificateSubject
    secret_name: str
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    validity: timedelta = DEFAULT_VALIDITY
    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA
    key_size: int = DEFAULT_KEY_SIZE
    rotation_policy: RotationPolicy = RotationPolicy.ALWAYS
    request: str | None = None
    keystore: Keystore = NO_KEYSTORE
    renewal: Renewal = Renewal()
    revoked: bool = False
    revoked_through: str = ""
    revocation_reason: RevocationReason = RevocationReason.UNSPECIFIED
    deletion_policy: DeletionPolicy = DeletionPolicy.REVOKE
    renew_at: datetime | None = None
    status: Mapping[str, object] = field(default_factory=dict, hash=False)


def parse_certificate(body: Mapping[str, object]) -> ClientCertificate:
    """Read a ClientCertificate.

    Raises:
        InvalidSpec: a field does not fit, is not known or is not supported yet. The revocation
            that such an object asks for still counts: see ``asks_for_revocation``.
    """
    meta = parse_meta(body)
    spec = fields_of(body, path="").child("spec")
    spec.only(_KNOWN)
    request = _request(spec, object_name=meta.name)
    algorithm, key_size, rotation_policy = _private_key(spec.child("privateKey"))
    validity = spec.duration(
        "validity", default=DEFAULT_VALIDITY, minimum=limits.MIN_VALIDITY, maximum=limits.MAX_VALIDITY
    )
    secret_name = meta.name if request is not None else _secret_name(spec, object_name=meta.name)
    certificate = ClientCertificate(
        meta=meta,
        subject=_subject(spec.child("subject")),
        secret_name=secret_name,
        dns_names=spec.texts("dnsNames", limits.CLIENT_DNS_NAME, maximum=limits.ALTERNATIVE_NAMES),
        uris=spec.texts("uris", limits.URI, maximum=limits.ALTERNATIVE_NAMES),
        emails=spec.texts("emails", limits.EMAIL, maximum=limits.ALTERNATIVE_NAMES),
        ip_addresses=_ip_addresses(spec),
        validity=validity,
        algorithm=algorithm,
        key_size=key_size,
        rotation_policy=rotation_policy,
        request=request,
        keystore=parse_keystore(spec.child("keystore"), secret_name=secret_name),
        renewal=_renewal(spec.child("renewal"), validity),
        revoked=spec.flag("revoked", default=False),
        revoked_through=writer_of(body, "revoked"),
        revocation_reason=spec.choice(
            "revocationReason", RevocationReason, default=RevocationReason.UNSPECIFIED
        ),
        deletion_policy=spec.choice("deletionPolicy", DeletionPolicy, default=DeletionPolicy.REVOKE),
        renew_at=_renew_at(body),
        status=fields_of(body, path="").child("status").values,
    )
    if request is None and not _is_named(certificate):
        raise InvalidSpec(
            "spec", "needs subject.commonName or at least one of dnsNames, uris, emails and ipAddresses"
        )
    return certificate


def asks_for_revocation(body: Mapping[str, object]) -> bool:
    """Say whether an object asks for its certificate to be revoked, whatever else in it cannot be read.

    Only a missing, null or false ``spec.revoked`` is a no: an object damaged beyond ``parse_certificate``
    must not keep a revocation from being recorded.
    """
    spec = body.get("spec")
    return isinstance(spec, Mapping) and spec.get("revoked") not in (None, False)


_KNOWN: Final = (
    "subject",
    "dnsNames",
    "uris",
    "emails",
    "ipAddresses",
    "validity",
    "privateKey",
    "request",
    "secretName",
    "keystore",
    "renewal",
    "revoked",
    "revocationReason",
    "deletionPolicy",
)


#: Where the key stays with its owner there is no Secret, and so nothing to say about one.
_OF_THE_SECRET: Final = ("privateKey", "secretName", "keystore")


def _request(spec: Fields, *, object_name: str) -> str | None:
    request = spec.string("request")
    if request is None:
        return None
    limits.REQUEST.check(request, path=spec.at("request"))
    for name in _OF_THE_SECRET:
        if spec.has(name):
            raise InvalidSpec(
                spec.at(name),
                "must not be given with request: the key stays with its owner, no Secret is made",
            )
    if len(object_name) > limits.REQUEST_NAME_LENGTH:
        raise InvalidSpec(
            "metadata.name", f"must be at most {limits.REQUEST_NAME_LENGTH} characters long with spec.request"
        )
    return request


def _subject(subject: Fields) -> CertificateSubject:
    subject.only(
        ("commonName", "organizations", "organizationalUnits", "countries", "localities", "provinces")
    )
    most = limits.SUBJECT_VALUES
    return CertificateSubject(
        common_name=subject.text("commonName", limits.SHORT_NAME),
        organizations=subject.texts("organizations", limits.SHORT_NAME, maximum=most),
        organizational_units=subject.texts("organizationalUnits", limits.SHORT_NAME, maximum=most),
        countries=subject.texts("countries", limits.COUNTRY, maximum=most),
        localities=subject.texts("localities", limits.LONG_NAME, maximum=most),
        provinces=subject.texts("provinces", limits.LONG_NAME, maximum=most),
    )


def _renewal(renewal: Fields, validity: timedelta) -> Renewal:
    renewal.only(("policy", "before", "revokeOldAfter"))
    before = renewal.optional_duration("before", minimum=limits.MIN_RENEWAL, maximum=limits.MAX_VALIDITY)
    if before is not None and before >= validity:
        raise InvalidSpec(renewal.at("before"), "must be shorter than spec.validity")
    return Renewal(
        policy=renewal.choice("policy", RenewalPolicy, default=RenewalPolicy.AUTO),
        before=before,
        revoke_old_after=renewal.optional_duration(
            "revokeOldAfter", minimum=timedelta(0), maximum=limits.MAX_VALIDITY
        ),
    )


def _renew_at(body: Mapping[str, object]) -> datetime | None:
    """Read the annotation; one that is no time asks for nothing: it is no part of the spec, which stays valid."""
    annotations = fields_of(body, path="").child("metadata").child("annotations").values
    try:
        return parse_timestamp(str(annotations.get(names.RENEW_ANNOTATION) or ""))
    except ValueError:
        return None


def _private_key(key: Fields) -> tuple[KeyAlgorithm, int, RotationPolicy]:
    key.only(("algorithm", "size", "rotationPolicy"))
    algorithm = key.choice("algorithm", KeyAlgorithm, default=KeyAlgorithm.ECDSA)
    size = key.integer("size", default=DEFAULT_KEY_SIZE, minimum=0, maximum=2**31 - 1)
    if size not in KEY_SIZES[algorithm]:
        sizes = ", ".join(str(known) for known in KEY_SIZES[algorithm])
        raise InvalidSpec(key.at("size"), f"must be one of {sizes} for {algorithm.value}")
    return algorithm, size, key.choice("rotationPolicy", RotationPolicy, default=RotationPolicy.ALWAYS)


def _secret_name(spec: Fields, *, object_name: str) -> str:
    name = spec.text("secretName", limits.SECRET_NAME)
    if name is None:
        return limits.SECRET_NAME.check(object_name, path="metadata.name")
    return name


def _ip_addresses(spec: Fields) -> tuple[str, ...]:
    addresses = spec.texts("ipAddresses", limits.IP_ADDRESS, maximum=limits.ALTERNATIVE_NAMES)
    for index, text in enumerate(addresses):
        if not _is_address(text):
            raise InvalidSpec(f"{spec.at('ipAddresses')}[{index}]", f"must be {limits.IP_ADDRESS.wanted}")
    return addresses


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == 4 or address.ipv4_mapped is None  # noqa: PLR2004 - the version is the constant


def _is_named(certificate: ClientCertificate) -> bool:
    others = (certificate.dns_names, certificate.uris, certificate.emails, certificate.ip_addresses)
    return certificate.subject.common_name is not None or any(others)
