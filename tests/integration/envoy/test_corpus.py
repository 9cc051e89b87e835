"""Every case of the language's corpus that HTTPS can carry, as a real request through the real proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.lab import HOST, Lab, next_epoch
from tests.unit.rules.machine import corpus

from mtls_operator.api.names import RULES_FILTER
from mtls_operator.envoy import RuleScript, rules_script
from mtls_operator.rules import RUNTIME, evaluate, parse, to_lua
from mtls_operator.rules.lints import impossible_path

CERTIFICATE = "cf.tls_client_auth.cert_"
STATES = tuple(CERTIFICATE + name for name in ("presented", "verified", "revoked"))
#: Who has a certificate in this state.
PEOPLE = {
    (False, False, False): None,
    (True, False, False): "foreign",
    (True, True, False): "good",
    (True, True, True): "revoked",
}
#: Fields that a client decides, or that are the same for every client here.
CARRIED = {
    *STATES,
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
    "http.request.version",
    "http.user_agent",
    "http.x_forwarded_for",
    "ssl",
    "true",
}
GIVEN = {
    *STATES,
    "http.host",
    "http.request.headers",
    "http.request.method",
    "http.request.uri.path",
    "http.request.uri.query",
}


def text(request: Mapping[str, Any], name: str, default: str) -> str:
    value = request.get(name, default)
    return value if isinstance(value, str) else "\0"


def on_the_wire(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request as the proxy sees it: with its host among the headers."""
    headers = {"host": [text(request, "http.host", HOST)], **request.get("http.request.headers", {})}
    return {**request, "http.request.headers": headers}


def carried(case: Mapping[str, Any]) -> bool:
    """Return whether HTTPS carries the request of a case unchanged, and nothing else decides its result."""
    if "result" not in case:
        return False
    request, expression = case.get("request") or {}, parse(case["expr"])
    headers = request.get("http.request.headers", {})
    path = text(request, "http.request.uri.path", "/")
    return (
        expression.fields <= CARRIED
        and request.keys() <= GIVEN
        and impossible_path(path.encode()) is None
        # Refused before any rule is asked: not every reader agrees what such a path is.
        and re.search(r"%(?![0-9A-Fa-f]{2})", path) is None
        and re.fullmatch(r"[!-~]*", path + text(request, "http.request.uri.query", "")) is not None
        and not set(path + text(request, "http.request.uri.query", "")) & set('#;"<>')
        and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", text(request, "http.host", HOST)) is not None
        and text(request, "http.request.method", "GET") in {"GET", "PUT", "POST", "DELETE"}
        and tuple(request.get(name, False) for name in STATES) in PEOPLE
        # Envoy joins these lines with a comma alone.
        and len(headers.get("x-forwarded-for", [])) <= 1
        and all(re.fullmatch(r"[ -~]*", str(value)) for values in headers.values() for value in values)
        and evaluate(expression, on_the_wire(request)) is case["result"]
    )


CASES = [pytest.param(case, id=case["id"]) for case in corpus() if carried(case)]


def test_the_wire_carries_most_of_the_corpus() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("case", CASES)
def test_the_proxy_answers_as_the_corpus_says(lab: Lab, case: dict[str, Any]) -> None:
    assert lab.operator is not None
    request, expression = case.get("request") or {}, parse(case["expr"])
    host = text(request, "http.host", HOST)
    code = to_lua(expression)
    script = rules_script(
        epoch=next_epoch(),
        hostnames=[host],
        issuers=lab.rules.issuers,
        rules=[RuleScript("rule", "block", code.constants, code.expression, 418)],
        reads_certificate=expression.reads_certificate,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=lab.site.placement.rules_file,
    )
    lab.operator.push(RULES_FILTER, script)
    path, query = text(request, "http.request.uri.path", "/"), text(request, "http.request.uri.query", "")
    lines = [
        (name, value) for name, values in request.get("http.request.headers", {}).items() for value in values
    ]
    person = PEOPLE[tuple(request.get(name, False) for name in STATES)]  # type: ignore[index]  # three Booleans
    with lab.http2(person, host) as client:
        answer = client.send(
            [
                (":method", text(request, "http.request.method", "GET")),
                (":scheme", "https"),
                (":authority", host),
                (":path", f"{path}?{query}" if query else path),
                *lines,
            ]
        )
    assert answer.status == (418 if case["result"] else 200)
