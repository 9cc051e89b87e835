"""Whether a stored certificate and a stored private key are a pair: asked of every Secret that is seen."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from mtls_operator.api.secret import Secret
from mtls_operator.pki.certificate import parse_certificate
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.keys import describe_key, key_digest, load_key, public_bytes


def is_pair(certificate_pem: bytes | str, key_pem: Secret) -> bool:
    """Say whether a private key belongs to the first certificate of a PEM; False for anything that cannot be read."""
    try:
        public = _public_key_of(certificate_pem)
        return public_bytes(load_key(key_pem).public_key()) == public_bytes(public)
    except PkiError:
        return False


def key_digest_of(certificate_pem: bytes | str) -> str:
    """Return the SHA-256 of the public key of the first certificate of a PEM; raise `PkiError` if it cannot be read."""
    return key_digest(_public_key_of(certificate_pem))


def digest_of_key(key_pem: Secret) -> str:
    """Return the SHA-256 of the public key of a stored private key; raise `PkiError` if it is not usable."""
    return key_digest(load_key(key_pem).public_key())


def kind_of_key(key_pem: Secret) -> str:
    """Return the kind of a stored private key in words, as ``ECDSA-256``; raise `PkiError` if it is not usable."""
    return describe_key(load_key(key_pem).public_key())


def _public_key_of(certificate_pem: bytes | str) -> CertificatePublicKeyTypes:
    certificate = parse_certificate(certificate_pem)
    with refusing(Reason.INVALID_CERTIFICATE, "the public key of the certificate cannot be read"):
        return certificate.public_key()
