"""Certificate signing requests (PKCS#10, RFC 2986): what is taken from one, and what is refused.

A request contributes a public key, a subject and alternative names, and proves that its author holds the key.
Everything else that it asks for (a CA, usages, a password) is ignored. It comes from outside: what two
readers could understand differently is refused, never guessed. Whether its names are allowed is not decided
here.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtls_operator.pki.alternative_names import SubjectAltNames
from mtls_operator.pki.certificate import to_bytes
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.keys import (
    LARGEST_RSA,
    SMALLEST_RSA,
    PublicKey,
    describe_key,
    key_digest,
    public_bytes,
)
from mtls_operator.pki.request_names import read_names, read_subject
from mtls_operator.pki.subject import Subject

#: A request with an RSA key of 8192 bits and 32 long names has less.
MAX_REQUEST_BYTES: Final = 32 * 1024

_PEM: Final = re.compile(
    rb"\s*-----BEGIN (?P<label>(?:NEW )?CERTIFICATE REQUEST)-----\r?\n(?P<body>[A-Za-z0-9+/=\r\n]+)"
    rb"-----END (?P=label)-----\s*"
)
_BEGIN: Final = b"-----BEGIN "
_PRIVATE: Final = b"PRIVATE KEY-----"
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
#: Clients with a key on P-521 cannot sign the handshake of TLS 1.3 with the proxy, nor those with Ed25519.
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
_EXPONENTS: Final = range(65537, 2**33, 2)
#: Where the extensions of a request are: PKCS#9 (RFC 2985, 5.4.2) and Microsoft's number for the same.
_EXTENSION_REQUESTS: Final = frozenset({"1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a request contributes; ``key`` is its kind in words, ``key_digest`` the SHA-256 of its public key."""

    public_key: PublicKey = field(repr=False, compare=False)
    key: str
    key_digest: str
    subject: Subject
    sans: SubjectAltNames

    @property
    def nameless(self) -> bool:
        """Whether it names nobody."""
        return self.subject == Subject() and self.sans == SubjectAltNames()


def read_request(pem: bytes | str, *, nameless: bool = False) -> Request:
    """Return what a request contributes, after checking that its author holds the key.

    ``nameless`` accepts one without any name, for callers that name its owner themselves. Raises `PkiError`
    with `Reason.INVALID_REQUEST` for everything but one well-formed request alone in its text, signed with
    SHA-256, SHA-384 or SHA-512 by its own key on P-256 or P-384 or of RSA with 2048 to 8192 bits, with names
    that a ClientCertificate may have.
    """
    der = _der(to_bytes(pem))
    with refusing(Reason.INVALID_REQUEST, "the request cannot be read"):
        csr = x509.load_der_x509_csr(der)
        key = _public_key(csr)
        _require_signature(csr)
        request = Request(
            public_key=key,
            key=describe_key(key),
            key_digest=key_digest(key),
            subject=read_subject(csr.subject),
            sans=read_names(_extensions(csr)),
        )
    if request.nameless and not nameless:
        raise _refuse("has neither a subject nor alternative names")
    return request


def names_of(
    request: Request, *, subject: Subject | None = None, sans: SubjectAltNames | None = None
) -> tuple[Subject, SubjectAltNames]:
    """Return the names of the certificate: what the object says stands, the request fills what it leaves out.

    A subject with any value replaces the whole subject of the request, and alternative names of any kind
    replace all of the request's: a mixture would be what neither author asked for. Raises `PkiError` where
    nothing is left that names anybody.
    """
    wanted = (
        subject if subject is not None and subject != Subject() else request.subject,
        sans if sans is not None and sans != SubjectAltNames() else request.sans,
    )
    if wanted == (Subject(), SubjectAltNames()):
        raise _refuse("has neither a subject nor alternative names, and the object names nobody either")
    return wanted


def _refuse(what: str) -> PkiError:
    return PkiError(Reason.INVALID_REQUEST, f"the request {what}.")


def _der(pem: bytes) -> bytes:
    """Return the DER of the one PEM block of a text; nothing else may stand in it."""
    if len(pem) > MAX_REQUEST_BYTES:
        raise _refuse(f"is larger than {MAX_REQUEST_BYTES} bytes")
    if _PRIVATE in pem:
        raise _refuse(
            "contains a private key, which everybody who can read this object now knows: "
            "make a new key and send the request alone"
        )
    if pem.count(_BEGIN) > 1:
        raise _refuse("contains several PEM blocks: it must be one CERTIFICATE REQUEST alone")
    match = _PEM.fullmatch(pem)
    if match is None:
        raise _refuse(
            "is not a PEM block CERTIFICATE REQUEST alone: write it without text before, in or after it"
        )
    try:
        return base64.b64decode(re.sub(rb"[\r\n]", b"", match["body"]), validate=True)
    except binascii.Error:
        raise _refuse("is not valid base64") from None


def _public_key(csr: x509.CertificateSigningRequest) -> PublicKey:
    key = csr.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        pass
    elif isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
        if key.public_numbers().e not in _EXPONENTS:
            raise _refuse("has an RSA key with an unusual public exponent: use 65537")
    else:
        raise _refuse(
            f"is for a key that the proxy cannot work with ({describe_key(key)}): use ECDSA on P-256 or P-384, "
            f"or RSA with {SMALLEST_RSA} to {LARGEST_RSA} bits"
        )
    # A compressed point, explicit curve parameters, a key limited to RSA-PSS: the certificate would not say the same.
    if public_bytes(key) not in csr.tbs_certrequest_bytes:
        raise _refuse("has its public key in an unusual encoding: name the curve, do not compress the point")
    return key


def _require_signature(csr: x509.CertificateSigningRequest) -> None:
    if not isinstance(csr.signature_hash_algorithm, _DIGESTS):
        raise _refuse("must be signed with SHA-256, SHA-384 or SHA-512")
    if not csr.is_signature_valid:
        raise _refuse("does not bear a valid signature of its own key")


def _extensions(csr: x509.CertificateSigningRequest) -> x509.Extensions:
    """Return what is asked for; several lists of extensions would leave open which one counts."""
    asked = [one for one in csr.attributes if one.oid.dotted_string in _EXTENSION_REQUESTS]
    if len(asked) > 1:
        raise _refuse("asks for extensions twice")
    return csr.extensions
