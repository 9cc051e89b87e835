"""Certificates that this project would not make: CAs of others, with everything about them to choose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from mtls_operator.api.secret import Secret

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
_SERIALS = count(1000)


@dataclass(frozen=True)
class Ca:
    """A CA of somebody else."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def digest(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_pem(self) -> Secret:
        return Secret(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*, sign: bool = True, lists: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=lists,
        encipher_only=False,
        decipher_only=False,
    )


def make_ca(
    subject: str = "Partner CA",
    *,
    issuer: Ca | None = None,
    key: Any = None,
    basic: x509.BasicConstraints | None = x509.BasicConstraints(ca=True, path_length=None),  # noqa: B008 - frozen
    key_usage: x509.KeyUsage | None = usage(),  # noqa: B008 - frozen
    ski: bytes | None = b"",
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    start: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
    digest: hashes.HashAlgorithm | None = None,
) -> Ca:
    """Make a CA certificate, self-signed unless it has an issuer; an empty ``ski`` is the hash of the key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer.certificate.subject if issuer else name(subject))
        .public_key(key.public_key())
        .serial_number(next(_SERIALS))
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if basic is not None:
        builder = builder.add_extension(basic, critical=True)
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    if ski is not None:
        value = (
            x509.SubjectKeyIdentifier(ski)
            if ski
            else x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        )
        builder = builder.add_extension(value, critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    chosen = None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return Ca(builder.sign(signer, chosen), key)


def limited(length: int | None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=True, path_length=length)
