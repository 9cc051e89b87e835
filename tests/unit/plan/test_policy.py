"""Issuance policies: what they allow, that they are read strictly, and that a broken one allows nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.pki import Subject, SubjectAltNames
from mtls_operator.plan.policy import Policy, Wanted, read_policy, violations

DAY = timedelta(days=1)
WANTED = Wanted(Subject("gateway-7"), SubjectAltNames(), 30 * DAY, "ECDSA-256")
EVERY_NAME = """
commonNames: ["**"]
organizations: ["**"]
organizationalUnits: ["**"]
countries: ["**"]
localities: ["**"]
provinces: ["**"]
dnsNames: ["**"]
uris: ["**"]
emailDomains: ["**"]
ipNetworks: [0.0.0.0/0, "::/0"]
"""


def judge(text: str | None, wanted: Wanted = WANTED) -> list[str]:
    return violations(read_policy(text), wanted)


def broken(text: str) -> str:
    policy = read_policy(text)
    assert policy is not None
    assert policy.broken
    (message,) = violations(policy, WANTED)
    assert policy.broken in message
    return policy.broken


def named(**names: tuple[str, ...]) -> Wanted:
    return replace(WANTED, subject=Subject(), sans=SubjectAltNames(**names))


def allows(field: str, pattern: str, wanted: Wanted) -> bool:
    return judge(f"{field}: ['{pattern}']", wanted) == []


def test_without_a_policy_everything_is_allowed() -> None:
    assert judge(None) == []


def test_a_name_that_a_pattern_allows_is_issued() -> None:
    assert judge("commonNames: [gateway-*]") == []


def test_a_name_that_no_pattern_allows_is_refused_with_field_value_and_rule() -> None:
    (message,) = judge("commonNames: [gateway-*, device-*]", replace(WANTED, subject=Subject("admin")))
    assert message == (
        "subject.commonName 'admin' is not allowed: commonNames of the namespace's issuance policy are "
        "gateway-*, device-*."
    )


def test_names_of_a_kind_that_the_policy_does_not_list_are_refused() -> None:
    wanted = replace(WANTED, sans=SubjectAltNames(dns_names=("admin.example.com",)))
    assert judge("commonNames: [gateway-*]", wanted) == [
        "dnsNames[0] 'admin.example.com' is not allowed: the issuance policy of the namespace has no dnsNames."
    ]


def test_a_policy_without_fields_allows_no_name() -> None:
    assert len(judge("{}")) == 1


def test_an_empty_list_allows_none() -> None:
    assert "are none" in judge("commonNames: []")[0]


FULL = Wanted(
    Subject("a", ("b", "c"), ("d",), ("DE",), ("e",), ("f",)),
    SubjectAltNames(("g.example",), ("spiffe://h/i",), ("j@k.example",), ("10.0.0.1", "2001:db8::1")),
    30 * DAY,
    "ECDSA-256",
)


def test_every_name_is_judged() -> None:
    paths = [message.partition(" ")[0] for message in judge("{}", FULL)]
    assert paths == [
        *("subject.commonName", "subject.organizations[0]", "subject.organizations[1]"),
        *("subject.organizationalUnits[0]", "subject.countries[0]", "subject.localities[0]"),
        *("subject.provinces[0]", "dnsNames[0]", "uris[0]", "emails[0]", "ipAddresses[0]", "ipAddresses[1]"),
    ]


def test_two_stars_allow_every_name_of_their_kind() -> None:
    assert judge(EVERY_NAME, FULL) == []
    assert judge(EVERY_NAME, replace(FULL, subject=Subject('x",CN=admin'))) == []


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("gateway-*", "gateway-", True),
        ("gateway-*", "Gateway-7", False),
        ("gateway-*", "my-gateway-7", False),
        ("*", "admin", True),
        ("*-7", "gateway-7", True),
        ("a*b*c", "a1b2b3c", True),
        ("a*b*c", "a1b2b3", False),
        ("Müller *", "Müller Ä", True),
        ("gateway-?", "gateway-7", False),
        ("gateway-[0-9]", "gateway-7", False),
        ("gateway.7", "gateway-7", False),
        ("gateway-*", "gateway-7,CN=admin", False),
        ("gateway-*", 'gateway-7"', False),
        ("gateway-*", "gateway-7/CN=admin", False),
        ("gateway-*", "gateway-7+CN", False),
        ("gateway-*", "gateway-\u200b7", False),
        ("gateway-*", "gateway-\u202e7", False),
        ("shop/*", "shop/gateway", True),
    ],
    ids=ascii,
)
def test_a_star_in_a_part_of_a_subject(pattern: str, name: str, *, allowed: bool) -> None:
    assert allows("commonNames", pattern, replace(WANTED, subject=Subject(name))) is allowed


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("a.example.com", "a.example.com", True),
        ("A.example.com", "a.EXAMPLE.com", True),
        ("a.example.com", "b.a.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.example.com.evil.net", False),
        ("*.example.com", "evilexample.com", False),
        ("gw-*.example.com", "gw-7.example.com", True),
        ("gw-*.example.com", "gw-7.b.example.com", False),
        ("**.example.com", "a.b.example.com", True),
        ("**.example.com", "a.example.com", True),
        ("**.example.com", "example.com", False),
        ("**.example.com", "evilexample.com", False),
        ("**.gw-*.example.com", "a.b.gw-7.example.com", True),
    ],
)
def test_a_star_in_a_dns_name(pattern: str, name: str, *, allowed: bool) -> None:
    assert allows("dnsNames", pattern, named(dns_names=(name,))) is allowed


@pytest.mark.parametrize(
    ("pattern", "uri", "allowed"),
    [
        ("spiffe://example.com/a", "spiffe://example.com/a", True),
        ("spiffe://example.com/a", "spiffe://example.com/ab", False),
        ("spiffe://example.com/shop/*", "spiffe://example.com/shop/gateway", True),
        ("spiffe://example.com/shop/*", "spiffe://example.com/shop/a/b", False),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/a/b", True),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/../admin", False),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/./a", False),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/..", False),
        ("spiffe://example.com/shop/*", "spiffe://example.com/shop/..", False),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/%2e%2e/admin", False),
        ("spiffe://example.com/shop/*", "spiffe://example.com/shop/a?b", False),
        ("spiffe://example.com/shop/**", "spiffe://example.com/shop/a#b", False),
        ("https://*.example.com/x", "https://a.b.example.com/x", True),
        ("https://*.example.com/x", "https://evil.net/.example.com/x", False),
        ("https://*.example.com/x", "https://evil.net:80.example.com/x", False),
        ("https://*.example.com/x", "https://evil.net#.example.com/x", False),
        ("https://*.example.com/x", "https://user@a.example.com/x", False),
        ("urn:device:*", "urn:device:7", True),
        ("urn:device:*", "urn:device:7:admin", False),
        ("urn:device:**", "urn:device:7:a", True),
        ("spiffe://example.com/a", "SPIFFE://example.com/a", False),
    ],
)
def test_a_star_in_a_uri(pattern: str, uri: str, *, allowed: bool) -> None:
    assert allows("uris", pattern, named(uris=(uri,))) is allowed


@pytest.mark.parametrize(
    ("domain", "email", "allowed"),
    [
        ("example.com", "ops@example.com", True),
        ("example.com", "ops@EXAMPLE.com", True),
        ("example.com", "ops@a.example.com", False),
        ("*.example.com", "ops@a.example.com", True),
        ("example.com", "example.com@evil.net", False),
    ],
)
def test_an_email_is_judged_by_its_domain(domain: str, email: str, *, allowed: bool) -> None:
    assert allows("emailDomains", domain, named(emails=(email,))) is allowed


@pytest.mark.parametrize(
    ("network", "address", "allowed"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("2001:db8::/32", "2001:DB8::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", False),
        ("::/0", "10.0.0.1", False),
    ],
)
def test_an_address_is_judged_by_its_network(network: str, address: str, *, allowed: bool) -> None:
    assert allows("ipNetworks", network, named(ip_addresses=(address,))) is allowed


def test_a_validity_up_to_the_maximum_is_allowed() -> None:
    text = EVERY_NAME + "maxValidity: 720h"
    assert judge(text, replace(WANTED, validity=30 * DAY)) == []
    assert judge(text, replace(WANTED, validity=31 * DAY)) == [
        "validity 744h is not allowed: maxValidity of the namespace's issuance policy is 720h."
    ]


@pytest.mark.parametrize(
    ("algorithms", "key", "allowed"),
    [
        ("[ECDSA]", "ECDSA-384", True),
        ("[ECDSA-256]", "ECDSA-384", False),
        ("[RSA-3072, ECDSA]", "RSA-3072", True),
        ("[RSA-3072]", "RSA-2048", False),
        ("[RSA]", "RSA-8192", True),
        ("[]", "ECDSA-256", False),
    ],
)
def test_a_key_is_of_an_allowed_algorithm(algorithms: str, key: str, *, allowed: bool) -> None:
    found = judge(EVERY_NAME + f"algorithms: {algorithms}", replace(WANTED, key=key))
    assert (found == []) is allowed


def test_a_namespace_can_be_limited_to_requests() -> None:
    text = EVERY_NAME + "requestsOnly: true"
    assert "requestsOnly" in judge(text)[0]
    assert judge(text, replace(WANTED, from_request=True)) == []
    assert judge(EVERY_NAME + "requestsOnly: false") == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wanted = replace(WANTED, subject=Subject("admin"), key="RSA-2048")
    text = "commonNames: [a]\nmaxValidity: 1h\nalgorithms: [ECDSA]\nrequestsOnly: true"
    assert len(judge(text, wanted)) == 4


def test_a_country_that_yaml_takes_for_a_truth_value_stays_a_country() -> None:
    assert (
        judge(
            "commonNames: ['**']\ncountries: [NO]", replace(WANTED, subject=Subject("a", countries=("NO",)))
        )
        == []
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "no mapping"),
        ("null", "no mapping"),
        ("[]", "no mapping"),
        ("gateway-*", "no mapping"),
        ("commonNames: [", "line 1"),
        ("commonNames: [*.example.com]", "line 1"),
        ("a: b\n---\nc: d", "line"),
        ("commonName: [a]", "line 1: there is no field 'commonName'"),
        ("uris: []\ncommonNames: [a]\ncommonNames: [b]", "line 3: commonNames stands there twice"),
        ("commonNames:", "line 1: a list is expected"),
        ("commonNames: gateway", "line 1: a list is expected"),
        ("commonNames:\n- a\n- {b: c}", "line 3: a text is expected"),
        ("commonNames:\n- a\n- ''", "line 3: '' must be"),
        ("commonNames: ['a**']", "'a**' has ** beside"),
        ("commonNames: ['*****']", "stars"),
        ('commonNames: ["a\\tb"]', "printable"),
        ("dnsNames: ['*']", "write ** for every name"),
        ("dnsNames: ['a.**.b']", "is no DNS name"),
        ("dnsNames: ['a b']", "is no DNS name"),
        ("dnsNames: ['.example.com']", "is no DNS name"),
        ("uris: ['*://a']", "scheme"),
        ("uris: ['https://**/a']", "only at its end"),
        ("uris: ['https://api.example.com**']", "before **"),
        ("uris: ['https://api.example.com*']", "a domain after *"),
        ("uris: ['https://api.*/x']", "a domain after *"),
        ("ipNetworks: [10.0.0.1/8]", "host bits"),
        ("ipNetworks: [ten]", "is no network"),
        ("maxValidity: forever", "maxValidity 'forever'"),
        ("maxValidity: 0s", "nought"),
        ("maxValidity: [1h]", "a text is expected"),
        ("algorithms: [Ed25519]", "is no algorithm"),
        ("requestsOnly: yes", "true or false"),
        ("requestsOnly: 'TRUE'", "true or false"),
        ("? [a]\n: b", "a text is expected"),
        ("commonNames: [" + "a, " * 257 + "]", "more than 256"),
        ("#" * 40_000, "larger"),
        ("commonNames: " + "[" * 5_000, "no YAML"),
        ("\x00", "no YAML"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_policy_that_cannot_be_read_allows_nothing_and_says_where(text: str, where: str) -> None:
    assert where in broken(text)


@given(st.text(max_size=200))
def test_no_text_is_an_error_or_allows_what_it_does_not_name(text: str) -> None:
    policy = read_policy(text)
    assert isinstance(policy, Policy)
    if "commonNames" not in text:
        assert violations(policy, WANTED)


@given(name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=16))
def test_a_name_is_allowed_by_a_pattern_of_itself(name: str) -> None:
    policy = Policy(allowed={"commonNames": (name.replace("*", "x"),)})
    assert violations(policy, replace(WANTED, subject=Subject(name.replace("*", "x")))) == []
