"""Who signed a certificate: by its signature, never by names or key identifiers, which anybody can choose."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature

from mtls_operator.pki.authority import Authority
from mtls_operator.pki.certificate import parse_certificate
from mtls_operator.pki.errors import PkiError


def is_issued_by(authority: Authority, certificate_pem: bytes | str) -> bool:
    """Say whether a CA signed the first certificate of a PEM; False for anything that cannot be read."""
    return is_signed_by(authority.certificate_pem, certificate_pem)


def is_signed_by(ca_pem: str, certificate_pem: bytes | str) -> bool:
    """Say whether the key of the first certificate of a PEM signed that of another; False for what cannot be read."""
    try:
        certificate = parse_certificate(certificate_pem)
        certificate.verify_directly_issued_by(parse_certificate(ca_pem))
    except (PkiError, InvalidSignature, ValueError, TypeError):
        return False
    return True
