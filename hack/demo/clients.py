"""Certificates for the demo's clients, and an HTTPS client that goes to an address under another name."""

from __future__ import annotations

import http.client
import socket
import ssl
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, both PEM."""

    certificate: bytes
    key: bytes


def from_secret(secret: Mapping[str, Any]) -> Identity:
    """Return the identity in a Secret of type kubernetes.io/tls."""
    return Identity(b64decode(secret["data"]["tls.crt"]), b64decode(secret["data"]["tls.key"]))


def foreign() -> Identity:
    """Return a certificate of a CA that nobody here trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else's CA")])
    return leaf("gateway-7", key, name, start=-1, end=30)


def expired(authority: Identity) -> Identity:
    """Return a certificate of the managed CA that ended yesterday: only who can read the CA's key can make it."""
    key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - the operator's CAs are P-256
    issuer = x509.load_pem_x509_certificate(authority.certificate).subject
    return leaf("gateway-7", key, issuer, start=-30, end=-1)


def leaf(
    name: str, ca_key: ec.EllipticCurvePrivateKey, issuer: x509.Name, *, start: int, end: int
) -> Identity:
    """Return a client's certificate by a CA; its times are days from now."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=start))
        .not_valid_after(now + timedelta(days=end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return Identity(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


class Client(http.client.HTTPSConnection):
    """One connection to an address, under the name of a host, with or without a certificate.

    The server must show a certificate for that name by ``server_ca``.
    """

    def __init__(
        self, address: tuple[str, int], hostname: str, *, server_ca: str, identity: Identity | None
    ) -> None:
        context = ssl.create_default_context(cadata=server_ca)
        if identity is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "pair.pem")
                file.touch(mode=0o600)
                file.write_bytes(identity.certificate + identity.key)
                context.load_cert_chain(file)
        super().__init__(hostname, context=context, timeout=10)
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Connect to the address, and ask for the name in TLS."""
        plain = socket.create_connection(self._address, timeout=self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)

    def status(self, path: str) -> int:
        """Send a GET on this connection, opened on first use, and return the status."""
        self.request("GET", path)
        response = self.getresponse()
        response.read()
        return response.status
