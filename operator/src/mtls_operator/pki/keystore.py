"""Key, certificate and chain in one file: PKCS#12 (RFC 7292) for devices, concatenated PEM for servers.

A PKCS#12 file has random salts: two of the same content differ. And none that is stored is ever opened: whoever may
write there could ask for billions of rounds of key derivation, during which nothing else would run.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_operator.api.secret import Secret
from mtls_operator.pki.authority import key_belongs
from mtls_operator.pki.certificate import parse_certificate
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.keys import PrivateKey, load_key

#: Rounds of key derivation. The password is as strong as its entropy; 2 048 is what old devices can bear.
_MODERN_ROUNDS: Final = 20_000
_LEGACY_ROUNDS: Final = 2_048
_LONGEST_NAME: Final = 128
_LONGEST_PASSWORD: Final = 256
_LEAST_ENTROPY: Final = 20


class Profile(Enum):
    """How a PKCS#12 file is encrypted.

    ``MODERN``: PBES2 with AES-256-CBC, HMAC-SHA-256. ``LEGACY``: 3DES and SHA-1, for phones and desktops that
    know nothing else (Android before 14, macOS before 15, Windows before 10 1709); treat it as unencrypted.
    """

    MODERN = "Modern"
    LEGACY = "Legacy"


@dataclass(frozen=True, slots=True)
class Content:
    """What a keystore holds: a certificate, its key, and the certificates above it, nearest first."""

    certificate_pem: str
    key_pem: Secret
    chain_pem: tuple[str, ...] = ()


def make_password(entropy: bytes) -> Secret:
    """Return a password of letters and digits that can be typed; ``entropy`` is 20 bytes of a CSPRNG or more."""
    if len(entropy) < _LEAST_ENTROPY:
        raise PkiError(
            Reason.INVALID_ENTROPY,
            f"a password needs {_LEAST_ENTROPY} bytes of entropy, not {len(entropy)}.",
        )
    return Secret(base64.b32encode(entropy[:_LEAST_ENTROPY]).lower())


def is_password(password: Secret) -> bool:
    """Say whether every program reads a password of a keystore alike."""
    try:
        _require_password(password)
    except PkiError:
        return False
    return True


def pkcs12_of(content: Content, *, password: Secret, name: str, profile: Profile) -> Secret:
    """Return a PKCS#12 file with the key, its certificate under a friendly name, and the chain.

    Raises `PkiError` for a password that programs read differently (see `_require_password`), for a name that is
    empty, has control characters or more than 128 characters, and for a key that is not that of the certificate.
    """
    _require_password(password)
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise PkiError(
            Reason.INVALID_KEYSTORE,
            f"the friendly name {name[:300]!a} must be of 1 to {_LONGEST_NAME} printable characters.",
        )
    key, leaf, chain = _parse(content)
    return Secret(
        pkcs12.serialize_key_and_certificates(
            name.encode(), key, leaf, chain or None, _encryption(password, profile)
        )
    )


def combined_pem(content: Content) -> Secret:
    """Return key, certificate and chain as one PEM text, in the order that HAProxy, nginx and MongoDB read.

    Raises `PkiError` for a key that is not that of the certificate.
    """
    key, leaf, chain = _parse(content)
    parts = [
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        *(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, *chain)),
    ]
    return Secret(b"".join(parts))


def _parse(content: Content) -> tuple[PrivateKey, x509.Certificate, list[x509.Certificate]]:
    leaf, key = parse_certificate(content.certificate_pem), load_key(content.key_pem)
    if not key_belongs(leaf, key):
        raise PkiError(Reason.KEY_MISMATCH, "the key does not belong to the certificate.")
    return key, leaf, _certificates(content.chain_pem)


def _certificates(pems: Iterable[str]) -> list[x509.Certificate]:
    return [parse_certificate(pem) for pem in pems]


def _require_password(password: Secret) -> None:
    """Raise `PkiError` for a password that is empty, over 256 bytes, or not of printable ASCII.

    PKCS#12 turns a password into UTF-16, and programs disagree about all but ASCII; a line break at the end, as
    editors leave it in a file, would lock its owner out.
    """
    text = password.reveal()
    if not 0 < len(text) <= _LONGEST_PASSWORD:
        raise PkiError(
            Reason.INVALID_KEYSTORE, f"the password of a keystore has 1 to {_LONGEST_PASSWORD} characters."
        )
    if text != text.rstrip(b"\r\n"):
        raise PkiError(Reason.INVALID_KEYSTORE, "the password of the keystore ends with a line break.")
    if not (text.isascii() and text.decode("ascii").isprintable()):
        raise PkiError(
            Reason.INVALID_KEYSTORE, "the password of a keystore must consist of printable ASCII characters."
        )


def _encryption(password: Secret, profile: Profile) -> serialization.KeySerializationEncryption:
    builder = serialization.PrivateFormat.PKCS12.encryption_builder()
    if profile is Profile.LEGACY:
        return (
            builder.kdf_rounds(_LEGACY_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())  # noqa: S303 - old devices know nothing else; the profile is asked for by name
            .build(password.reveal())
        )
    return (
        builder.kdf_rounds(_MODERN_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.reveal())
    )
