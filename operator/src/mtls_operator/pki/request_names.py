"""The names in a signing request, held to the same limits as those that an object states.

A name that a ClientCertificate could not have is refused, also where X.509 knows it: attributes and kinds of
names that no rule and no policy looks at must not enter a certificate unseen.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_operator.api import limits
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import TextRule
from mtls_operator.pki.alternative_names import SubjectAltNames
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.subject import Subject, name_text, value_tag

_ATTRIBUTES: Final = MappingProxyType(
    {
        NameOID.COMMON_NAME: ("commonName", limits.SHORT_NAME),
        NameOID.ORGANIZATION_NAME: ("organizations", limits.SHORT_NAME),
        NameOID.ORGANIZATIONAL_UNIT_NAME: ("organizationalUnits", limits.SHORT_NAME),
        NameOID.COUNTRY_NAME: ("countries", limits.COUNTRY),
        NameOID.LOCALITY_NAME: ("localities", limits.LONG_NAME),
        NameOID.STATE_OR_PROVINCE_NAME: ("provinces", limits.LONG_NAME),
    }
)
#: UTF8String and PrintableString, and IA5String, which is ASCII too: every reader sees the same text in them.
_PLAIN_TAGS: Final = frozenset({0x0C, 0x13, 0x16})
#: Characters that do not show, or whose meaning is private: nobody could tell two such names apart.
_INVISIBLE: Final = frozenset({"Cf", "Co", "Zl", "Zp"})


def read_subject(name: x509.Name) -> Subject:
    """Return the subject of a request; raise `PkiError` that names the attribute that cannot be taken over."""
    found: dict[str, list[str]] = {field: [] for field, _ in _ATTRIBUTES.values()}
    for rdn in name.rdns:
        if len(rdn) != 1:
            raise _refuse(
                "subject has two attributes in one place (a multi-valued RDN): write them one by one"
            )
        (attribute,) = rdn
        field, rule = _rule(attribute)
        if value_tag(attribute) not in _PLAIN_TAGS or not isinstance(attribute.value, str):
            raise _refuse(f"subject.{field} is not a UTF8String or PrintableString")
        found[field].append(_checked(attribute.value, rule, f"subject.{field}"))
    for field, values in found.items():
        if len(values) > (1 if field == "commonName" else limits.SUBJECT_VALUES):
            raise _refuse(f"subject.{field} has {len(values)} values")
    try:
        return Subject(
            common_name="".join(found["commonName"]),
            organizations=tuple(found["organizations"]),
            organizational_units=tuple(found["organizationalUnits"]),
            countries=tuple(found["countries"]),
            localities=tuple(found["localities"]),
            provinces=tuple(found["provinces"]),
        )
    except PkiError as error:
        raise PkiError(Reason.INVALID_REQUEST, f"the request's {error}") from None


def read_names(extensions: x509.Extensions) -> SubjectAltNames:
    """Return the alternative names of a request, none where it asks for none; DNS names in lower case.

    Raises `PkiError` for a kind of name that a ClientCertificate cannot have, and for one that is not well formed.
    """
    try:
        asked = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return SubjectAltNames()
    dns, uris, emails, addresses = [], [], [], []
    for name in asked:
        if isinstance(name, x509.DNSName):
            dns.append(name.value.lower())
        elif isinstance(name, x509.UniformResourceIdentifier):
            uris.append(name.value)
        elif isinstance(name, x509.RFC822Name):
            emails.append(name.value)
        elif isinstance(name, x509.IPAddress):
            addresses.append(_address(name))
        else:
            raise _refuse(
                f"alternative names contain a {type(name).__name__}: "
                "only DNS names, URIs, e-mail and IP addresses are supported"
            )
    if not (dns or uris or emails or addresses):
        raise _refuse("list of alternative names is empty")
    try:
        return SubjectAltNames(
            dns_names=_each(dns, limits.CLIENT_DNS_NAME, "dnsNames"),
            uris=_each(uris, limits.URI, "uris"),
            emails=_each(emails, limits.EMAIL, "emails"),
            ip_addresses=_each(addresses, limits.IP_ADDRESS, "ipAddresses"),
        )
    except PkiError as error:
        raise PkiError(Reason.INVALID_REQUEST, f"the request: {error}") from None


def _rule(attribute: x509.NameAttribute[str | bytes]) -> tuple[str, TextRule]:
    found = _ATTRIBUTES.get(attribute.oid)
    if found is not None:
        return found
    shown = name_text(x509.Name([attribute])).partition("=")[0]
    hint = ": write the address as an alternative name" if attribute.oid == NameOID.EMAIL_ADDRESS else ""
    raise _refuse(
        f"subject has the attribute {shown}, which is not supported: only CN, O, OU, C, L and ST are{hint}"
    )


def _each(values: list[str], rule: TextRule, field: str) -> tuple[str, ...]:
    if len(values) > limits.ALTERNATIVE_NAMES:
        raise _refuse(f"{field} are more than {limits.ALTERNATIVE_NAMES}")
    if len(set(values)) != len(values):
        raise _refuse(f"{field} contain the same name twice")
    return tuple(_checked(value, rule, f"{field}[{index}]") for index, value in enumerate(values))


def _address(name: x509.IPAddress) -> str:
    if isinstance(name.value, ipaddress.IPv6Address) and name.value.ipv4_mapped is not None:
        raise _refuse(f"address {name.value} is an IPv4 address in the form of IPv6: write it as IPv4")
    return str(name.value)


def _checked(value: str, rule: TextRule, path: str) -> str:
    try:
        rule.check(value, path=path)
    except InvalidSpec as error:
        raise _refuse(f"{path} {value[:130]!a}: {error.message}") from None
    if any(unicodedata.category(character) in _INVISIBLE for character in value):
        raise _refuse(f"{path} {value[:130]!a} contains a character that does not show")
    return value


def _refuse(what: str) -> PkiError:
    return PkiError(Reason.INVALID_REQUEST, f"the request's {what}.")
