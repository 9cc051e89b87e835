"""Subject alternative names: validated when they are made, so that no later step meets a bad one.

The forms are those of RFC 5280, 4.2.1.6. Names go into headers that the application trusts. A URI may
therefore not contain the characters that separate elements of ``x-forwarded-client-cert``, which Envoy
writes without quotes around a URI.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.hostname import is_hostname, require_hostname

#: RFC 3986 characters without ``,`` and ``;``; percent signs only before two hex digits.
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+=]|%[0-9A-Fa-f]{2})+")
_LONGEST_URI: Final = 2048
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_LOCAL_PART: Final = 64


@dataclass(frozen=True, slots=True)
class SubjectAltNames:
    """The alternative names that a user asks for; the first one that is not well formed raises `PkiError`."""

    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.dns_names:
            require_hostname(name, reason=Reason.INVALID_SUBJECT_ALT_NAME, wildcard=False)
        for uri in self.uris:
            _require_uri(uri)
        for email in self.emails:
            _require_email(email)
        for address in self.ip_addresses:
            _require_address(address)


def _invalid(value: str, what: str) -> PkiError:
    return PkiError(Reason.INVALID_SUBJECT_ALT_NAME, f"{value[:300]!a} {what}.")


def _require_uri(uri: str) -> None:
    if len(uri) > _LONGEST_URI or not _URI.fullmatch(uri):
        raise _invalid(
            uri,
            "is not an absolute URI in ASCII of at most 2048 characters (write , and ; as %2C and %3B)",
        )


def _require_email(email: str) -> None:
    local, _, domain = email.rpartition("@")
    if len(local) > _LONGEST_LOCAL_PART or not _LOCAL_PART.fullmatch(local) or not is_hostname(domain):
        raise _invalid(email, "is not an e-mail address")


def _require_address(address: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise _invalid(address, "is not an IP address") from None
    if "%" in address:
        raise _invalid(address, "has a zone, which a certificate cannot express")


def to_general_names(sans: SubjectAltNames) -> list[x509.GeneralName]:
    """Return the names in the order DNS, URI, e-mail, IP; empty if there are none."""
    return [
        *map(x509.DNSName, sans.dns_names),
        *map(x509.UniformResourceIdentifier, sans.uris),
        *map(x509.RFC822Name, sans.emails),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in sans.ip_addresses),
    ]
