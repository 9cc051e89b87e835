"""Request headers that a client may never send: they say who it is, or rename the path behind the rules.

They are removed natively before any filter runs, whatever their case and however often they come.
``x-forwarded-client-cert`` is sanitised by the connection manager as well; it stands here for the trailers.

Names are matched with any character in the place of a hyphen: servers that make variables of headers (CGI and
what followed it) write one underscore for all of them, so that ``client.cert`` would arrive as ``Client-Cert``.
Headers with an underscore itself are dropped by the connection manager, as a whole.

Headers that other proxies use for the same purpose (``x-ssl-client-cert``, ``ssl-client-verify`` and the like)
are not ours and pass: an application that trusts one of them must not be reachable for clients.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.document import Json, extension

#: Names of certificate headers: Envoy's and RFC 9440's, and how all of Cloudflare's begin.
_CERTIFICATE_NAMES: Final = ("(x-forwarded-)?client-cert(-chain)?",)
_CERTIFICATE_PREFIXES: Final = ("cf-client-cert",)
#: Applications on IIS, Zend and old Symfony take the path from these instead of the request line: a rule
#: about the path would be about another one.
_PATH_NAMES: Final = ("x-(original|rewrite)-url",)

#: Any character that the name of a header can have. One range of bytes keeps the automaton small: Envoy refuses
#: large ones.
_ANY: Final = "[!-~]"

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
    return [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": REMOVED_HEADERS}}}}]


def _pattern() -> str:
    # Names are lower-case here, over every protocol, and a regular expression must match the whole of one.
    names = [name.replace("-", _ANY) for name in (*_CERTIFICATE_NAMES, *_PATH_NAMES)]
    prefixed = [prefix.replace("-", _ANY) + _ANY + "*" for prefix in _CERTIFICATE_PREFIXES]
    return "|".join([*names, *prefixed])


#: Fits the whole of every name that is removed, in lower case.
REMOVED_HEADERS: Final = _pattern()
