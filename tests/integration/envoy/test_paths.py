"""Other spellings of a protected path: none reaches the application without a good certificate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.lab import HOST, NO_GOOD_CERTIFICATE, Lab

from mtls_operator.envoy import RuleScript

REFUSED = [
    "/admin;x",
    "/admin;jsessionid=1?x=1",
    "/;x/admin",
    "/admin%3bx",
    "/admin%3Bx",
    "//admin",
    "///admin",
    "/%61dmin",
    "/%61dm%69n;v=1",
    "/./admin",
    "/.;/admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/x/..;/admin",
    "/x/..;a=1/admin",
    "/x/%2e%2e;/admin",
    "/x/..%3b/admin",
    "/x/y/..;/..;/admin",
    "/..;/..;/admin",
    "/\\admin",
    "\\admin",
    "/x\\..\\admin",
    "/admin%2f..%2fadmin",
    "/%2fadmin",
    "/%2Fadmin",
    "/%5cadmin",
    "/x%5C..%5Cadmin",
    "/admin#x",
    "/admin%00",
    "/admin%0a",
    "/admin%7f",
    "/admin%1f/x",
    "/admin\x01",
    "/admin\t",
    "/admi\xef",
    "/admin?",
    "/admin?x=/../public",
    "https://api.example.com/admin",
    "http://api.example.com/admin",
    "HTTPS://API.EXAMPLE.COM/admin",
    "https://api.example.com/x/../admin",
    "https://api.example.com:443//admin",
    "*",
    "admin",
    "/.mtls/../admin",
    "/.mtls/ready/../../admin",
    "/.mtls/ready;/../../admin",
    "/.mtls/ready%2f..%2f..%2fadmin",
]


@pytest.mark.parametrize("target", REFUSED)
def test_this_spelling_does_not_reach_the_application(lab: Lab, target: str) -> None:
    with lab.http1() as client:
        answer = client.get(target, HOST)
    assert answer.status in {307, 400, 403}
    assert lab.upstream.inbox.all() == []


@pytest.mark.parametrize(
    "target",
    ["/admin;x", "//admin", "/x/..;/admin", "/\\admin", "/x\\..\\admin", "/%2e/admin", "\\admin", "admin"],
)
def test_this_spelling_does_not_reach_the_application_by_http2_either(lab: Lab, target: str) -> None:
    with lab.http2() as client:
        answer = client.get(target, HOST)
    assert answer.status in {0, 400, 403}
    assert lab.upstream.inbox.all() == []


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/%61dmin", "/admin"),
        ("/x/../admin", "/admin"),
        ("//admin", "/admin"),
        ("/a\\b", "/a/b"),
        ("/admin;x", "/admin;x"),
        ("/a%20b?q=%2f\\..//", "/a%20b?q=%2f\\..//"),
        ("https://api.example.com", "/"),
    ],
)
def test_the_application_receives_the_path_that_was_judged(lab: Lab, sent: str, arrives: str) -> None:
    with lab.http1("good") as client:
        assert client.get(sent, HOST).status == 200
    assert [request.target for request in lab.upstream.inbox.all()] == [arrives]


def test_an_escaped_slash_sends_the_client_to_the_path_that_it_may_mean(lab: Lab) -> None:
    with lab.http1("good") as client:
        answer = client.get("/x%2fadmin", HOST)
    assert (answer.status, answer.headers["location"]) == (307, "/x/admin")


def test_parameters_pass_where_neither_reading_of_the_path_is_forbidden(lab: Lab) -> None:
    with lab.http1() as client:
        assert client.get("/items;color=red/1;v=2", HOST).status == 200


def test_a_skip_for_the_path_without_parameters_does_not_open_the_path_with_them(lab: Lab) -> None:
    path = 'f["http.request.uri.path"]'
    rules = (
        RuleScript("public", "skip", (), f'{path} == "/public"'),
        RuleScript("rest", "block", (), NO_GOOD_CERTIFICATE),
    )
    lab.push_rules(replace(lab.rules, rules=rules))
    with lab.http1() as client:
        assert client.get("/public", HOST).status == 200
        assert client.get("/public;x", HOST).status == 403


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "x-original-url"])
def test_a_header_cannot_rename_the_path_behind_the_rules(lab: Lab, name: str) -> None:
    with lab.http1() as client:
        assert client.get("/", HOST, [(name, "/admin")]).status == 200
    assert lab.upstream.inbox.all()[0].values(name.lower()) == []


def test_connect_is_refused(lab: Lab) -> None:
    with lab.http1("good") as client:
        assert (
            client.raw(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n").status == 400
        )
    with lab.http2("good") as client:
        assert client.send([(":method", "CONNECT"), (":authority", HOST)]).status == 400


def test_an_upgrade_to_cleartext_http2_does_not_tunnel_past_the_rules(lab: Lab) -> None:
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    with lab.http1() as client:
        assert client.get("/", HOST, upgrade).status in {200, 403}
        assert client.get("/admin", HOST, upgrade).status == 403
    for request in lab.upstream.inbox.all():
        assert request.values("upgrade") == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length : 5\r\n\r\nhello",
        b"X: a\r\n Content-Length: 30\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;a=\n\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_second_request_cannot_be_smuggled_in_the_first(lab: Lab, request_bytes: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: api.example.com\r\n"
    hidden = b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
    with lab.http1() as client:
        client.raw(head + request_bytes + hidden)
    assert "/admin" not in [request.target for request in lab.upstream.inbox.all()]


def test_a_websocket_is_opened_and_the_rules_apply_to_it(lab: Lab) -> None:
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    with lab.http1() as client:
        assert client.get("/admin", HOST, upgrade).status == 403
    with lab.http1() as client:
        assert client.get("/chat", HOST, upgrade).status == 101
        client.socket.sendall(b"frames")
        assert client.reader.read(6) == b"frames"
