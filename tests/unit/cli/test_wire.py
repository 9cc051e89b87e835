"""Which requests of cases are sent over HTTPS: only those that arrive as they are."""

from __future__ import annotations

from typing import Any

import pytest

from mtls_operator.cli.rule.path import Paths
from mtls_operator.cli.rule.wire import Sent, carried
from mtls_operator.rules import parse

PATHS = Paths()
PATH = 'http.request.uri.path eq "/a"'


def sent(text: str, request: dict[str, Any]) -> Sent | None:
    return carried(parse(text), request, PATHS)


def test_a_plain_request_is_sent_with_its_parts() -> None:
    request = {
        "cf.tls_client_auth.cert_presented": True,
        "http.host": "b.example",
        "http.request.method": "PUT",
        "http.request.uri.path": "/a",
        "http.request.uri.query": "x=1",
        "http.request.headers": {"x-a": ["1", "2"]},
    }
    assert sent(PATH, request) == Sent(
        "foreign", "TLSv1.3", "PUT", "/a?x=1", "b.example", (("x-a", "1"), ("x-a", "2"))
    )


@pytest.mark.parametrize(
    ("text", "request_of_case"),
    [
        ("ip.src eq 192.0.2.1", {"ip.src": "192.0.2.1"}),
        ('cf.tls_client_auth.cert_serial eq "01"', {}),
        ("ssl", {"ssl": False}),
        ("ssl", {"http.request.uri.path": "/a//b"}),
        ("ssl", {"http.request.uri.path": "/a;b"}),
        ("ssl", {"http.request.uri.path": "/a?c"}),
        ("ssl", {"http.request.uri.path": "/a%3Ab"}),
        ("ssl", {"http.request.uri.path": "/é"}),
        ("ssl", {"http.request.uri.path": {"hex": "2f61"}}),
        ("ssl", {"http.request.uri.path": "/.mtls/ready"}),
        ("ssl", {"http.host": "B.example"}),
        ("ssl", {"http.request.method": "get"}),
        ("ssl", {"http.request.version": "HTTP/2", "cf.tls_version": "SSLv3"}),
        ('http.request.version eq "HTTP/2"', {}),
        ("ssl", {"cf.tls_client_auth.cert_verified": True}),
        ("ssl", {"http.request.headers": {"cookie": ["a=1", "b=2"]}}),
        ("ssl", {"http.request.headers": {"x_a": ["1"]}}),
        ("ssl", {"http.request.headers": {"referer": ["https://a/#b"]}}),
        ("ssl", {"http.request.headers": {"connection": ["close"]}}),
        ("ssl", {"http.request.headers": {"x-a": ["1\r\nx-b: 2"]}}),
        ("ssl", {"http.request.headers": {"x-a": [" 1"]}}),
        ("ssl", {"http.request.headers": {"x-a": []}}),
        ('all(http.request.headers.names[*] eq "x-a")', {"http.request.headers": {"x-a": ["1"]}}),
    ],
)
def test_a_request_that_would_arrive_otherwise_is_not_sent(
    text: str, request_of_case: dict[str, Any]
) -> None:
    assert sent(text, request_of_case) is None


def test_a_version_of_http_is_carried_when_it_is_the_one_that_is_spoken() -> None:
    assert sent('http.request.version eq "HTTP/1.1"', {"http.request.version": "HTTP/1.1"}) is not None
