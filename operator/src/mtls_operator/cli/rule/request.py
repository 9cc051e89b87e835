"""A request that flags describe, as the proxy hands it to the rules: normalised, its header lines joined or dropped.

What is not described has a value all the same (see :mod:`mtls_operator.rules.request`); ``assumed`` says which of
those a person should know about when a rule reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from mtls_operator.api import names
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.rule.path import Path, Paths
from mtls_operator.cli.rule.referer import referer_arrives
from mtls_operator.envoy import REMOVED_HEADERS
from mtls_operator.rules import RequestError
from mtls_operator.rules.request import check_request
from mtls_operator.rules.schema import CERTIFICATE_PREFIX

_TOKEN: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_METHOD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PORT: Final = re.compile(r":[0-9]*$")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
#: Lines that Envoy joins with a comma before any rule runs (docs/rules-language.md).
_JOINED: Final = frozenset(
    {
        "accept",
        "authorization",
        "cache-control",
        "content-type",
        "origin",
        "referer",
        "user-agent",
        "via",
        "x-forwarded-for",
    }
)
#: What a client sends under these names does not arrive.
_DROPPED: Final = re.compile(
    rf"{REMOVED_HEADERS}|x-forwarded-proto|x-request-id|.*_.*"
    "|connection|keep-alive|proxy-connection|transfer-encoding|upgrade"
    # What Envoy takes for its own, and from no client.
    "|x-envoy-(decorator-operation|downstream-service-(cluster|node)|expected-rq-timeout-ms|external-address"
    "|force-trace|hedge-on-per-try-timeout|internal|ip-tags|max-retries|original-(host|path)|retriable-header-names"
    "|retriable-status-codes|retry-(grpc-)?on|upstream-(alt-stat-name|rq-(per-try-)?timeout-ms|rq-timeout-alt-response))"
)
_STATES: Final = frozenset(
    CERTIFICATE_PREFIX + f"cert_{name}" for name in ("presented", "verified", "revoked")
)
_ASSUMED: Final = frozenset({"cf.edge.server_ip", "cf.tls_cipher", "ip.src"})


@dataclass(frozen=True, slots=True)
class Described:
    """A request: its line, its path as the proxy reads it, and its fields but for those of the certificate.

    ``dropped`` are header names that do not arrive; ``assumed`` are fields that nobody gave a value.
    """

    method: str
    host: str
    target: str
    path: Path
    sni: str
    fields: Mapping[str, object]
    dropped: tuple[str, ...]
    assumed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Flags:
    """What the flags say; empty where they say nothing."""

    url: str = ""
    host: str = ""
    path: str = ""
    method: str = "GET"
    sni: str = ""
    headers: Sequence[str] = ()
    client_ip: str = ""
    tls_version: str = "1.3"
    http_version: str = "2"
    fields: Sequence[str] = ()


def describe(flags: Flags, *, default_host: str, at: datetime, paths: Paths) -> Described:
    """Return the request of the flags; ``default_host`` is asked where they name none (empty: nothing is yet).

    Raises:
        Unanswered: a flag is not understood.
    """
    host, target = _target(flags, default_host)
    if not _METHOD.fullmatch(flags.method):
        raise Unanswered(f"--method: {flags.method!r} is no method")
    path = paths.read(target)
    headers, dropped = _headers(flags.headers, host, flags.http_version)
    moment = at.astimezone(UTC)
    fields: dict[str, object] = {
        "cf.edge.server_port": names.TLS_PORT,
        "cf.tls_version": f"TLSv{flags.tls_version}",
        "http.host": host,
        "http.request.headers": headers,
        "http.request.method": flags.method,
        "http.request.timestamp.sec": int(moment.timestamp()),
        "http.request.timestamp.msec": moment.microsecond // 1000,
        "http.request.uri.path": path.path,
        "http.request.uri.query": path.query,
        "http.request.version": "HTTP/2" if flags.http_version == "2" else "HTTP/1.1",
    }
    if flags.client_ip:
        fields["ip.src"] = _address(flags.client_ip)
    given = _given(flags.fields)
    return Described(
        method=flags.method,
        host=host,
        target=target,
        path=path,
        sni=(flags.sni or host).lower(),
        fields={**fields, **given},
        dropped=dropped,
        assumed=_ASSUMED - fields.keys() - given.keys(),
    )


def _target(flags: Flags, default_host: str) -> tuple[str, str]:
    host, target = flags.host, flags.path
    if flags.url:
        if flags.host or flags.path:
            raise Unanswered("give either --url, or --host and --path")
        parts = urlsplit(flags.url)
        if parts.scheme != "https" or not parts.netloc:
            raise Unanswered(f"--url: {flags.url!r} does not begin with https:// and a host")
        host = parts.netloc.rpartition("@")[2]
        # As it was written: urlsplit drops what a client would send.
        target = re.sub(r"^https://[^/?#]*", "", flags.url, flags=re.IGNORECASE).partition("#")[0]
        target = target if target.startswith("/") else f"/{target}"
    host = _PORT.sub("", host).lower().removesuffix(".") or default_host
    if host and not _HOST.fullmatch(host):
        raise Unanswered(f"{host!r} is no host name")
    target = target or "/"
    if not target.startswith("/"):
        raise Unanswered(f"--path: {target!r} does not begin with a slash")
    return host, target


def _headers(lines: Sequence[str], host: str, version: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    headers: dict[str, list[str]] = {"host": [host]}
    dropped: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip(" \t")
        if not colon or not _TOKEN.fullmatch(name) or not value.isprintable():
            raise Unanswered(f"--header: {line!r} is not of the form 'Name: value'")
        if name == "host":
            raise Unanswered("--header: give the host with --host or --url")
        if _DROPPED.fullmatch(name):
            dropped.append(name)
            continue
        values = headers.setdefault(name, [])
        joint = "," if name in _JOINED else "; " if name == "cookie" and version == "2" else None
        values[:] = [joint.join([*values, value])] if joint else [*values, value]
    if not all(map(referer_arrives, headers.get("referer", []))):
        del headers["referer"]
        dropped.append("referer")
    if version == "2" and "cookie" in headers:
        # Put together again when all lines have been read.
        headers["cookie"] = headers.pop("cookie")
    return headers, tuple(dict.fromkeys(dropped))


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise Unanswered(f"--client-ip: {text!r} is no address") from error


def _given(assignments: Sequence[str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            value: object = json.loads(text)
        except ValueError:
            value = text
        if name in _STATES:
            raise Unanswered(
                f"--field: for {name} there are --verified, --unverified, --revoked and --no-cert"
            )
        if not equals:
            raise Unanswered(f"--field: {assignment!r} is not of the form NAME=VALUE")
        fields[name] = value if _takes({name: value}) else text
        try:
            check_request({name: fields[name]})
        except (RequestError, ValueError) as error:
            raise Unanswered(f"--field: {error}") from error
    return fields


def _takes(request: Mapping[str, object]) -> bool:
    try:
        check_request(request)
    except (RequestError, ValueError):
        return False
    return True
