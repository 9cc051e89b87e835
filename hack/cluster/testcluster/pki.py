"""Keys and certificates of the local cluster's own components: two CAs and what they sign.

They have nothing to do with the operator's CAs. Keys are files of mode 0600 in the state folder and end with it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testcluster import layout
from testcluster.commands import write_whole

_LIFE: Final = timedelta(days=365)
_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate to make: file name, subject and, for a server, the names it answers to."""

    file: str
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()

    @property
    def server(self) -> bool:
        """Whether it is for serving, not for logging in."""
        return bool(self.names)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA in memory."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


#: Who logs in at the API server with a kubeconfig: file name -> (common name, organization).
USERS: Final = (
    Identity("admin", "kubernetes-admin", "system:masters"),
    Identity("kube-controller-manager", "system:kube-controller-manager"),
    Identity("kube-scheduler", "system:kube-scheduler"),
    Identity("kube-proxy", "system:kube-proxy"),
    Identity("kubelet", f"system:node:{layout.NODE_NAME}", "system:nodes"),
    Identity("coredns", "system:coredns"),
)
_OTHERS: Final = (
    Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Identity(
        "apiserver",
        "kube-apiserver",
        names=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{layout.CLUSTER_DOMAIN}",
            "localhost",
            layout.API_SERVICE_ADDRESS,
            layout.NODE_ADDRESS,
            "127.0.0.1",
        ),
    ),
    Identity("kubelet-server", layout.NODE_NAME, names=(layout.NODE_NAME, layout.NODE_ADDRESS)),
)


def write_all(folder: Path, *, now: datetime) -> None:
    """Make every key and certificate of a new cluster in ``folder``."""
    authority = _authority("kubernetes", now=now)
    front_proxy = _authority("front-proxy-ca", now=now)
    _write(folder, "ca", authority.key, authority.certificate)
    _write(folder, "front-proxy-ca", front_proxy.key, front_proxy.certificate)
    for identity in (*USERS, *_OTHERS):
        _write(folder, identity.file, *_sign(authority, identity, now=now))
    _write(folder, "front-proxy", *_sign(front_proxy, Identity("front-proxy", "front-proxy"), now=now))
    key = ec.generate_private_key(ec.SECP256R1())
    write_whole(folder / "service-account.key", _private(key), mode=0o600)
    write_whole(folder / "service-account.pub", _public(key))


def _authority(name: str, *, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def _sign(
    authority: Authority, identity: Identity, *, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if identity.server else ExtendedKeyUsageOID.CLIENT_AUTH
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        x509.CertificateBuilder(
            authority.certificate.subject,
            x509.Name(attributes),
            key.public_key(),
            x509.random_serial_number(),
        )
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFE - _CLOCK_SKEW)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(identifier, critical=False)
    )
    if identity.server:
        builder = builder.add_extension(_alternative_names(identity.names), critical=False)
    return key, builder.sign(authority.key, hashes.SHA256())


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    write_whole(folder / f"{name}.key", _private(key), mode=0o600)
    write_whole(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
