"""Who gets in: every kind of certificate, path, protocol and TLS version (rule: /admin needs a good one)."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest
from tests.support.certs import authority, leaf
from tests.support.lab import HOST, NO_GOOD_CERTIFICATE, Lab

from mtls_operator.envoy import IssuerTrust, RuleScript
from mtls_operator.plan.capacity import INDICES, INDICES_IN_RESERVE

PEOPLE = [None, "good", "revoked", "foreign", "expired", "server-usage"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
DENIED = '{"error":"client certificate required","request_id":"%s"}\n'


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS1.2", "TLS1.3"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("person", PEOPLE, ids=str)
def test_only_a_good_certificate_reaches_the_protected_path_and_everybody_the_others(
    lab: Lab, person: str | None, protocol: str, version: ssl.TLSVersion
) -> None:
    with getattr(lab, protocol)(person, version=version) as client:
        assert client.get("/", HOST).status == 200
        answer = client.get("/admin", HOST)
        assert answer.status == (200 if person == "good" else 403)
        assert client.get("/", HOST).status == 200
    if person != "good":
        assert answer.body.decode() == DENIED % answer.headers["x-request-id"]
        assert answer.headers["content-type"] == "application/json"
        assert [request.target for request in lab.upstream.inbox.all()] == ["/", "/"]


def test_a_host_without_rules_lets_everybody_in(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, rules=(), reads_certificate=False))
    for person in PEOPLE:
        with lab.http1(person) as client:
            assert client.get("/admin", HOST).status == 200


def test_without_trusted_issuers_no_certificate_is_good(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, issuers=()))
    with lab.http1("good") as client:
        assert client.get("/admin", HOST).status == 403
        assert client.get("/", HOST).status == 200


def test_a_block_answers_as_its_author_wants(lab: Lab) -> None:
    body = 'say "please"\\ \n\0 ü'
    rule = RuleScript("teapot", "block", (), "true", 418, "text/x-tea; charset=utf-8", body)
    lab.push_rules(replace(lab.rules, rules=(rule,)))
    with lab.http1() as client:
        answer = client.get("/", HOST)
    assert (answer.status, answer.headers["content-type"]) == (418, "text/x-tea; charset=utf-8")
    assert answer.body == body.encode()


def test_a_skip_ends_the_evaluation_and_a_log_does_not(lab: Lab) -> None:
    path = 'f["http.request.uri.path"]'
    rules = (
        RuleScript("seen", "log", (), "true"),
        RuleScript("health", "skip", (), f'{path} == "/health"'),
        RuleScript("all", "block", (), NO_GOOD_CERTIFICATE),
    )
    lab.push_rules(replace(lab.rules, rules=rules))
    with lab.http1() as client:
        assert client.get("/health", HOST).status == 200
        assert client.get("/other", HOST).status == 403


FACTS = [
    ("cf.tls_client_auth.cert_presented", "true"),
    ("cf.tls_client_auth.cert_verified", "true"),
    ("cf.tls_client_auth.cert_revoked", "false"),
    ("cf.tls_client_auth.cert_serial", '"0A' + "5C" * 14 + '00000009"'),
    ("cf.tls_client_auth.cert_subject_dn", r'"CN=facts,O=Acme\\, \\\"Inc\\\""'),
    ("cf.tls_client_auth.cert_issuer_dn", '"CN=managed"'),
    ("http.host", '"api.example.com"'),
    ("http.request.method", '"GET"'),
    ("http.request.uri", '"/facts?a=1"'),
    ("http.request.uri.path", '"/facts"'),
    ("http.request.uri.query", '"a=1"'),
    ("ip.src", '"\\127\\000\\000\\001"'),
    ("ssl", "true"),
    ("true", "true"),
    ("false", "false"),
]


@pytest.mark.parametrize(("field", "value"), FACTS, ids=[field for field, _ in FACTS])
def test_expressions_read_this_fact(lab: Lab, field: str, value: str) -> None:
    lab.people.add("facts", leaf(lab.people.ca, "facts", index=9, organization='Acme, "Inc"'))
    lab.push_rules(
        replace(lab.rules, rules=(RuleScript("fact", "block", (), f'f["{field}"] == {value}', 418),))
    )
    with lab.http1("facts") as client:
        assert client.get("/facts?a=1", "API.example.com").status == 418


def test_the_fingerprint_is_a_fact(lab: Lab) -> None:
    expected = lab.people.pairs["good"].digest
    expression = f'f["cf.tls_client_auth.cert_fingerprint_sha256"] == "{expected}"'
    lab.push_rules(replace(lab.rules, rules=(RuleScript("fact", "block", (), expression, 418),)))
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 418


def test_facts_of_the_certificate_are_empty_without_one(lab: Lab) -> None:
    fields = ("cert_serial", "cert_subject_dn", "cert_issuer_dn", "cert_fingerprint_sha256")
    expression = " and ".join(f'f["cf.tls_client_auth.{field}"] == ""' for field in fields)
    lab.push_rules(replace(lab.rules, rules=(RuleScript("none", "block", (), expression, 418),)))
    with lab.http1() as client:
        assert client.get("/", HOST).status == 418


def test_a_fact_that_does_not_exist_denies(lab: Lab) -> None:
    lab.push_rules(replace(lab.rules, rules=(RuleScript("typo", "log", (), 'f["http.hots"] == ""'),)))
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 403


def test_a_managed_issuer_without_a_list_is_refused_and_an_unlisted_one_is_not(lab: Lab) -> None:
    lab.push_revocation(lab.revocation_text((), None, authority("another")))
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 403
        unlisted = (IssuerTrust(lab.people.ca.digest, listed=False),)
        lab.push_rules(replace(lab.rules, issuers=unlisted))
        assert client.get("/admin", HOST).status == 200


def test_a_certificate_newer_than_the_list_is_not_revoked(lab: Lab) -> None:
    lab.people.add("new", leaf(lab.people.ca, "new", index=0xFFFFFFFF))
    with lab.http1("new") as client:
        assert client.get("/admin", HOST).status == 200


def test_the_largest_list_that_there_can_be_is_in_force(lab: Lab) -> None:
    """All numbers that the CAs of a namespace may give out, the reserve included, all of them revoked but the last."""
    last = INDICES + INDICES_IN_RESERVE - 1
    lab.push_revocation(lab.revocation_text(range(last)))
    for index, status in ((0, 403), (last - 1, 403), (last, 200)):
        lab.people.add("at", leaf(lab.people.ca, "at", index=index))
        with lab.http1("at") as client:
            assert client.get("/admin", HOST).status == status


@pytest.mark.parametrize("first", [0, 3_000_000, 2**32 - 1_000_100])
@pytest.mark.parametrize("index", [0, 5, 6, 7, 47, 48, 1_000_003])
def test_exactly_the_index_of_the_list_is_revoked(lab: Lab, index: int, first: int) -> None:
    """The list of a CA begins at the first index of its own."""
    index += first
    lab.push_revocation(lab.revocation_text((index,), first=first))
    for offset, status in ((-1, 200), (0, 403), (1, 200)):
        if index + offset < 0:
            continue
        lab.people.add("at", leaf(lab.people.ca, "at", index=index + offset))
        with lab.http1("at") as client:
            assert client.get("/admin", HOST).status == status
