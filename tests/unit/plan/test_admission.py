"""What is refused for what it says alone, and what a change may leave as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.support.builders import certificate, host, rule
from tests.support.requests import request_pem

from mtls_operator.api import names
from mtls_operator.plan.admission import Verdict, is_plain, judge, judge_update
from mtls_operator.plan.hostrules import _compile, compile_rule

BROKEN = 'http.request.uri.path eq "/a" und ssl'
Body = dict[str, Any]


def changed(body: Body, **spec: Any) -> Body:
    new = copy.deepcopy(body)
    new["spec"] |= spec
    return new


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (names.RULE_KIND, rule()),
        (names.RULE_KIND, rule(expression="not cf.tls_client_auth.cert_presented")),
        (names.HOST_KIND, host()),
        (names.CERTIFICATE_KIND, certificate()),
    ],
)
def test_what_is_in_order_passes_without_a_word(kind: str, body: Body) -> None:
    assert judge(kind, body) == Verdict()


def test_an_expression_that_does_not_compile_is_shown_with_its_caret() -> None:
    lines = judge(names.RULE_KIND, rule(expression=BROKEN)).refusal.split("\n")
    assert lines[0].startswith("line 1, column 31: ")
    assert lines[1] == BROKEN
    assert lines[2].rstrip("^") == " " * 30
    assert lines[2].endswith("^")


def test_the_words_are_those_of_the_status() -> None:
    from mtls_operator.api.rule import parse_rule  # noqa: PLC0415 - what the operator does with the same object
    from mtls_operator.rules import RuleError  # noqa: PLC0415 - as above

    body = rule(expression="http.hosst eq 1")
    with pytest.raises(RuleError) as caught:
        compile_rule(parse_rule(body), {})
    assert judge(names.RULE_KIND, body).refusal == caught.value.display()


def test_what_the_data_plane_cannot_enforce_is_refused_too() -> None:
    refusal = judge(names.RULE_KIND, rule(expression="cf.bot_management.score lt 30")).refusal
    assert "cf.bot_management.score" in refusal


def test_a_lint_is_a_warning_and_no_refusal() -> None:
    verdict = judge(names.RULE_KIND, rule(expression="not cf.tls_client_auth.cert_verified"))
    assert verdict.refusal == ""
    (warning,) = verdict.warnings
    assert "cert_revoked" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (host(hostnames=("API.example.com",)), "spec.hostnames[0]"),
        (host(hostnames=("*.*.example.com",)), "spec.hostnames[0]"),
        (host(nonsense=1), "spec.nonsense"),
    ],
)
def test_a_host_that_does_not_fit_is_refused_with_its_field(body: Body, said: str) -> None:
    assert judge(names.HOST_KIND, body).refusal.startswith(said)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"subject": {"commonName": "ü" * 33}}, "longer than 64 bytes"),
        ({"subject": {"commonName": "a\u00adb\u0378"}}, "unassigned"),
        ({"subject": {"commonName": "x", "countries": ["Germany"]}}, "spec.subject.countries"),
        ({"uris": ["spiffe://a/%zz"]}, "is not an absolute URI"),
        ({"emails": ["a..b@example.com"]}, "is not an e-mail address"),
        ({"emails": ["a" * 65 + "@example.com"]}, "is not an e-mail address"),
        ({"ipAddresses": ["fe80::1%eth0"]}, "spec.ipAddresses"),
        ({"ipAddresses": ["::ffff:10.0.0.1"]}, "spec.ipAddresses"),
    ],
)
def test_names_that_no_certificate_can_hold_are_refused(spec: Body, said: str) -> None:
    assert said in judge(names.CERTIFICATE_KIND, certificate(**spec)).refusal


def test_what_was_only_asked_about_is_not_compile() -> None:
    """Reviews of rules that are never stored, as many as somebody likes, must not fill the memory."""
    _compile.cache_clear()
    for number in range(5):
        judge(names.RULE_KIND, rule(expression=f'http.request.uri.path eq "/{number}"'))
    assert _compile.cache_info().currsize == 0


def test_a_change_that_breaks_something_is_refused() -> None:
    old = rule()
    new = changed(old, match=None, expression=BROKEN)
    assert judge_update(names.RULE_KIND, old, new).refusal.startswith("line 1, column 31")


def test_another_mistake_than_before_is_refused() -> None:
    old = rule(expression=BROKEN)
    assert judge_update(names.RULE_KIND, old, changed(old, expression="http.hosst eq 1")).refusal


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (names.RULE_KIND, rule(expression=BROKEN)),
        (names.HOST_KIND, host(nonsense=1)),
        (names.CERTIFICATE_KIND, certificate(nonsense=1)),
    ],
)
def test_what_was_broken_before_may_change_everywhere_but_in_its_spec(kind: str, body: Body) -> None:
    """Labels, annotations, status, and above all finalizers: its deletion must be able to end."""
    new = copy.deepcopy(body)
    new["metadata"] |= {"labels": {"a": "b"}, "finalizers": []}
    new["status"] = {"conditions": []}
    assert judge_update(kind, body, new) == Verdict()


def test_what_is_being_deleted_passes_whatever_it_says() -> None:
    old = certificate()
    new = changed(old, nonsense=1)
    new["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert judge_update(names.CERTIFICATE_KIND, old, new) == Verdict()


def test_an_old_mistake_does_not_keep_the_rest_from_being_changed() -> None:
    old = rule(expression=BROKEN)
    verdict = judge_update(names.RULE_KIND, old, changed(old, enabled=False))
    assert verdict.refusal == ""
    (warning,) = verdict.warnings
    assert warning.startswith("line 1, column 31: ")
    assert "\n" not in warning


def test_nothing_keeps_a_revocation_from_being_asked_for() -> None:
    """G3: not even a new mistake in the same change."""
    old = certificate()
    new = changed(old, nonsense=1, revoked=True)
    assert judge_update(names.CERTIFICATE_KIND, old, new).refusal == ""
    assert judge_update(names.CERTIFICATE_KIND, old, changed(old, nonsense=1)).refusal


@pytest.mark.parametrize(
    "spec",
    [
        {"subject": {"commonName": "gateway-7"}},
        {"subject": {"commonName": "gateway 7", "organizations": ["ACME, Inc."]}, "dnsNames": ["a.example"]},
        {"dnsNames": ["a.example"], "revoked": True, "uris": [], "emails": [], "ipAddresses": []},
        {"subject": {}, "validity": "24h", "privateKey": {"algorithm": "RSA", "size": 2048}},
    ],
)
def test_a_plain_certificate_is_left_to_the_schema(spec: Body) -> None:
    assert is_plain(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"subject": {"commonName": "gäteway"}},
        {"subject": {"organizations": ["ACME", "Ünit"]}},
        {"uris": ["spiffe://a/b"]},
        {"emails": ["a@example.com"]},
        {"ipAddresses": ["10.0.0.1"]},
        {"request": "-----BEGIN CERTIFICATE REQUEST-----"},
        {"subject": {"commonName": "a"}, "unknown": None},
        {"subject": {"commonName": "a\nb"}},
    ],
)
def test_a_certificate_that_only_the_parser_can_judge_is_not_plain(spec: Body) -> None:
    assert not is_plain(spec)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"request": "rubbish"}, "is not a PEM block CERTIFICATE REQUEST"),
        ({"request": request_pem().replace("M", "N", 1)}, "the request"),
        ({"request": "-----BEGIN PRIVATE KEY-----"}, "a private key does not belong into this object"),
        ({"request": request_pem(), "keystore": {"pkcs12": {}}}, "must not be given with request"),
        ({"keystore": {"pkcs12": {"passwordSecretRef": {"name": "gateway", "key": "p"}}}}, "another Secret"),
        ({"validity": "1h", "renewal": {"before": "1h"}}, "must be shorter than spec.validity"),
    ],
)
def test_a_certificate_that_could_never_be_issued_is_refused(spec: dict[str, Any], part: str) -> None:
    assert part in judge(names.CERTIFICATE_KIND, certificate(**spec)).refusal


def test_a_request_that_can_be_used_passes_without_a_word() -> None:
    assert judge(names.CERTIFICATE_KIND, certificate(request=request_pem())) == Verdict()


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"keystore": {"pkcs12": {"profile": "Legacy"}}}, "treat keystore.p12 as if it had none"),
        ({"validity": "10h", "renewal": {"before": "9h"}}, "a third of the validity is used instead"),
        (
            {"request": request_pem(), "renewal": {"revokeOldAfter": "1h"}},
            "counts from a change of the spec only",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(spec: dict[str, Any], part: str) -> None:
    verdict = judge(names.CERTIFICATE_KIND, certificate(**spec))
    assert verdict.refusal == ""
    assert [part in warning for warning in verdict.warnings] == [True]


@pytest.mark.parametrize("field", ["request", "keystore", "renewal"])
def test_a_certificate_with_more_than_the_schema_judges_is_looked_at(field: str) -> None:
    assert not is_plain({"subject": {"commonName": "gateway"}, field: {}})
