"""Certificates of any form, right or wrong: what an attacker can make, and old or careless authorities have made.

``forge`` writes a certificate byte by byte and signs it; the functions below it write extensions. Nothing is
checked. Whoever wants a usual certificate takes ``tests.support.certs``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from tests.support import der

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

CLIENT_AUTH, SERVER_AUTH, CODE_SIGNING = (f"1.3.6.1.5.5.7.3.{number}" for number in (2, 1, 3))
ANY_USAGE = "2.5.29.37.0"
ORGANIZATION, COMMON_NAME = "2.5.4.10", "2.5.4.3"

DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_ENCIPHERMENT, _, KEY_AGREEMENT, KEY_CERT_SIGN, CRL_SIGN = range(7)


class Signature(Enum):
    """A signature algorithm: its identifier, and its digest."""

    ECDSA_SHA1 = ("1.2.840.10045.4.1", hashes.SHA1)
    ECDSA_SHA256 = ("1.2.840.10045.4.3.2", hashes.SHA256)
    ECDSA_SHA384 = ("1.2.840.10045.4.3.3", hashes.SHA384)
    ECDSA_SHA512 = ("1.2.840.10045.4.3.4", hashes.SHA512)
    RSA_MD5 = ("1.2.840.113549.1.1.4", hashes.MD5)
    RSA_SHA1 = ("1.2.840.113549.1.1.5", hashes.SHA1)
    RSA_SHA256 = ("1.2.840.113549.1.1.11", hashes.SHA256)
    RSA_PSS = ("1.2.840.113549.1.1.10", hashes.SHA256)
    ED25519 = ("1.3.101.112", hashes.SHA512)

    @property
    def identifier(self) -> bytes:
        """Return the AlgorithmIdentifier."""
        number = der.oid(self.value[0])
        if self is Signature.RSA_PSS:
            return der.sequence(number, _PSS_SHA256)
        return der.sequence(number, der.NULL) if self.name.startswith("RSA") else der.sequence(number)

    def sign(self, key: Key, content: bytes) -> bytes:
        """Sign bytes."""
        digest = self.value[1]()
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(content)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(content, ec.ECDSA(digest))
        if self is Signature.RSA_PSS:
            return key.sign(content, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(content, padding.PKCS1v15(), digest)


_SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL)
_MGF1 = der.sequence(der.oid("1.2.840.113549.1.1.8"), _SHA256)
_PSS_SHA256 = der.sequence(der.explicit(0, _SHA256), der.explicit(1, _MGF1), der.explicit(2, der.integer(32)))


@dataclass(frozen=True, slots=True)
class Forged:
    """A certificate with its key, and what those that it signs need of it."""

    der: bytes
    key: Key
    subject: bytes

    @property
    def pem(self) -> str:
        body = "\n".join(textwrap.wrap(base64.b64encode(self.der).decode(), 64))
        return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.der).hexdigest()


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension; ``flag`` None writes no criticality at all, as DER wants it for FALSE."""

    number: str
    value: bytes
    flag: bytes | None = None

    def encoded(self) -> bytes:
        return der.sequence(der.oid(self.number), self.flag or b"", der.octets(self.value))

    def critical(self) -> Extension:
        """Return the same extension, critical."""
        return Extension(self.number, self.value, der.TRUE)

    def uncritical(self) -> Extension:
        """Return the same extension, not critical."""
        return Extension(self.number, self.value)


def forge(
    subject: bytes,
    *,
    key: Key,
    issuer: bytes,
    signer: Key,
    period: tuple[datetime | bytes, datetime | bytes],
    extensions: Sequence[Extension] | None,
    serial: int | bytes = 1,
    version: int = 3,
    version_field: bytes | None = None,
    signature: Signature | None = None,
    claimed: Signature | None = None,
    public_key: bytes | None = None,
    unique_ids: bytes = b"",
    broken: bool = False,
) -> Forged:
    """Write and sign a certificate.

    ``period``: times, or their DER. ``extensions`` None leaves the field out, empty writes an empty list.
    ``serial``: a number, or its DER. ``claimed``: the algorithm named outside of what is signed.
    ``broken``: one bit of the signature is changed.
    """
    algorithm = signature or _usual(signer)
    listed = (
        b""
        if extensions is None
        else der.explicit(3, der.sequence(*(extension.encoded() for extension in extensions)))
    )
    content = der.sequence(
        _version(version) if version_field is None else version_field,
        serial if isinstance(serial, bytes) else der.integer(serial),
        algorithm.identifier,
        issuer,
        der.sequence(*(moment if isinstance(moment, bytes) else der.time(moment) for moment in period)),
        subject,
        public_key or spki(key),
        unique_ids,
        listed,
    )
    signed = algorithm.sign(signer, content)
    if broken:
        signed = der.flipped(signed)
    return Forged(
        der.sequence(content, (claimed or algorithm).identifier, der.bits(signed)), key=key, subject=subject
    )


def _version(version: int) -> bytes:
    return b"" if version == 1 else der.explicit(0, der.integer(version - 1))


def _usual(signer: Key) -> Signature:
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return Signature.ED25519
    return Signature.ECDSA_SHA256 if isinstance(signer, ec.EllipticCurvePrivateKey) else Signature.RSA_SHA256


def spki(key: Key) -> bytes:
    """Return the SubjectPublicKeyInfo of a key."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_identifier(key: Key) -> bytes:
    """Return an identifier of a key (RFC 7093, 2: the first 20 bytes of a SHA-256)."""
    return hashlib.sha256(spki(key)).digest()[:20]


@functools.cache
def rsa_key(size: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Return an RSA key; the same for the same size, for they take long to make."""
    return rsa.generate_private_key(public_exponent=exponent, key_size=size)


def basic_constraints(*, authority: bool, depth: int | None = None) -> Extension:
    """``depth``: how many intermediate authorities may follow."""
    parts = (der.TRUE if authority else b"", b"" if depth is None else der.integer(depth))
    return Extension("2.5.29.19", der.sequence(*parts), der.TRUE)


def key_usage(*positions: int) -> Extension:
    return Extension("2.5.29.15", der.named_bits(*positions), der.TRUE)


def extended_key_usage(*numbers: str) -> Extension:
    return Extension("2.5.29.37", der.sequence(*map(der.oid, numbers)))


def subject_key(identifier: bytes) -> Extension:
    return Extension("2.5.29.14", der.octets(identifier))


def authority_key(identifier: bytes) -> Extension:
    return Extension("2.5.29.35", der.sequence(der.implicit(0, identifier)))


def authority_serial(issuer: bytes, serial: int) -> Extension:
    """Return an authority key identifier that names a certificate instead of a key."""
    number = der.integer(serial)[2:]
    content = der.sequence(der.explicit(1, der.explicit(4, issuer)), der.implicit(2, number))
    return Extension("2.5.29.35", content)


def alternative_names(*names: bytes) -> Extension:
    return Extension("2.5.29.17", der.sequence(*names))


def name_constraints(*, permitted: Sequence[bytes] = (), excluded: Sequence[bytes] = ()) -> Extension:
    trees = (
        der.explicit(number, *(der.sequence(base) for base in bases)) if bases else b""
        for number, bases in enumerate((permitted, excluded))
    )
    return Extension("2.5.29.30", der.sequence(*trees), der.TRUE)


def email(text: str) -> bytes:
    return der.implicit(1, text.encode())


def dns(text: str) -> bytes:
    return der.implicit(2, text.encode())


def directory(name: bytes) -> bytes:
    return der.explicit(4, name)


def uri(text: str) -> bytes:
    return der.implicit(6, text.encode())


def address(text: str) -> bytes:
    return der.implicit(7, ip_address(text).packed)


def network(net: IPv4Network | IPv6Network) -> bytes:
    """Return a network as name constraints write it: address and mask."""
    return der.implicit(7, net.network_address.packed + net.netmask.packed)


def registered(number: str) -> bytes:
    return der.implicit(8, der.oid(number)[2:])
