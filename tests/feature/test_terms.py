"""What may be issued in a namespace: its policy and its quota, whatever the order of events."""

from __future__ import annotations

from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate
from tests.support.requests import request_pem

from mtls_operator.cluster import Kind
from mtls_operator.controller.settings import Settings
from mtls_operator.plan.policy import POLICY_ANNOTATION
from mtls_operator.plan.quota import QUOTA_ANNOTATION


def _annotate(lab: Lab, annotation: str, text: str | None) -> None:
    lab.cluster.edit(Kind.NAMESPACE, "", NAMESPACE, {"metadata": {"annotations": {annotation: text}}})


def _states(lab: Lab) -> dict[str, str]:
    return {
        body["metadata"]["name"]: str((body.get("status") or {}).get("state"))
        for body in lab.cluster.all(Kind.CERTIFICATE, NAMESPACE)
    }


async def _issued(lab: Lab, *names: str, **spec: Any) -> None:
    for name in names:
        lab.cluster.make(certificate(name, **spec))
    await lab.settle()


async def test_what_the_policy_does_not_allow_is_not_issued(lab: Lab) -> None:
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["gateway-*"]')
    await lab.start()
    await _issued(lab, "gateway-7", "admin")
    assert _states(lab) == {"gateway-7": "Active", "admin": "Failed"}
    status, reason, message = lab.condition(Kind.CERTIFICATE, "admin", "Issued")
    assert (status, reason) == ("False", "PolicyViolation")
    assert "'admin'" in message
    assert POLICY_ANNOTATION in message
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, "admin") is None
    assert ("Warning", "PolicyViolation", message) in lab.events()


async def test_the_names_of_a_request_are_judged_as_well(lab: Lab) -> None:
    """Otherwise a request would be the way past the policy."""
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["gateway-*"]')
    await lab.start()
    body = certificate("gateway-7", request=request_pem("admin"))
    body["spec"].pop("subject")
    lab.cluster.make(body)
    await lab.settle()
    assert lab.condition(Kind.CERTIFICATE, "gateway-7", "Issued")[:2] == ("False", "PolicyViolation")


async def test_a_policy_that_wants_requests_refuses_keys_of_ours(lab: Lab) -> None:
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["**"]\nrequestsOnly: true')
    await lab.start()
    await _issued(lab, "gateway")
    body = certificate("phone", request=request_pem("phone"))
    lab.cluster.make(body)
    await lab.settle()
    assert _states(lab) == {"gateway": "Failed", "phone": "Active"}


async def test_a_policy_that_cannot_be_read_lets_nothing_be_issued(lab: Lab) -> None:
    """G1."""
    _annotate(lab, POLICY_ANNOTATION, "commonNames: [")
    await lab.start()
    await _issued(lab, "gateway")
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "InvalidPolicy")


async def test_a_changed_policy_is_followed_at_once_by_what_waits(lab: Lab) -> None:
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["gateway-*"]')
    await lab.start()
    await _issued(lab, "admin")
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["admin"]')
    await lab.settle()
    assert _states(lab) == {"admin": "Active"}


async def test_a_stricter_policy_takes_nothing_back_and_renews_nothing(lab: Lab) -> None:
    await lab.start()
    await _issued(lab, "admin", validity="3h")
    serial = lab.serial("admin")
    _annotate(lab, POLICY_ANNOTATION, 'commonNames: ["gateway-*"]')
    await lab.settle()
    assert not lab.is_refused(serial)
    assert lab.condition(Kind.CERTIFICATE, "admin", "Ready")[:2] == ("True", "Ready")
    await lab.pass_time(hours=2, minutes=30)
    status, reason, message = lab.condition(Kind.CERTIFICATE, "admin", "Ready")
    assert (lab.serial("admin"), status, reason) == (serial, "True", "RenewalFailed")
    assert "'admin'" in message
    assert ("Warning", "RenewalFailed", message) in lab.events()
    _annotate(lab, POLICY_ANNOTATION, None)
    await lab.pass_time(minutes=2)
    assert lab.serial("admin") != serial


# Quota.


async def test_no_more_than_the_maximum_is_issued_and_the_oldest_come_first(lab: Lab) -> None:
    _annotate(lab, QUOTA_ANNOTATION, "2")
    await lab.start()
    await _issued(lab, "a", "b", "c", "d")
    assert sorted(_states(lab).values()) == ["Active", "Active", "Failed", "Failed"]
    assert len(lab.client_secrets()) == 2
    refused = next(name for name, state in _states(lab).items() if state == "Failed")
    status, reason, message = lab.condition(Kind.CERTIFICATE, refused, "Issued")
    assert (status, reason) == ("False", "QuotaExceeded")
    assert "may have 2" in message


async def test_many_at_once_get_exactly_the_maximum(lab: Lab) -> None:
    """Counted without races: sixteen workers, one maximum."""
    lab.workers = 16
    _annotate(lab, QUOTA_ANNOTATION, "7")
    for number in range(40):
        lab.cluster.make(certificate(f"gateway-{number}"))
    await lab.start()
    await lab.settle()
    assert len(lab.client_secrets()) == 7


@pytest.mark.parametrize("how", ["revoked", "deleted", "expired"])
async def test_a_place_that_becomes_free_goes_to_who_waits(lab: Lab, how: str) -> None:
    _annotate(lab, QUOTA_ANNOTATION, "1")
    await lab.start()
    await _issued(lab, "first", validity="1h", renewal={"policy": "Never"})
    await lab.pass_time(minutes=1)
    await _issued(lab, "second")
    assert _states(lab)["second"] == "Failed"
    if how == "revoked":
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "first", {"spec": {"revoked": True}})
    elif how == "deleted":
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "first")
    await lab.pass_time(minutes=61 if how == "expired" else 1)
    assert _states(lab)["second"] == "Active"


async def test_a_certificate_that_outlives_its_object_keeps_its_place(lab: Lab) -> None:
    _annotate(lab, QUOTA_ANNOTATION, "1")
    await lab.start()
    await _issued(lab, "first", deletionPolicy="Retain")
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "first")
    await lab.settle()
    await _issued(lab, "second")
    await lab.pass_time(minutes=2)
    assert _states(lab) == {"second": "Failed"}


async def test_a_lower_maximum_takes_nothing_back_and_lets_renewals_through(lab: Lab) -> None:
    await lab.start()
    await _issued(lab, "a", "b", validity="3h")
    serials = {lab.serial("a"), lab.serial("b")}
    _annotate(lab, QUOTA_ANNOTATION, "0")
    await lab.pass_time(hours=2, minutes=30)
    assert not serials & {lab.serial("a"), lab.serial("b")}
    assert set(_states(lab).values()) == {"Active"}


async def test_a_maximum_that_is_no_number_lets_nothing_through(lab: Lab) -> None:
    """G1."""
    _annotate(lab, QUOTA_ANNOTATION, "many")
    await lab.start()
    await _issued(lab, "first")
    assert lab.condition(Kind.CERTIFICATE, "first", "Issued")[:2] == ("False", "QuotaExceeded")


async def test_the_annotation_goes_before_the_value_of_the_chart(lab: Lab) -> None:
    lab.settings = Settings(max_certificates=1)
    await lab.start()
    await _issued(lab, "a", "b")
    assert sorted(_states(lab).values()) == ["Active", "Failed"]
    _annotate(lab, QUOTA_ANNOTATION, "5")
    await lab.pass_time(minutes=1)
    assert set(_states(lab).values()) == {"Active"}


async def test_a_restart_counts_the_same(lab: Lab) -> None:
    _annotate(lab, QUOTA_ANNOTATION, "2")
    await lab.start()
    await _issued(lab, "a", "b", "c", "d")
    await lab.pass_time(minutes=2)
    before = _states(lab)
    lab.writes()
    await lab.restart()
    await lab.pass_time(minutes=2)
    assert _states(lab) == before
    assert [str(write) for write in lab.writes()] == []
