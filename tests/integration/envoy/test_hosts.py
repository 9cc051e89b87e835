"""For whom a request is: authority and server name must be the same enabled host, else 421."""

from __future__ import annotations

import pytest
from tests.support.lab import HOST, OTHER_HOST, Lab

from mtls_operator.api.names import READY_PATH

MISDIRECTED = '{"error":"misdirected request","request_id":"%s"}\n'


@pytest.mark.parametrize(
    ("sni", "authority"),
    [
        (OTHER_HOST, HOST),
        (HOST, OTHER_HOST),
        (None, HOST),
        ("evil.example.com", "evil.example.com"),
        ("evil.example.com", HOST),
        (HOST, f"user@{HOST}"),
        (HOST, f"{HOST}.."),
        (HOST, f"{HOST}:443:443"),
        (HOST, "127.0.0.1"),
        (HOST, ""),
        ("a.b.wild.example.com", "a.b.wild.example.com"),
        ("wild.example.com", "wild.example.com"),
        (f"x.{HOST}", f"x.{HOST}"),
    ],
)
def test_another_host_is_misdirected(lab: Lab, sni: str | None, authority: str) -> None:
    with lab.http1("good", sni) as client:
        answer = client.get("/", authority)
    told = MISDIRECTED % answer.headers["x-request-id"]
    assert (answer.status, answer.body.decode()) == (421, told)
    assert lab.upstream.inbox.all() == []


@pytest.mark.parametrize(
    "authority", [HOST, "API.Example.COM", f"{HOST}:443", f"{HOST}:8443", f"{HOST}.", "API.example.com:443."]
)
def test_port_case_and_trailing_dot_do_not_matter_and_are_not_forwarded(lab: Lab, authority: str) -> None:
    with lab.http1("good") as client:
        assert client.get("/", authority).status == 200
        assert lab.upstream.inbox.all()[0].authority == HOST
    with lab.http1() as client:
        assert client.get("/admin", authority).status == 403


def test_the_other_host_of_the_same_proxy_is_served_too(lab: Lab) -> None:
    with lab.http1("good", OTHER_HOST) as client:
        assert client.get("/", OTHER_HOST).status == 200


def test_a_wildcard_stands_for_one_label(lab: Lab) -> None:
    with lab.http1("good", "a.wild.example.com") as client:
        assert client.get("/", "a.wild.example.com").status == 200


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize(
    "label",
    [
        *(
            "x@admin",
            "x:80@admin",
            "%61dmin",
            "admin%00",
            "admin,x",
            "admin;x",
            "admin&x",
            "(admin)",
            "admin'",
        ),
        *("*", "[::1]", "admin x", "admin/x", "admin?x", "admin#x", "admin\\x"),
    ],
)
def test_a_wildcard_stands_for_no_text_that_an_application_may_read_as_another_label(
    lab: Lab, protocol: str, label: str
) -> None:
    name = f"{label}.wild.example.com"
    with getattr(lab, protocol)("good", name) as client:
        # Some of them the proxy itself does not take for an authority.
        assert client.get("/", name).status in {0, 400, 421}
    assert lab.upstream.inbox.all() == []


@pytest.mark.parametrize("label", ["a", "0", "x-1", "x_1", "XN--BCHER-KVA"])
def test_a_wildcard_stands_for_every_label_of_a_name(lab: Lab, label: str) -> None:
    name = f"{label}.wild.example.com"
    with lab.http1("good", name) as client:
        assert client.get("/", name).status == 200
    assert lab.upstream.inbox.all()[0].authority == name.lower()


@pytest.mark.parametrize("second", [HOST, OTHER_HOST, "evil.example.com"])
def test_two_host_headers_are_refused(lab: Lab, second: str) -> None:
    with lab.http1("good") as client:
        answer = client.raw(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {second}\r\n\r\n".encode())
    assert answer.status in {400, 421}
    assert lab.upstream.inbox.all() == []


def test_the_authority_of_an_absolute_request_line_counts_not_the_host_header(lab: Lab) -> None:
    with lab.http1("good") as client:
        assert client.get("https://evil.example.com/", HOST).status == 421
        assert client.get(f"https://{HOST}/", "evil.example.com").status == 200
    assert [request.authority for request in lab.upstream.inbox.all()] == [HOST]


def test_a_host_header_beside_the_authority_of_http2_is_not_forwarded(lab: Lab) -> None:
    head = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
    with lab.http2("good") as client:
        assert client.send([*head, (":authority", HOST), ("host", "evil.example.com")]).status == 200
        assert client.send([*head, (":authority", "evil.example.com"), ("host", HOST)]).status == 421
    assert [request.values("host") for request in lab.upstream.inbox.all()] == [[HOST]]


def test_requests_without_a_host_are_refused(lab: Lab) -> None:
    with lab.http1("good") as client:
        assert client.raw(b"GET / HTTP/1.1\r\n\r\n").status == 400
    with lab.http1("good") as client:
        assert client.raw(b"GET / HTTP/1.0\r\n\r\n").status == 426


@pytest.mark.parametrize("sni", [None, HOST, "evil.example.com"])
def test_the_readiness_probe_is_answered_whatever_it_calls_us(lab: Lab, sni: str | None) -> None:
    with lab.http1(None, sni) as client:
        answer = client.get(READY_PATH, "10.1.2.3:8443")
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert lab.upstream.inbox.all() == []


def test_the_readiness_path_answers_get_only(lab: Lab) -> None:
    for method in ("POST", "HEAD", "PUT", "OPTIONS"):
        with lab.http1("good") as client:
            assert client.raw(f"{method} {READY_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).status == 405
    assert lab.upstream.inbox.all() == []


def test_the_readiness_probe_fails_when_the_rules_script_does(lab: Lab) -> None:
    lab.push_rules("-- mtls-rules 1\nfunction envoy_on_request(handle) error('broken') end\n")
    with lab.http1(None, None) as client:
        assert client.get(READY_PATH, "10.1.2.3:8443").status == 403
