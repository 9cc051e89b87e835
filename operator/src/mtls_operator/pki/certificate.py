"""What is worth knowing of a certificate, in the forms that Envoy, Cloudflare's fields and people use.

Reading is not verifying: facts are claims of whoever made the certificate until its chain is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtensionOID

from mtls_operator.pki.errors import Reason, refusing
from mtls_operator.pki.keys import describe_key
from mtls_operator.pki.serial import format_serial, has_index, index_of
from mtls_operator.pki.subject import name_text

_UNREADABLE: Final = "the certificate cannot be read"
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Facts of one certificate; a name or identifier that it does not have is an empty text or tuple.

    ``serial``, ``ski`` and ``issuer_ski`` are upper-case hex, ``fingerprint_sha256`` is lower-case hex,
    ``subject`` and ``issuer_subject`` are Envoy's RFC 2253 texts, times are UTC. ``index`` says only that
    the serial has the *shape* of an indexed one; it means something for certificates of our own CAs alone.
    """

    serial: str
    index: int | None
    fingerprint_sha256: str
    subject: str
    issuer_subject: str
    ski: str
    issuer_ski: str
    not_before: datetime
    not_after: datetime
    public_key: str
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    emails: tuple[str, ...]
    ip_addresses: tuple[str, ...]


def to_bytes(pem: bytes | str) -> bytes:
    """Return PEM text as bytes; what is not ASCII never is part of a PEM block."""
    return pem if isinstance(pem, bytes) else pem.encode(errors="replace")


def parse_certificate(pem: bytes | str) -> x509.Certificate:
    """Return the first certificate of a PEM; raise `PkiError` if there is none that can be parsed."""
    with refusing(Reason.INVALID_CERTIFICATE, _UNREADABLE):
        return x509.load_pem_x509_certificate(to_bytes(pem))


def read_certificate(pem: bytes | str) -> CertificateFacts:
    """Return the facts of the first certificate of a PEM; raise `PkiError` if any of them cannot be read."""
    return facts_of(parse_certificate(pem))


def plain_pem(pem: bytes | str) -> str:
    """Return the first certificate of a PEM and nothing else, as everything issued is written; `PkiError` as above."""
    certificate = parse_certificate(pem)
    with refusing(Reason.INVALID_CERTIFICATE, _UNREADABLE):
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """Return the facts of a parsed certificate; raise `PkiError` if any of them cannot be read."""
    with refusing(Reason.INVALID_CERTIFICATE, _UNREADABLE):
        return _facts(certificate)


def find_extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return an extension's value, None where there is none; raise `PkiError` if it cannot be read."""
    with refusing(Reason.INVALID_CERTIFICATE, _UNREADABLE):
        try:
            return certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the DER in lower-case hex: Envoy's ``sha256PeerCertificateDigest()``."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    serial = certificate.serial_number
    values = {extension.oid: extension.value for extension in certificate.extensions}
    ski = values.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    aki = values.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    sans = values.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    names = sans if isinstance(sans, x509.SubjectAlternativeName) else x509.SubjectAlternativeName([])
    return CertificateFacts(
        serial=format_serial(serial),
        index=index_of(serial) if has_index(serial) else None,
        fingerprint_sha256=fingerprint(certificate),
        subject=name_text(certificate.subject),
        issuer_subject=name_text(certificate.issuer),
        ski=ski.digest.hex().upper() if isinstance(ski, x509.SubjectKeyIdentifier) else "",
        issuer_ski=(aki.key_identifier or b"").hex().upper()
        if isinstance(aki, x509.AuthorityKeyIdentifier)
        else "",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        public_key=describe_key(certificate.public_key()),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)),
        ip_addresses=tuple(map(str, names.get_values_for_type(x509.IPAddress))),
    )
