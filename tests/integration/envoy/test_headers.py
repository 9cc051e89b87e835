"""What the application is told about the certificate: only by us, only when it is good."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.lab import HOST, Lab

FORGED = [
    ("X-Forwarded-Client-Cert", "Hash=forged"),
    ("x-forwarded-client-cert", "Hash=forged-again"),
    ("X-FORWARDED-CLIENT-CERT", "Hash=forged-loudly"),
    ("X_Forwarded_Client_Cert", "Hash=forged-with-underscores"),
    ("x-forwarded_client-cert", "Hash=forged-with-an-underscore"),
    ("Client-Cert", ":forged:"),
    ("client_cert", ":forged:"),
    ("Client-Cert-Chain", ":forged:"),
    ("Cf-Client-Cert-Der-Base64", "forged"),
    ("cf-client-cert-sha256", "forged"),
    ("CF-Client-Cert-Anything", "forged"),
]
XFCC = "x-forwarded-client-cert"


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("person", [None, "revoked", "foreign", "expired", "server-usage"], ids=str)
def test_no_certificate_header_arrives_for_a_client_without_a_good_one(
    lab: Lab, person: str | None, protocol: str
) -> None:
    headers = FORGED if protocol == "http1" else [(name.lower(), value) for name, value in FORGED]
    with getattr(lab, protocol)(person) as client:
        assert client.get("/", HOST, headers).status == 200
    (request,) = lab.upstream.inbox.all()
    assert not [name for name, value in request.headers if "cert" in name or "forged" in value]


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_exactly_our_header_arrives_for_a_good_certificate(lab: Lab, protocol: str) -> None:
    headers = FORGED if protocol == "http1" else [(name.lower(), value) for name, value in FORGED]
    with getattr(lab, protocol)("good") as client:
        assert client.get("/", HOST, headers).status == 200
    (request,) = lab.upstream.inbox.all()
    (value,) = request.values(XFCC)
    assert f"Hash={lab.people.pairs['good'].digest}" in value
    assert 'Subject="CN=good"' in value
    assert "forged" not in str(request.headers)


def test_no_header_arrives_when_the_host_does_not_want_it(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, forward=()))
    with lab.http1("good") as client:
        assert client.get("/admin", HOST, FORGED).status == 200
    assert lab.upstream.inbox.all()[0].values(XFCC) == []


def test_headers_hidden_by_a_connection_header_arrive_all_the_same(lab: Lab) -> None:
    with lab.http1("good") as client:
        assert client.get("/", HOST, [("Connection", "close, x-forwarded-client-cert")]).status == 200
    assert len(lab.upstream.inbox.all()[0].values(XFCC)) == 1


def test_trailers_do_not_reach_an_http1_application(lab: Lab) -> None:
    body = b"4\r\nbody\r\n0\r\nX-Forwarded-Client-Cert: Hash=forged\r\nClient-Cert: x\r\n\r\n"
    with lab.http1() as client:
        head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert client.raw(head + body).status == 200
    (request,) = lab.upstream.inbox.all()
    assert request.trailers == ()
    assert "forged" not in str(request.headers)


def test_certificate_headers_do_not_reach_an_http2_application_as_trailers(grpc_lab: Lab) -> None:
    head = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
    forged = [(name.lower(), value) for name, value in FORGED]
    with grpc_lab.http2() as client:
        assert (
            client.send(head, trailers=[*forged, ("x-original-url", "/admin"), ("checksum", "kept")]).status
            == 200
        )
    (request,) = grpc_lab.upstream.inbox.all()
    assert request.trailers == (("checksum", "kept"),)


def test_the_rules_apply_to_an_http2_application(grpc_lab: Lab) -> None:
    for person, status in ((None, 403), ("good", 200), ("revoked", 403)):
        with grpc_lab.http2(person) as client:
            assert client.get("/admin", HOST).status == status
    assert [request.target for request in grpc_lab.upstream.inbox.all()] == ["/admin"]


def test_the_application_sees_the_peer_and_https_not_what_the_client_claims(lab: Lab) -> None:
    claims = [
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Envoy-Internal", "true"),
        ("X-Envoy-Original-Path", "/admin"),
        ("X-Envoy-Upstream-Rq-Timeout-Ms", "1"),
    ]
    with lab.http1() as client:
        assert client.get("/", HOST, claims).status == 200
    (request,) = lab.upstream.inbox.all()
    assert request.values("x-forwarded-proto") == ["https"]
    assert request.values("x-forwarded-for")[0].startswith("10.0.0.1,")
    assert [name for name, _ in request.headers if name.startswith("x-envoy")] == ["x-envoy-external-address"]
