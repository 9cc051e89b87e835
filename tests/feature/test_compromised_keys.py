"""A key that somebody else has gets no other certificate, whichever way it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate
from tests.support.requests import request_pem

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.cluster import Kind
from mtls_operator.plan.ledger import Entry
from mtls_operator.plan.requests import Request, request_document

_REVOKED = {"spec": {"revoked": True, "revocationReason": "KeyCompromise"}}


def _with_request(name: str, common_name: str = "device") -> dict[str, Any]:
    body = certificate(name, request=request_pem(common_name))
    body["spec"].pop("subject")
    return body


def _issued(lab: Lab, name: str) -> tuple[str, str]:
    return lab.condition(Kind.CERTIFICATE, name, "Issued")[:2]


def _serial(lab: Lab, name: str) -> str:
    return str(lab.status(Kind.CERTIFICATE, name)["serialNumber"])


async def _compromised(lab: Lab) -> None:
    lab.cluster.make(_with_request("device-1"))
    await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", _REVOKED)
    await lab.settle()


@pytest.mark.parametrize("restarted", [False, True])
async def test_another_object_with_the_same_request_is_refused(
    lab: Lab,
    restarted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    await _compromised(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "device-1")
    await lab.settle()
    if restarted:
        await lab.restart()
    lab.cluster.make(_with_request("device-2"))
    await lab.settle()
    assert _issued(lab, "device-2") == ("False", "CompromisedKey")
    assert lab.state("device-2") == "Failed"
    assert any(event[1] == "CompromisedKey" for event in lab.events())


async def test_other_names_in_the_object_do_not_help(lab: Lab) -> None:
    await _compromised(lab)
    lab.cluster.make(certificate("device-2", request=request_pem("device"), subject={"commonName": "other"}))
    await lab.settle()
    assert _issued(lab, "device-2") == ("False", "CompromisedKey")


async def test_another_key_is_issued_for(lab: Lab) -> None:
    await _compromised(lab)
    lab.cluster.make(_with_request("device-2", "another"))
    await lab.settle()
    assert lab.state("device-2") == "Active"


async def test_a_key_that_was_revoked_for_another_reason_may_be_used_again(lab: Lab) -> None:
    lab.cluster.make(_with_request("device-1"))
    await lab.start()
    await lab.settle()
    reason = {"spec": {"revoked": True, "revocationReason": "CessationOfOperation"}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", reason)
    await lab.settle()
    lab.cluster.make(_with_request("device-2"))
    await lab.settle()
    assert lab.state("device-2") == "Active"


async def test_a_reason_that_becomes_graver_counts(lab: Lab) -> None:
    lab.cluster.make(_with_request("device-1"))
    await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", _REVOKED)
    await lab.settle()
    lab.cluster.make(_with_request("device-2"))
    await lab.settle()
    assert _issued(lab, "device-2") == ("False", "CompromisedKey")


async def test_a_second_object_that_has_a_certificate_keeps_it_and_gets_no_other(lab: Lab) -> None:
    lab.cluster.make(_with_request("device-2"))
    await _compromised(lab)
    serial = _serial(lab, "device-2")
    assert lab.state("device-2") == "Active"
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-2", {"spec": {"validity": "48h"}})
    await lab.settle()
    assert _serial(lab, "device-2") == serial
    status, reason, message = lab.condition(Kind.CERTIFICATE, "device-2", "Ready")
    assert (status, reason) == ("True", "RenewalFailed")
    assert "compromised" in message


async def test_a_key_that_stays_is_not_renewed_when_a_former_certificate_of_it_is_compromised(
    lab: Lab,
) -> None:
    """``rotationPolicy: Never``: the certificate is another one, the key is the same."""
    spec: dict[str, Any] = {"validity": "30h", "renewal": {"before": "10h"}}
    lab.cluster.make(certificate("gateway", **spec, privateKey={"rotationPolicy": "Never"}))
    await lab.start()
    await lab.settle()
    former = lab.serial()
    mark = {"metadata": {"annotations": {names.RENEW_ANNOTATION: "2026-03-01T11:00:00Z"}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", mark)
    await lab.settle()
    present = lab.serial()
    assert present != former
    uid = str(lab.cluster.read(Kind.NAMESPACE, "", NAMESPACE)["metadata"]["uid"])
    request = Request(former, RevocationReason.KEY_COMPROMISE)
    lab.cluster.make(request_document(names.OPERATOR_NAMESPACE, NAMESPACE, uid, request))
    await lab.pass_time(hours=22)
    assert lab.is_refused(former)
    assert lab.serial() == present
    message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[2]
    assert "rotationPolicy" in message
    always = {"spec": {"privateKey": {"rotationPolicy": "Always"}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", always)
    await lab.pass_time(minutes=3)
    assert lab.serial() != present


async def test_the_key_of_a_secret_may_not_come_back_in_a_request(lab: Lab) -> None:
    """Whoever has taken the key out of a Secret can make a request with it."""
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.settle()
    serial = lab.serial()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _REVOKED)
    await lab.settle()
    record = lab.ledger()[serial]
    assert record.entry is Entry.REVOKED
    assert len(record.key) == 64
    assert record.key in lab.process.tenant().compromised


async def test_it_is_remembered_long_after_the_certificate_has_ended(lab: Lab) -> None:
    lab.cluster.make(_with_request("device-1"))
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", {"spec": {"validity": "2h"}})
    await lab.start()
    await lab.settle()
    serial = _serial(lab, "device-1")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "device-1", _REVOKED)
    await lab.settle()
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "device-1")
    await lab.pass_time(days=40)
    assert serial in lab.ledger()
    lab.cluster.make(_with_request("device-2"))
    await lab.settle()
    assert _issued(lab, "device-2") == ("False", "CompromisedKey")
