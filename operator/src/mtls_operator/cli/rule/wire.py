"""Which requests of cases HTTPS can carry unchanged, and as what.

A request that is sent arrives with more than it says (the authority is a header line), and with less than a case can
ask for (addresses, fingerprints). What is carried here is exactly what the proxy's rules then see; for everything else
:func:`carried` says None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.referer import referer_arrives
from mtls_operator.envoy import REMOVED_HEADERS
from mtls_operator.rules import Expression, RequestError, evaluate
from mtls_operator.rules.schema import CERTIFICATE_PREFIX

_DEFAULT_HOST: Final = "api.example.com"
_STATES: Final = tuple(
    CERTIFICATE_PREFIX + name for name in ("cert_presented", "cert_verified", "cert_revoked")
)
#: Who has a certificate in this state.
_CLIENTS: Final = {
    (False, False, False): None,
    (True, False, False): "foreign",
    (True, True, False): "good",
    (True, True, True): "revoked",
}
_TLS: Final = {"TLSv1.2", "TLSv1.3"}
#: Fields that a client decides, or that are the same for every client here.
_READ: Final = frozenset(
    {
        *_STATES,
        "cf.tls_version",
        "false",
        "http.cookie",
        "http.host",
        "http.referer",
        "http.request.cookies",
        "http.request.full_uri",
        "http.request.headers",
        "http.request.headers.names",
        "http.request.headers.truncated",
        "http.request.headers.values",
        "http.request.method",
        "http.request.uri",
        "http.request.uri.args",
        "http.request.uri.args.names",
        "http.request.uri.args.values",
        "http.request.uri.path",
        "http.request.uri.path.extension",
        "http.request.uri.query",
        "http.user_agent",
        "http.x_forwarded_for",
        "ssl",
        "true",
    }
)
_VERSION: Final = "http.request.version"
_GIVEN: Final = frozenset(
    {
        *_STATES,
        "cf.tls_version",
        "http.host",
        "http.request.headers",
        "http.request.method",
        "http.request.uri.path",
        "http.request.uri.query",
        _VERSION,
    }
)
#: Envoy joins the lines of these with a comma, or does not take more than one.
_SINGLE: Final = frozenset(
    """accept access-control-request-headers access-control-request-method authorization cache-control content-type
    cookie origin referer user-agent via x-forwarded-for x-request-id""".split()  # noqa: SIM905 - names, not code
)
_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")
#: Belong to the connection or the body, are removed, or are set by the proxy.
_OTHER_NAMES: Final = re.compile(
    r"host|connection|content-length|expect|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings"
    rf"|{REMOVED_HEADERS}|x-envoy-.*|x-forwarded-(host|proto|port|scheme)|x-request-id"
)
_VALUE: Final = re.compile(r"([!-~]([ -~]*[!-~])?)?")
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")
_METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it is sent: by whom (None: without a certificate), over which TLS, and its lines."""

    client: str | None
    tls: str
    method: str
    target: str
    host: str
    headers: tuple[tuple[str, str], ...]


def carried(expression: Expression, request: Mapping[str, object], paths: Paths) -> Sent | None:
    """Return the request that means this one for this expression, None where no client can send it."""
    reads = expression.fields - {_VERSION} if request.get(_VERSION) == "HTTP/1.1" else expression.fields
    states = tuple(request.get(name, False) is True for name in _STATES)
    if not (reads <= _READ and request.keys() <= _GIVEN and states in _CLIENTS):
        return None
    sent = _sent(request, _CLIENTS[states])
    return (
        sent
        if sent is not None and _is_plain(sent, paths) and _means_same(expression, request, sent)
        else None
    )


def _sent(request: Mapping[str, object], client: str | None) -> Sent | None:
    texts = {
        "cf.tls_version": "TLSv1.3",
        "http.request.method": "GET",
        "http.host": _DEFAULT_HOST,
        "http.request.uri.path": "/",
        "http.request.uri.query": "",
    }
    for name, default in texts.items():
        value = request.get(name, default)
        if not isinstance(value, str):
            return None
        texts[name] = value
    headers = _lines(request.get("http.request.headers", {}))
    if headers is None or "?" in texts["http.request.uri.path"]:
        return None
    query = texts["http.request.uri.query"]
    return Sent(
        client=client,
        tls=texts["cf.tls_version"],
        method=texts["http.request.method"],
        target=texts["http.request.uri.path"] + (f"?{query}" if query else ""),
        host=texts["http.host"],
        headers=headers,
    )


def _lines(headers: object) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(headers, dict):
        return None
    lines = []
    for name, values in headers.items():
        if (
            not isinstance(values, list)
            or not values
            or not all(isinstance(value, str) and _VALUE.fullmatch(value) for value in values)
            or not _NAME.fullmatch(name)
            or _OTHER_NAMES.fullmatch(name)
            or (name in _SINGLE and len(values) > 1)
            or (name == "referer" and not all(map(referer_arrives, values)))
        ):
            return None
        lines += [(name, value) for value in values]
    return tuple(lines)


def _is_plain(sent: Sent, paths: Paths) -> bool:
    """Say whether the proxy takes a request as it is: nothing to normalise, to refuse, or to read in two ways."""
    path = paths.read(sent.target)
    return (
        sent.tls in _TLS
        and sent.method in _METHODS
        and _HOST.fullmatch(sent.host) is not None
        and not sent.target.startswith("/.mtls/")
        and not (path.malformed or path.redirect or path.readings)
        and path.path == sent.target.partition("?")[0]
    )


def _means_same(expression: Expression, request: Mapping[str, object], sent: Sent) -> bool:
    """Say whether the result does not depend on what a real request has besides: its host among the header lines."""
    headers: dict[str, list[str]] = {"host": [sent.host]}
    for name, value in sent.headers:
        headers.setdefault(name, []).append(value)
    try:
        arrived = evaluate(expression, {**request, "http.request.headers": headers})
        return arrived is evaluate(expression, request)
    except RequestError:
        return False
