"""Whether a certificate may be issued: what its policy judges, and in which words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.builders import certificate
from tests.support.requests import request_pem

from mtls_operator.api.certificate import ClientCertificate, parse_certificate
from mtls_operator.api.reason import Reason
from mtls_operator.pki import PkiError
from mtls_operator.plan.issuance import refusal_by_policy, wanted_of


def parsed(**spec: Any) -> ClientCertificate:
    return parse_certificate(certificate("gateway", **spec))


def test_a_key_of_ours_is_judged_by_the_kind_that_is_asked_for() -> None:
    wanted = wanted_of(parsed(privateKey={"algorithm": "RSA", "size": 3072}, validity="48h"))
    assert (wanted.key, wanted.from_request, wanted.validity) == ("RSA-3072", False, timedelta(days=2))
    assert wanted.subject.common_name == "gateway"


def test_a_request_is_judged_by_its_own_key_and_names() -> None:
    wanted = wanted_of(parsed(subject={}, request=request_pem("device", dns_names=("d.example.com",))))
    assert (wanted.key, wanted.from_request) == ("ECDSA-256", True)
    assert wanted.subject.common_name == "device"
    assert wanted.sans.dns_names == ("d.example.com",)


def test_names_of_the_object_are_judged_in_the_place_of_those_of_its_request() -> None:
    assert wanted_of(parsed(request=request_pem("device"))).subject.common_name == "gateway"


def test_a_request_that_cannot_be_used_is_no_matter_of_policies() -> None:
    with pytest.raises(PkiError):
        refusal_by_policy(parsed(request="rubbish"), None)


def test_without_a_policy_everything_is_allowed() -> None:
    assert refusal_by_policy(parsed(), None) is None


def test_a_violation_has_field_value_and_rule() -> None:
    refusal = refusal_by_policy(parsed(), 'commonNames: ["device-*"]')
    assert refusal is not None
    assert refusal.reason is Reason.POLICY_VIOLATION
    assert refusal.message.startswith("Subject.commonName 'gateway' is not allowed")
    assert "device-*" in refusal.message


def test_of_many_violations_a_few_are_shown() -> None:
    names = [f"n{number}.example.com" for number in range(32)]
    refusal = refusal_by_policy(parsed(dnsNames=names), "{}")
    assert refusal is not None
    assert "And 28 more." in refusal.message
    assert len(refusal.message) < 1000


def test_a_policy_that_cannot_be_read_is_another_reason_with_the_line() -> None:
    refusal = refusal_by_policy(parsed(), "commonNames: []\nunknown: 1")
    assert refusal is not None
    assert refusal.reason is Reason.INVALID_POLICY
    assert "line 2" in refusal.message
