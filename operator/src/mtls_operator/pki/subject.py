r"""Distinguished names: built from what users write, and as the text that Envoy shows to rules.

A rule compares `subject` texts byte for byte, so the text here must equal Envoy's: RFC 2253, last attribute
first, and every byte outside printable ASCII as ``\XX`` (``X509_NAME_print_ex`` with ``XN_FLAG_RFC2253`` of
BoringSSL). The short names below are those of BoringSSL, which knows fewer than OpenSSL; any other
attribute is its number and a hex dump.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_operator.pki.errors import PkiError, Reason

_SHORT_NAMES: Final = {
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.14": "searchGuide",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
}
#: Escaped: control and non-ASCII bytes, the specials of RFC 2253, a leading space or ``#``, a trailing space.
_ESCAPED: Final = re.compile(r'[\x00-\x1f\x7f-\U0010ffff",+;<>\\]|\A[ #]| \Z')
_PLAIN: Final = frozenset('",+;<>\\ #')
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
#: Unicode categories that no name may contain: control characters, surrogates, unassigned.
_FORBIDDEN: Final = frozenset({"Cc", "Cs", "Cn"})
_LONG_FORM: Final = 0x80
_LONGEST_COMMON_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject that a user asks for; every value within the upper bounds of X.520, else `PkiError`.

    In the certificate the attributes stand in the order C, ST, L, O, OU, CN, one per RDN, values of one
    kind in the order given; the text therefore begins with ``CN=``.
    """

    common_name: str = ""
    organizations: tuple[str, ...] = ()
    organizational_units: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    localities: tuple[str, ...] = ()
    provinces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for country in self.countries:
            if not _COUNTRY.fullmatch(country):
                raise _invalid("countries", country, "is not a country code of two letters")
        _require("provinces", self.provinces, 128)
        _require("localities", self.localities, 128)
        _require("organizations", self.organizations, 64)
        _require("organizationalUnits", self.organizational_units, 64)
        if self.common_name:
            _require("commonName", (self.common_name,), 64)
            # X.520 counts characters, several libraries count bytes: the smaller of the two works everywhere.
            if len(self.common_name.encode()) > _LONGEST_COMMON_NAME:
                raise _invalid("commonName", self.common_name, "is longer than 64 bytes in UTF-8")


def _require(field: str, values: tuple[str, ...], longest: int) -> None:
    for value in values:
        if not value:
            raise _invalid(field, value, "is empty")
        if len(value) > longest:
            raise _invalid(field, value, f"is longer than {longest} characters (X.520)")
        if any(unicodedata.category(character) in _FORBIDDEN for character in value):
            raise _invalid(field, value, "contains a control or unassigned character")


def _invalid(field: str, value: str, what: str) -> PkiError:
    return PkiError(Reason.INVALID_SUBJECT, f"subject.{field}: {value[:130]!a} {what}.")


def to_name(subject: Subject) -> x509.Name:
    """Return the X.501 name of a subject: UTF8String values, PrintableString for countries."""
    values = (
        (NameOID.COUNTRY_NAME, subject.countries),
        (NameOID.STATE_OR_PROVINCE_NAME, subject.provinces),
        (NameOID.LOCALITY_NAME, subject.localities),
        (NameOID.ORGANIZATION_NAME, subject.organizations),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organizational_units),
        (NameOID.COMMON_NAME, (subject.common_name,) if subject.common_name else ()),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, texts in values for value in texts])


def name_text(name: x509.Name) -> str:
    r"""Return a name as Envoy prints it: ``CN=good,OU=\C3\9Cnit\+1,O=Acme\, \"Inc\",C=DE``."""
    return ",".join(
        "+".join(_attribute_text(part) for part in reversed(list(rdn))) for rdn in reversed(name.rdns)
    )


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    oid = attribute.oid.dotted_string
    short = _SHORT_NAMES.get(oid)
    if short is None or isinstance(attribute.value, bytes):
        return f"{short or oid}=#{_value_der(attribute).hex().upper()}"
    return f"{short}={_ESCAPED.sub(_escape, attribute.value)}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _PLAIN:
        return "\\" + character
    return "".join(f"\\{byte:02X}" for byte in character.encode())


def value_tag(attribute: x509.NameAttribute[str | bytes]) -> int:
    """Return the ASN.1 tag of an attribute's value: 0x0C for UTF8String, 0x13 for PrintableString."""
    return _value_der(attribute)[0]


def _value_der(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    """Return the DER of an attribute's value.

    It is what follows the type in SEQUENCE { SET { SEQUENCE { type, value } } }.
    """
    rest = x509.Name([attribute]).public_bytes()
    for _ in range(3):
        rest = rest[_header(rest) :]
    return rest[_header(rest) + rest[1] :]  # an object identifier is shorter than 128 bytes


def _header(der: bytes) -> int:
    """Return how many bytes the tag and the length of a DER element take."""
    return 2 if der[1] < _LONG_FORM else 2 + der[1] % _LONG_FORM
