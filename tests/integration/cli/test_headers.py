"""What ``rule explain`` says about header lines is what arrives behind the real proxy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.support.lab import HOST, Lab

from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.request import Flags, describe

REFERERS = [
    "",
    "/relative?a=b",
    "//a/b",
    "a",
    "a b",
    "a:b",
    "/a:b",
    "/a#b",
    "*",
    "[::1]",
    "about:blank",
    "https:a",
    "https://",
    "https://?a",
    "https://a",
    "https://A.example/x?y=z",
    "https://a/#b",
    "https://a/ b",
    'https://a/"|^',
    "https://a_b/",
    "https://b@a/",
    "https://@a/",
    "https://a:/",
    "https://a:0/",
    "https://a:65535/",
    "https://a:65536/",
    "http://[::1]:80/",
    "http://[::1",
    "android-app://com.example/",
    "file:///a",
    "https://a\\b",
    "https://a/,https://b/",
]
NAMES = [
    *("accept", "alt-used", "connection", "date", "forwarded", "keep-alive", "origin", "proxy-connection"),
    *(
        "proxy-authorization",
        "range",
        "traceparent",
        "upgrade",
        "via",
        "x-forwarded-host",
        "x-forwarded-scheme",
    ),
    *("x-real-ip", "x-role", "x_role"),
    *(
        f"x-envoy-{name}"
        for name in (
            *("attempt-count", "decorator-operation", "degraded", "downstream-service-cluster"),
            *("downstream-service-node", "expected-rq-timeout-ms", "force-trace", "hedge-on-per-try-timeout"),
            *("ip-tags", "is-timeout-retry", "max-retries", "original-dst-host", "original-host"),
            *("original-path", "peer-metadata", "retriable-header-names", "retriable-status-codes"),
            *("retry-grpc-on", "retry-on", "upstream-alt-stat-name", "upstream-rq-per-try-timeout-ms"),
            *("upstream-rq-timeout-alt-response", "upstream-rq-timeout-ms"),
        )
    ),
]


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("headers"))
    lab.push_rules(replace(lab.rules, rules=()))
    yield lab
    lab.close()


@pytest.mark.parametrize(
    ("name", "value"), [*(("referer", value) for value in REFERERS), *((name, "1") for name in NAMES)]
)
def test_a_header_line_arrives_where_it_is_explained_to_arrive(open_lab: Lab, name: str, value: str) -> None:
    flags = Flags(headers=[f"{name}: {value}"], http_version="1.1")
    described = describe(flags, default_host=HOST, at=datetime.now(UTC), paths=Paths())
    headers = described.fields["http.request.headers"]
    assert isinstance(headers, dict)
    open_lab.upstream.inbox.clear()
    with open_lab.http1() as client:
        assert client.get("/", HOST, [(name, value)]).status == 200
    (arrived,) = open_lab.upstream.inbox.all()
    assert [each for key, each in arrived.headers if key.lower() == name] == headers.get(name, [])
