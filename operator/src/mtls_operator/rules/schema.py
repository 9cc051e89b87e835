"""What an expression can name: fields with their types, functions with their signatures, names that we lack.

Names and types are Cloudflare's (developers.cloudflare.com, "Fields reference" and "Functions" of the
Ruleset Engine).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Final

from mtls_operator.rules import foreign
from mtls_operator.rules.types import BOOL, BYTES, BYTES_ARRAY, BYTES_ARRAY_MAP, INT, IP, IP_ARRAY, Type

CERTIFICATE_PREFIX: Final = "cf.tls_client_auth."
#: Alternative names of the certificate: our own addition to Cloudflare's fields.
NAMES_PREFIX: Final = "tls.client.san."

_BOOL_FIELDS = (
    "cf.tls_client_auth.cert_chain_rfc9440_too_large",
    "cf.tls_client_auth.cert_presented",
    "cf.tls_client_auth.cert_revoked",
    "cf.tls_client_auth.cert_rfc9440_too_large",
    "cf.tls_client_auth.cert_verified",
    "false",
    "http.request.headers.truncated",
    "ssl",
    "true",
)
_BYTES_FIELDS = (
    "cf.tls_cipher",
    "cf.tls_client_auth.cert_chain_rfc9440",
    "cf.tls_client_auth.cert_fingerprint_sha1",
    "cf.tls_client_auth.cert_fingerprint_sha256",
    "cf.tls_client_auth.cert_issuer_dn",
    "cf.tls_client_auth.cert_issuer_dn_legacy",
    "cf.tls_client_auth.cert_issuer_dn_rfc2253",
    "cf.tls_client_auth.cert_issuer_serial",
    "cf.tls_client_auth.cert_issuer_ski",
    "cf.tls_client_auth.cert_not_after",
    "cf.tls_client_auth.cert_not_before",
    "cf.tls_client_auth.cert_rfc9440",
    "cf.tls_client_auth.cert_serial",
    "cf.tls_client_auth.cert_ski",
    "cf.tls_client_auth.cert_subject_dn",
    "cf.tls_client_auth.cert_subject_dn_legacy",
    "cf.tls_client_auth.cert_subject_dn_rfc2253",
    "cf.tls_version",
    "http.cookie",
    "http.host",
    "http.referer",
    "http.request.full_uri",
    "http.request.method",
    "http.request.uri",
    "http.request.uri.path",
    "http.request.uri.path.extension",
    "http.request.uri.query",
    "http.request.version",
    "http.user_agent",
    "http.x_forwarded_for",
    "raw.http.request.full_uri",
    "raw.http.request.uri",
    "raw.http.request.uri.path",
    "raw.http.request.uri.path.extension",
    "raw.http.request.uri.query",
)

FIELDS: Final[dict[str, Type]] = {
    **dict.fromkeys(_BOOL_FIELDS, BOOL),
    **dict.fromkeys(_BYTES_FIELDS, BYTES),
    **dict.fromkeys(("cf.edge.server_ip", "ip.src"), IP),
    **dict.fromkeys(
        (
            "cf.edge.server_port",
            "http.request.body.size",
            "http.request.timestamp.msec",
            "http.request.timestamp.sec",
        ),
        INT,
    ),
    **dict.fromkeys(
        (
            "http.request.headers.names",
            "http.request.headers.values",
            "http.request.uri.args.names",
            "http.request.uri.args.values",
            "raw.http.request.uri.args.names",
            "raw.http.request.uri.args.values",
            "tls.client.san.dns",
            "tls.client.san.email",
            "tls.client.san.uri",
        ),
        BYTES_ARRAY,
    ),
    "tls.client.san.ip": IP_ARRAY,
    **dict.fromkeys(
        (
            "http.request.cookies",
            "http.request.headers",
            "http.request.uri.args",
            "raw.http.request.uri.args",
        ),
        BYTES_ARRAY_MAP,
    ),
}

#: Fields that are read and typed, but that no rule can use, and why.
UNAVAILABLE_FIELDS: Final = {
    **{
        name: "the proxy keeps no other form of the URI than the normalised one, which the application receives: "
        + name.removeprefix("raw.")
        for name in FIELDS
        if name.startswith("raw.")
    },
    "http.request.body.size": foreign.FIELDS["http.request.body."],
}

#: Fields that the data plane provides today.
SUPPORTED_FIELDS: Final = frozenset(FIELDS) - frozenset(UNAVAILABLE_FIELDS)


class Accepts(Enum):
    """Where an argument may come from."""

    FIELD = "a field"
    LITERAL = "a literal"
    EITHER = "a field or a literal"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: where its argument comes from, and which types it takes."""

    accepts: Accepts
    types: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A signature: ``required`` arguments must be given, the last parameter repeats up to ``most``."""

    parameters: tuple[Parameter, ...]
    returns: Type
    required: int
    most: int


def _function(
    returns: Type, *parameters: Parameter, required: int | None = None, most: int | None = None
) -> Function:
    count = len(parameters)
    return Function(
        parameters, returns, required if required is not None else count, most if most is not None else count
    )


_SOURCE = Parameter(Accepts.FIELD, (BYTES,))
_TEXT = Parameter(Accepts.EITHER, (BYTES,))
_NUMBER = Parameter(Accepts.LITERAL, (INT,))
_ADDRESS = Parameter(Accepts.FIELD, (IP,))
_KEY = Parameter(Accepts.EITHER, (BYTES, INT))
_OPTION = Parameter(Accepts.LITERAL, (BYTES,))

#: Functions whose arguments all have the type of the first, which is also what they return.
OF_ONE_TYPE: Final = frozenset({"coalesce", "concat"})
#: Functions that the parser and the reference evaluator know; ``any`` and ``all`` are part of the grammar.
FUNCTIONS: Final[dict[str, Function]] = {
    "coalesce": _function(
        BYTES, Parameter(Accepts.EITHER, (BYTES, INT, IP, BYTES_ARRAY, IP_ARRAY)), required=2, most=32
    ),
    "cidr": _function(IP, _ADDRESS, _NUMBER, _NUMBER),
    "cidr6": _function(IP, _ADDRESS, _NUMBER),
    "concat": _function(BYTES, Parameter(Accepts.EITHER, (BYTES, BYTES_ARRAY)), required=2, most=32),
    "decode_base64": _function(BYTES, _SOURCE),
    "ends_with": _function(BOOL, _SOURCE, _TEXT),
    "has_key": _function(BOOL, Parameter(Accepts.FIELD, (BYTES_ARRAY_MAP,)), _TEXT),
    "has_value": _function(
        BOOL, Parameter(Accepts.FIELD, (BYTES_ARRAY, IP_ARRAY)), Parameter(Accepts.EITHER, (BYTES, IP))
    ),
    "join": _function(BYTES, Parameter(Accepts.FIELD, (BYTES_ARRAY,)), _TEXT),
    "len": _function(INT, Parameter(Accepts.FIELD, (BYTES, BYTES_ARRAY, IP_ARRAY))),
    "lookup_json_integer": _function(INT, _SOURCE, _KEY, required=2, most=32),
    "lookup_json_string": _function(BYTES, _SOURCE, _KEY, required=2, most=32),
    "lower": _function(BYTES, _SOURCE),
    "remove_bytes": _function(BYTES, _SOURCE, _OPTION),
    "split": _function(BYTES_ARRAY, _SOURCE, _OPTION, _NUMBER),
    "starts_with": _function(BOOL, _SOURCE, _TEXT),
    "substring": _function(BYTES, _SOURCE, _NUMBER, _NUMBER, required=2),
    "upper": _function(BYTES, _SOURCE),
    "url_decode": _function(BYTES, _SOURCE, _OPTION, required=1),
}


def suggestion(name: str) -> str | None:
    """Return the name that was probably meant by a misspelt one."""
    names = sorted({*FIELDS, *FUNCTIONS, "any", "all"})
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.75)
    return close[0] if close else None
