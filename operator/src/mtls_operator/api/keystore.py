"""``spec.keystore`` of a ClientCertificate: further files beside the PEM files of its Secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mtls_operator.api import limits
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import Fields


class KeystoreProfile(StrEnum):
    """How a PKCS#12 file is encrypted: as today, or as old phones and desktops need it."""

    MODERN = "Modern"
    LEGACY = "Legacy"


@dataclass(frozen=True, slots=True)
class PasswordRef:
    """A key of a Secret of the same namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Pkcs12:
    """A PKCS#12 file; ``password`` None: one is made and put beside it."""

    password: PasswordRef | None = None
    profile: KeystoreProfile = KeystoreProfile.MODERN


@dataclass(frozen=True, slots=True)
class Keystore:
    """Which further files are wanted; as it stands: none."""

    pkcs12: Pkcs12 | None = None
    combined_pem: bool = False

    @property
    def wanted(self) -> bool:
        """Whether there is anything to make."""
        return self.pkcs12 is not None or self.combined_pem


#: None is wanted.
NO_KEYSTORE: Final = Keystore()


def parse_keystore(keystore: Fields, *, secret_name: str) -> Keystore:
    """Read the keystore of a certificate whose Secret is ``secret_name``.

    Raises:
        InvalidSpec: a field does not fit, or the password is to come from the Secret that the keystore is in.
    """
    keystore.only(("pkcs12", "combinedPEM"))
    pkcs12 = _pkcs12(keystore.child("pkcs12"), secret_name=secret_name) if keystore.has("pkcs12") else None
    return Keystore(pkcs12=pkcs12, combined_pem=keystore.flag("combinedPEM", default=False))


def _pkcs12(pkcs12: Fields, *, secret_name: str) -> Pkcs12:
    pkcs12.only(("passwordSecretRef", "profile"))
    password = None
    if pkcs12.has("passwordSecretRef"):
        reference = pkcs12.child("passwordSecretRef")
        reference.only(("name", "key"))
        name = reference.text("name", limits.SECRET_NAME)
        key = reference.text("key", limits.SECRET_KEY)
        if name is None or key is None:
            raise InvalidSpec(reference.path, "needs name and key")
        if name == secret_name:
            raise InvalidSpec(
                reference.at("name"),
                "must be another Secret than that of the certificate, which is written anew",
            )
        password = PasswordRef(name, key)
    return Pkcs12(
        password=password,
        profile=pkcs12.choice("profile", KeystoreProfile, default=KeystoreProfile.MODERN),
    )
