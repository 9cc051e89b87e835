"""Request headers that a client may never send: they say who it is, or rename the path behind the rules.

They are removed natively before any filter runs, whatever their case and however often they come.
``x-forwarded-client-cert`` is sanitised by the connection manager as well; it stands here for the trailers.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.document import Json, extension

CLIENT_CERTIFICATE: Final = "x-forwarded-client-cert"

#: Names of certificate headers: RFC 9440, Cloudflare's, Envoy's.
_CERTIFICATE_NAMES: Final = ("client-cert", "client-cert-chain", CLIENT_CERTIFICATE)
_CERTIFICATE_PREFIXES: Final = ("cf-client-cert-",)
#: Applications on IIS, Zend and old Symfony take the path from these instead of the request line: a rule
#: about the path would be about another one.
_PATH_NAMES: Final = ("x-original-url", "x-rewrite-url")

_EARLY: Final = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_FILTER: Final = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def strip_early() -> Json:
    """Return the mutation of the connection manager that removes them from the headers."""
    return extension("mtls-strip", _EARLY, {"mutations": _removals()})


def trailer_filter() -> Json:
    """Return the filter that removes them from the trailers of a request.

    Only for applications with HTTP/2: towards HTTP/1.1 Envoy drops trailers.
    """
    return extension("mtls-trailers", _FILTER, {"mutations": {"request_trailers_mutations": _removals()}})


def _removals() -> list[Json]:
    exact: list[Json] = [{"remove": name} for name in (*_CERTIFICATE_NAMES, *_PATH_NAMES)]
    prefixed: list[Json] = [
        {"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in _CERTIFICATE_PREFIXES
    ]
    return exact + prefixed
