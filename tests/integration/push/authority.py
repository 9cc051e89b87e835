"""An internal CA for tests, and the certificates of servers and proxies that it signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.push import ServerCredentials

NAMESPACE, NAMESPACE_UID = "shop", "ns-uid-1"
SERVER_NAME = "mtls-operator.mtls-system.svc"


@dataclass(frozen=True, slots=True)
class KeyPair:
    certificate: bytes
    key: bytes


class InternalAuthority:
    """A CA that signs whatever a test asks for."""

    def __init__(self, name: str = "internal") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            self._name,
            self._key.public_key(),
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False),
            ],
        )

    def issue(
        self, *sans: x509.GeneralName, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]),
            key.public_key(),
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (x509.SubjectAlternativeName(sans), False),
                (x509.ExtendedKeyUsage([usage]), False),
            ],
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(certificate, pem)

    def proxy(self, namespace: str = NAMESPACE, uid: str = NAMESPACE_UID) -> KeyPair:
        return self.issue(x509.UniformResourceIdentifier(names.proxy_identity(namespace, uid)))

    def server(self, authority: bytes | None = None) -> ServerCredentials:
        pair = self.issue(x509.DNSName(SERVER_NAME), usage=ExtendedKeyUsageOID.SERVER_AUTH)
        return ServerCredentials(pair.certificate, Secret(pair.key), authority or self.certificate)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: list[tuple[x509.ExtensionType, bool]],
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
