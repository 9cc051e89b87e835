"""The one error of this package, with the reason that conditions show.

What a user gave (a name, a PEM, a time) and what a stored object contains are checked here once; every
refusal is a `PkiError`, never an exception of the cryptographic library. Wrong types in our own code stay
bugs and are not caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType

#: What the library raises for bad input; ``ValueError`` covers all its DER and PEM errors.
_REFUSALS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    InvalidSignature,
    InvalidVersion,
    DuplicateExtension,
    UnsupportedGeneralNameType,
)


class Reason(StrEnum):
    """Why something was refused, in the form of a Kubernetes condition reason."""

    AUTHORITY_EXPIRED = "AuthorityExpired"
    AUTHORITY_NOT_YET_VALID = "AuthorityNotYetValid"
    HOSTNAME_NOT_IN_CERTIFICATE = "HostnameNotInCertificate"
    INDEX_TOO_LARGE = "IndexTooLarge"
    INVALID_CA_CERTIFICATE = "InvalidCACertificate"
    INVALID_CERTIFICATE = "InvalidCertificate"
    INVALID_CRL = "InvalidCRL"
    INVALID_ENTROPY = "InvalidEntropy"
    INVALID_HOSTNAME = "InvalidHostname"
    INVALID_KEY = "InvalidKey"
    INVALID_KEY_SPEC = "InvalidKeySpec"
    INVALID_KEYSTORE = "InvalidKeystore"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_SERIAL = "InvalidSerial"
    INVALID_SERVING_CERTIFICATE = "InvalidServingCertificate"
    INVALID_SUBJECT = "InvalidSubject"
    INVALID_SUBJECT_ALT_NAME = "InvalidSubjectAltName"
    INVALID_TIME = "InvalidTime"
    INVALID_VALIDITY = "InvalidValidity"
    KEY_MISMATCH = "KeyMismatch"
    NOT_AN_AUTHORITY = "NotAnAuthority"
    SERVING_CERTIFICATE_EXPIRED = "ServingCertificateExpired"
    SERVING_CERTIFICATE_NOT_YET_VALID = "ServingCertificateNotYetValid"


class PkiError(Exception):
    """Refused: ``reason`` for a condition, ``str()`` a sentence for the user; never key material."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


@contextmanager
def refusing(reason: Reason, what: str) -> Iterator[None]:
    """Turn the library's errors about bad input into a `PkiError` that begins with ``what``.

    Only for public input: the library's own text becomes part of the message.
    """
    try:
        yield
    except _REFUSALS as error:
        detail = str(error) or type(error).__name__
        raise PkiError(reason, f"{what}: {detail}") from error


@contextmanager
def refusing_key(what: str) -> Iterator[None]:
    """As `refusing`, for key material: nothing of the library's error survives (guarantee G5)."""
    try:
        yield
    except _REFUSALS:
        raise PkiError(Reason.INVALID_KEY, what) from None
