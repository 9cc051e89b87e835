"""Private keys: what we make, and how they are written and read.

Key generation takes its randomness from the CSPRNG of OpenSSL, the one place besides ECDSA signing where
this package is not a function of its arguments: a key must never depend on bytes that a caller might log or
repeat.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from mtls_operator.api.secret import Secret
from mtls_operator.pki.errors import PkiError, Reason, refusing_key
from mtls_operator.pki.pem import blocks

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_CURVES: Final[dict[int, type[ec.EllipticCurve]]] = {256: ec.SECP256R1, 384: ec.SECP384R1}
_NIST: Final = {"secp256r1": "256", "secp384r1": "384", "secp521r1": "521"}
_RSA_EXPONENT: Final = 65537
#: Smaller keys are refused by Envoy and by every current TLS library.
SMALLEST_RSA: Final = 2048
#: Larger ones cost whoever has to do with them seconds, and Go and BoringSSL refuse them.
LARGEST_RSA: Final = 8192
#: BoringSSL, and with it the proxy, takes no larger one; checking a signature takes 10 ms with 3072.
LARGEST_EXPONENT_BITS: Final = 33
_LEAST_EXPONENT: Final = 3
_LENGTH: Final = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...)"
#: How PKCS#8 begins (RFC 5958, 2), up to the algorithm.
_PKCS8: Final = re.compile(
    rb"\x30" + _LENGTH + rb"\x02\x01[\x00\x01]\x30" + _LENGTH + rb"(?=\x06)", re.DOTALL
)
#: rsaEncryption and id-ecPublicKey.
_ALGORITHMS: Final = (
    bytes.fromhex("06092a864886f70d010101"),
    bytes.fromhex("06072a8648ce3d0201"),
)
_UNREADABLE: Final = "the private key is not a readable, unencrypted PEM key."
#: PKCS#1 and SEC 1.
_OF_ONE_KIND: Final = ("RSA PRIVATE KEY", "EC PRIVATE KEY")


class KeyAlgorithm(Enum):
    """The algorithms of a key that we generate."""

    ECDSA = "ECDSA"
    RSA = "RSA"


_SIZES: Final = {KeyAlgorithm.ECDSA: (256, 384), KeyAlgorithm.RSA: (2048, 3072, 4096)}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A kind of key: ECDSA with 256 or 384 bits, or RSA with 2048, 3072 or 4096; else `PkiError`."""

    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA
    size: int = 256

    def __post_init__(self) -> None:
        sizes = _SIZES[self.algorithm]
        if self.size not in sizes:
            allowed = ", ".join(map(str, sizes))
            raise PkiError(
                Reason.INVALID_KEY_SPEC,
                f"{self.algorithm.value} keys have {allowed} bits, not {self.size}.",
            )


def generate_key(spec: KeySpec) -> PrivateKey:
    """Return a new private key; RSA takes 0.1 s to some seconds of CPU, ECDSA some microseconds."""
    if spec.algorithm is KeyAlgorithm.ECDSA:
        return ec.generate_private_key(_CURVES[spec.size]())
    return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=spec.size)


def key_to_pem(key: PrivateKey) -> Secret:
    """Return the key as unencrypted PKCS#8 PEM (RFC 5958), as ``kubernetes.io/tls`` Secrets hold it."""
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def load_key(pem: Secret) -> PrivateKey:
    """Return the private key of a PEM (PKCS#8, PKCS#1 or SEC 1); raise `PkiError` for anything else.

    Refused: encrypted keys, curves other than P-256, P-384 and P-521, RSA below 2048 or above 8192 bits or with numbers
    that do not belong together, every other algorithm. The message never quotes the input. It takes less than a
    millisecond for a key, and time in proportion to its length for anything else: it is asked on the event loop about
    what users bring.
    """
    with refusing_key(_UNREADABLE):
        key = serialization.load_pem_private_key(
            _plain(pem), password=None, unsafe_skip_rsa_key_validation=True
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _NIST:
        return key
    if not isinstance(key, rsa.RSAPrivateKey) or not SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
        raise _other_kind()
    if not _is_consistent(key.private_numbers()):
        raise PkiError(Reason.INVALID_KEY, "the numbers of the RSA key do not belong together.")
    return key


def _other_kind() -> PkiError:
    return PkiError(
        Reason.INVALID_KEY,
        f"the private key must be ECDSA on P-256, P-384 or P-521, or RSA with {SMALLEST_RSA} to {LARGEST_RSA} bits.",
    )


def _plain(pem: Secret) -> bytes:
    """Return the first private key of a PEM text, and nothing else; raise `PkiError` unless it is of RSA or ECDSA.

    The library computes the public key of a DSA or DH key when it reads it, with numbers of any length: for hours. So
    that it reads the block that was looked at here, and none that only it can see, it is given that one alone.
    """
    block = next((block for block in blocks(pem.reveal()) if block.label.endswith("PRIVATE KEY")), None)
    if block is None or block.problem or block.label == "ENCRYPTED PRIVATE KEY":
        raise PkiError(Reason.INVALID_KEY, _UNREADABLE)
    if block.label == "PRIVATE KEY":
        header = _PKCS8.match(block.der)
        if header is None:
            raise PkiError(Reason.INVALID_KEY, _UNREADABLE)
        if not block.der.startswith(_ALGORITHMS, header.end()):
            raise _other_kind()
    elif block.label not in _OF_ONE_KIND:
        raise _other_kind()
    body = base64.encodebytes(block.der).decode()
    return f"-----BEGIN {block.label}-----\n{body}-----END {block.label}-----\n".encode()


def _is_consistent(key: rsa.RSAPrivateNumbers) -> bool:
    """Say whether an RSA key is what RFC 8017, 3.2 says it is, but for its factors being prime numbers.

    The library would test that too, for 0.25 s with 4096 bits and 3.7 s with 8192, and lets no other thread run
    meanwhile. What is tested here is what keeps a broken key from being used at all: odd factors whose product is the
    modulus, and exponents that undo each other.
    """
    n, e = key.public_numbers.n, key.public_numbers.e
    p, q, d = key.p, key.q, key.d
    return (
        e % 2 == 1
        and e >= _LEAST_EXPONENT
        and p % 2 == q % 2 == 1
        and p != q
        and 1 < p < n  # before any product: numbers of half a megabyte take a quarter of a second
        and 1 < q < n
        and p * q == n
        and 1 < d < n
        and d * e % (p - 1) == 1
        and d * e % (q - 1) == 1
        and key.dmp1 == d % (p - 1)
        and key.dmq1 == d % (q - 1)
        and 0 < key.iqmp < p
        and key.iqmp * q % p == 1
    )


def describe_key(key: CertificatePublicKeyTypes) -> str:
    """Return a public key's kind in words: ``ECDSA-256``, ``RSA-2048``, ``ECDSA-secp256k1``, ``Ed25519``."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA-{_NIST.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    """Return a public key as a certificate has it: DER of SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_digest(key: CertificatePublicKeyTypes) -> str:
    """Return the SHA-256 of a public key in lower-case hex: what two certificates of one key have in common."""
    return sha256(public_bytes(key)).hexdigest()
