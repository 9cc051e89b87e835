"""One CA certificate that a user brings: what is worth knowing of it, and whether it may be trusted at all.

Who trusts it, and how it stands to other certificates, is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from mtls_operator.pki.certificate import find_extension, fingerprint
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import rfc3339, utc
from mtls_operator.pki.keys import LARGEST_EXPONENT_BITS, LARGEST_RSA, SMALLEST_RSA, describe_key, key_digest
from mtls_operator.pki.subject import name_text

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
#: Critical extensions that the proxy understands; it refuses every chain with another one (RFC 5280, 4.2).
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)
#: What old roots are signed with; the library no longer verifies such signatures in certificates.
_OLD_RSA: Final = {
    SignatureAlgorithmOID.RSA_WITH_MD5: hashes.MD5(),  # noqa: S303 - only to recognise a root
    SignatureAlgorithmOID.RSA_WITH_SHA1: hashes.SHA1(),  # noqa: S303 - only to recognise a root
}
_FOR_CLIENTS: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


class Refusal(StrEnum):
    """Why a certificate of a bundle is not trusted."""

    UNREADABLE = "Unreadable"
    NOT_A_CERTIFICATE = "NotACertificate"
    TOO_MANY = "TooMany"
    VERSION_1 = "Version1"
    NOT_A_CA = "NotACA"
    NO_CERT_SIGN = "NoKeyCertSign"
    NOT_FOR_CLIENTS = "NotForClients"
    WEAK_KEY = "WeakKey"
    WEAK_SIGNATURE = "WeakSignature"
    UNKNOWN_CRITICAL_EXTENSION = "UnknownCriticalExtension"
    EXPIRED = "Expired"
    NOT_YET_VALID = "NotYetValid"
    DUPLICATE = "Duplicate"
    SAME_KEY_IDENTIFIER = "SameKeyIdentifier"
    PATH_LENGTH = "PathLength"
    MANAGED = "Managed"


class UntrustedError(Exception):
    """A certificate may not be trusted: the reason, and a sentence without its subject."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class TrustedCa:
    """A CA certificate: ``index`` is its place in its file from 1, ``path`` what is above it there.

    ``digest`` is what Envoy gives as ``sha256PeerCertificateIssuerDigest()`` for what it issued. Two certificates
    with one ``key_digest`` are one CA to everybody who checks a signature. ``path`` holds the digests of its
    issuers in the file, the nearest first; ``rooted`` says that it ends with a self-signed one.
    """

    index: int
    certificate_pem: str
    digest: str
    key_digest: str
    subject: str
    ski: str
    not_before: datetime
    not_after: datetime
    self_signed: bool
    certificate: x509.Certificate = field(repr=False, compare=False)
    path: tuple[str, ...] = ()
    rooted: bool = False


def trusted_ca(certificate: x509.Certificate, *, index: int = 1) -> TrustedCa:
    """Return the facts of a CA certificate without judging it; raise `PkiError` if any cannot be read."""
    identifier = find_extension(certificate, x509.SubjectKeyIdentifier)
    with refusing(Reason.INVALID_CA_CERTIFICATE, "the certificate cannot be read"):
        rooted = _signed_itself(certificate)
        return TrustedCa(
            index=index,
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            digest=fingerprint(certificate),
            key_digest=key_digest(certificate.public_key()),
            subject=name_text(certificate.subject),
            ski=identifier.digest.hex().upper() if identifier is not None else "",
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            self_signed=rooted,
            certificate=certificate,
            rooted=rooted,
        )


def is_issuer(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Say whether the names agree and the key of one signed the other."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _signed_itself(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is a root; its own signature may be of any age, as it is no reason to trust it."""
    if certificate.issuer != certificate.subject:
        return False
    if is_issuer(certificate, certificate):
        return True
    key, digest = certificate.public_key(), _OLD_RSA.get(certificate.signature_algorithm_oid)
    if not isinstance(key, rsa.RSAPublicKey) or digest is None:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True


def require_checkable(certificate: x509.Certificate) -> None:
    """Raise `UntrustedError` for a key with which it takes long to check a signature, `PkiError` for an unreadable one.

    To be asked before any signature is checked: whoever writes the file chooses the key, and how many there are.
    """
    with refusing(Reason.INVALID_CA_CERTIFICATE, "its public key cannot be read"):
        key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return
    if key.key_size > LARGEST_RSA:
        raise _weak(key)
    if key.public_numbers().e.bit_length() > LARGEST_EXPONENT_BITS:
        raise UntrustedError(
            Refusal.WEAK_KEY,
            f"has an RSA key with a public exponent of more than {LARGEST_EXPONENT_BITS} bits, which the proxy refuses",
        )


def require_trustworthy(ca: TrustedCa, *, now: datetime) -> None:
    """Raise `UntrustedError` for what may not be trusted by itself, `PkiError` for what cannot be read.

    The rules are those of RFC 5280, 6.1 for a CA, with the strengths that Cloudflare wants of an uploaded one: RSA
    from 2048 bits or ECDSA from P-256, no SHA-1 or MD5 signature but on a self-signed root, where it means nothing.
    """
    certificate = ca.certificate
    if certificate.version is not x509.Version.v3:
        raise UntrustedError(Refusal.VERSION_1, "is of version 1, which cannot say that it is a CA")
    _require_usages(certificate)
    _require_strength(ca)
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise UntrustedError(
                Refusal.UNKNOWN_CRITICAL_EXTENSION,
                f"has the critical extension {extension.oid.dotted_string}, which the proxy does not know",
            )
    moment = utc(now)
    if moment >= ca.not_after:
        raise UntrustedError(Refusal.EXPIRED, f"expired at {rfc3339(ca.not_after)}")
    if moment < ca.not_before:
        raise UntrustedError(Refusal.NOT_YET_VALID, f"is valid from {rfc3339(ca.not_before)} on")


def _require_usages(certificate: x509.Certificate) -> None:
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise UntrustedError(Refusal.NOT_A_CA, "is not a CA (no basicConstraints CA:TRUE): trust its issuer")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise UntrustedError(
            Refusal.NO_CERT_SIGN, "may not sign certificates (keyUsage keyCertSign is missing)"
        )
    purposes = find_extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not _FOR_CLIENTS & set(purposes):
        raise UntrustedError(
            Refusal.NOT_FOR_CLIENTS, "is limited to other purposes (extendedKeyUsage without clientAuth)"
        )


def _require_strength(ca: TrustedCa) -> None:
    key = ca.certificate.public_key()
    strong = (
        (isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA <= key.key_size <= LARGEST_RSA)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES))
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not strong:
        raise _weak(key)
    digest = _signature_digest(ca.certificate)
    if not ca.self_signed and digest:
        raise UntrustedError(
            Refusal.WEAK_SIGNATURE, f"is signed with {digest}: only SHA-256, SHA-384 and SHA-512 are trusted"
        )


def _weak(key: CertificatePublicKeyTypes) -> UntrustedError:
    return UntrustedError(
        Refusal.WEAK_KEY,
        f"has a key of the kind {describe_key(key)}: RSA with {SMALLEST_RSA} to {LARGEST_RSA} bits, ECDSA on "
        "P-256, P-384 or P-521, and Ed25519 are trusted",
    )


def _signature_digest(certificate: x509.Certificate) -> str:
    """Return the name of the digest of a signature if it is not one of the strong ones, else an empty text."""
    if certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
        return ""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"the algorithm {certificate.signature_algorithm_oid.dotted_string}"
    if isinstance(digest, _DIGESTS):
        return ""
    return digest.name.upper() if digest is not None else "an unknown digest"


def unreadable(error: PkiError) -> UntrustedError:
    """Return the refusal of what could not be read."""
    return UntrustedError(Refusal.UNREADABLE, f"cannot be used: {error.message.rstrip('.')}")
