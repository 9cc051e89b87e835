"""A partner with a CA of its own: its clients' certificates, and its revocation lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clients import Identity, leaf
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Partner:
    """The CA, with its key: only the partner has it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def ca_crt(self) -> str:
        """The CA's certificate, PEM: what the partner gives away."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def client(self, name: str) -> Identity:
        """Return a certificate for a client of the partner."""
        return leaf(name, self.key, self.certificate.subject, start=-1, end=30)

    def ca_crl(self, revoked: Iterable[Identity], *, number: int, at: datetime) -> str:
        """Return the list of these certificates, PEM, good for a week from ``at``."""
        entries = [
            x509.RevokedCertificateBuilder()
            .serial_number(x509.load_pem_x509_certificate(one.certificate).serial_number)
            .revocation_date(at)
            .build()
            for one in revoked
        ]
        builder = x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        return (
            builder.issuer_name(self.certificate.subject)
            .last_update(at)
            .next_update(at + 7 * _DAY)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )


def new_partner(name: str) -> Partner:
    """Return a partner with a new CA of this name."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 3650 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_MAY_SIGN, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Partner(certificate, key)


_MAY_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
