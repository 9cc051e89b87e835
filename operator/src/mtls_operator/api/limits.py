"""Limits of our kinds: every bound and text pattern, each written once for the parsers.

The definitions in ``crds/`` state the same ones; a test compares both. Patterns are in the common subset of
RE2 (the API server) and Python, and are always matched against the whole text.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from mtls_operator.api.fields import TextRule
from mtls_operator.api.names import STATUS_PORT, TLS_PORT

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS: Final = rf"{_LABEL}(\.{_LABEL})*"
#: A host whose last label is a number is an IPv4 address to every client (WHATWG URL), and never a server
#: name in TLS.
_NUMERIC_END: Final = r"(^|\.)[0-9]+$"

#: Exact name or wildcard: MTLSHost hostnames, DNS names of certificates.
HOSTNAME: Final = TextRule(
    pattern=rf"^(\*\.)?{_DNS}$",
    max_length=253,
    wanted="a lower-case DNS name like api.example.com or *.example.com, without port, no IP address",
    refused=_NUMERIC_END,
)
#: Exact name: a wildcard would never be equal to a request's host.
EXACT_HOSTNAME: Final = TextRule(
    pattern=rf"^{_DNS}$",
    max_length=253,
    wanted="a lower-case DNS name without wildcard; for a wildcard write an expression",
    refused=_NUMERIC_END,
)
#: A client is one machine: no wildcard.
CLIENT_DNS_NAME: Final = TextRule(
    pattern=rf"^{_DNS}$",
    max_length=253,
    wanted="a lower-case DNS name like gateway-7.example.com, without wildcard and port, no IP address",
    refused=_NUMERIC_END,
)
#: Name of a Kubernetes object (RFC 1123 subdomain).
OBJECT_NAME: Final = TextRule(pattern=rf"^{_DNS}$", max_length=253, wanted="the name of an object")
#: Name of a Secret that a user chooses; our own begin with ``mtls-``.
SECRET_NAME: Final = TextRule(
    pattern=rf"^{_DNS}$",
    max_length=253,
    wanted="the name of a Secret that does not begin with mtls- (those are the operator's own)",
    refused=r"^mtls-",
)
#: Name of a ConfigMap that a user chooses; our own begin with ``mtls-``.
CONFIG_MAP_NAME: Final = TextRule(
    pattern=rf"^{_DNS}$",
    max_length=253,
    wanted="the name of a ConfigMap that does not begin with mtls- (those are the operator's own)",
    refused=r"^mtls-",
)
#: Name of a namespace (RFC 1123 label).
NAMESPACE: Final = TextRule(pattern=rf"^{_LABEL}$", max_length=63, wanted="the name of a namespace")
#: Key of a ConfigMap or Secret.
DATA_KEY: Final = TextRule(
    pattern=r"^[-._a-zA-Z0-9]+$", max_length=253, wanted="a key like ca.crt of the ConfigMap or Secret"
)

#: Key of a Secret's data (https://kubernetes.io/docs/concepts/configuration/secret/).
SECRET_KEY: Final = TextRule(
    pattern=r"^[-._a-zA-Z0-9]+$",
    max_length=253,
    wanted="a key of a Secret: letters, digits, hyphens, dots and underscores",
)
#: A PEM signing request. A private key in it would stand in the object, where everybody who may see it reads it.
REQUEST: Final = TextRule(
    pattern=r"^(?s:.+)$",
    max_length=32_768,
    wanted="a PEM CERTIFICATE REQUEST alone: a private key does not belong into this object, make a new key",
    refused="PRIVATE KEY-----",
)
#: What is issued for a request stands in a ConfigMap with a prefix before this name.
REQUEST_NAME_LENGTH: Final = 236

#: X.520 upper bounds. No control characters, no blank at either end: such names look like others in logs.
_NAME_PATTERN: Final = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
_NAME_WANTED: Final = "a name without control characters and without blanks at its ends"
SHORT_NAME: Final = TextRule(pattern=_NAME_PATTERN, max_length=64, wanted=_NAME_WANTED)
LONG_NAME: Final = TextRule(pattern=_NAME_PATTERN, max_length=128, wanted=_NAME_WANTED)
COUNTRY: Final = TextRule(
    pattern=r"^[A-Z]{2}$", max_length=2, wanted="a country code of two upper-case letters like DE"
)
#: Comma and semicolon would forge elements of X-Forwarded-Client-Cert, where the proxy writes it unquoted.
URI: Final = TextRule(
    pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-+<-~:./0-9-]+$",
    max_length=512,
    wanted="an absolute URI like spiffe://example.com/gateway (RFC 5280, 4.2.1.6), without comma and semicolon",
)
EMAIL: Final = TextRule(
    pattern=r"^[!-?A-~]+@[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$",
    max_length=254,
    wanted="an ASCII mail address like ops@example.com",
)
IP_ADDRESS: Final = TextRule(
    pattern=r"^[0-9A-Fa-f:.]+$",
    max_length=45,
    wanted="an IPv4 or IPv6 address without zone and prefix length",
)

#: A path in the form in which rules see it, printable ASCII without query and escapes. A percent sign is
#: refused because the upper and lower case of an escape are different texts for one path: such a rule could
#: be evaded.
_PATH_PATTERN: Final = r'^/[!"$&->@-\[\]-~]*$'
PATH: Final = TextRule(
    pattern=_PATH_PATTERN,
    max_length=512,
    wanted="a normalised path like /admin: first a slash, and no query, //, /./, /../, % or backslash",
    refused=r"//|/\.\.?(/|$)",
)
PATH_PREFIX: Final = TextRule(
    pattern=_PATH_PATTERN, max_length=512, wanted=PATH.wanted, refused=r"//|/\.\.?/"
)
CONTENT_TYPE: Final = TextRule(
    pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+-]+)*$",
    max_length=128,
    wanted="a media type like application/json or text/plain; charset=utf-8",
)

HOST_NAME_LENGTH: Final = 52
HOSTNAMES: Final = 64
ALLOWED_PORTS: Final = 32
#: Files with authorities, and files with revocation lists.
CA_SOURCES: Final = 16
#: Other namespaces whose managed CA a host trusts.
GRANTERS: Final = 16
MIN_PORT: Final = 1
MAX_PORT: Final = 65_535
#: The sidecar listens on these itself.
RESERVED_PORTS: Final = frozenset({TLS_PORT, STATUS_PORT})
MIN_AGE: Final = timedelta(minutes=1)
MAX_AGE: Final = timedelta(hours=24)

SUBJECT_VALUES: Final = 8
ALTERNATIVE_NAMES: Final = 32
MIN_VALIDITY: Final = timedelta(hours=1)
MAX_VALIDITY: Final = timedelta(days=3650)
MIN_RENEWAL: Final = timedelta(minutes=1)

HOST_REFS: Final = 64
MATCH_ITEMS: Final = 64
EXPRESSION_LENGTH: Final = 4096
MIN_STATUS: Final = 400
MAX_STATUS: Final = 499
BODY_BYTES: Final = 2048
MAX_PRIORITY: Final = 1_000_000
