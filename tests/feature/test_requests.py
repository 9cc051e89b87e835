"""Certificates for keys that stay with their owners: issued once, into the status, and never lost (G3, G5)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Crash
from tests.support.requests import key_of, request_pem

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import read_certificate
from mtls_operator.plan.ledger import Entry

CONFIG = names.certificate_config("gateway")


def _object(request: str | None = None, **spec: Any) -> dict[str, Any]:
    body = certificate("gateway", request=request or request_pem(), **spec)
    if "subject" not in spec:
        body["spec"].pop("subject")
    return body


def _serial(lab: Lab) -> str:
    return str(lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"])


def _pem(lab: Lab) -> str:
    return str(lab.status(Kind.CERTIFICATE, "gateway")["certificate"])


async def _issued(lab: Lab, **spec: Any) -> str:
    lab.cluster.make(_object(**spec))
    await lab.start()
    await lab.settle()
    return _serial(lab)


async def test_the_certificate_for_a_request_appears_in_the_status(lab: Lab) -> None:
    await _issued(lab)
    issued = x509.load_pem_x509_certificate(_pem(lab).encode())
    assert issued.public_key() == key_of("gateway").public_key()
    assert read_certificate(_pem(lab)).serial == _serial(lab)
    assert lab.state() == "Active"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready") == (
        "True",
        "Ready",
        "The certificate is in status.certificate.",
    )


async def test_no_secret_is_made_for_a_request(lab: Lab) -> None:
    """G5: there is no key to keep."""
    await _issued(lab)
    assert lab.client_secrets() == {}
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, "gateway") is None


async def test_a_request_to_be_a_ca_is_not_granted(lab: Lab) -> None:
    await _issued(lab)
    issued = x509.load_pem_x509_certificate(_pem(lab).encode())
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


async def test_names_of_the_object_replace_those_of_the_request(lab: Lab) -> None:
    await _issued(
        lab, request=request_pem("gateway", dns_names=("a.example.com",)), dnsNames=["b.example.com"]
    )
    facts = read_certificate(_pem(lab))
    assert (facts.subject, facts.dns_names) == ("CN=gateway", ("b.example.com",))


@pytest.mark.parametrize(
    "request_text",
    [
        "rubbish",
        request_pem().replace("M", "N", 1),
        request_pem() * 2,
        "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
    ],
    ids=["rubbish", "damaged", "two", "empty"],
)
async def test_a_request_that_cannot_be_used_is_refused_and_uses_up_no_index(
    lab: Lab, request_text: str
) -> None:
    lab.cluster.make(_object(request_text))
    await lab.start()
    await lab.settle()
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Issued")
    assert (status, reason, lab.state()) == ("False", "InvalidRequest", "Failed")
    assert "request" in message
    assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, CONFIG) is None
    assert ("Warning", "InvalidRequest", message) in lab.events()


async def test_an_issued_request_is_not_written_again(lab: Lab) -> None:
    """G6."""
    await _issued(lab)
    lab.writes()
    lab.resync()
    await lab.settle()
    await lab.restart()
    await lab.settle()
    assert [str(write) for write in lab.writes()] == []


async def test_revoking_and_deleting_work_as_for_any_other(lab: Lab) -> None:
    serial = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.state() == "Revoked"
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert not lab.is_refused(serial)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(serial)


async def test_a_deletion_before_the_status_names_it_revokes_it_all_the_same(lab: Lab) -> None:
    """G3: the act of issuing is the ConfigMap, the status only says so."""
    lab.cluster.make(certificate("other"))
    await lab.start()
    await lab.settle()
    await lab.stop()
    lab.cluster.make(_object())
    await lab.start(crash_at=3, crash_after=True)  # finalizer, serial numbers, ConfigMap
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    made = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    assert "serialNumber" not in lab.status(Kind.CERTIFICATE, "gateway")
    serial = read_certificate(made["data"][names.TLS_CERT_KEY]).serial
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.restart()
    await lab.settle()
    assert lab.is_refused(serial)


@pytest.mark.parametrize(
    "damage",
    [
        {"status": None},
        {"status": {"certificate": "rubbish"}},
        {"status": {"certificate": None, "serialNumber": None}},
        {"status": {"serialNumber": "0ADD"}},
    ],
    ids=["cleared", "edited", "emptied", "another serial number"],
)
async def test_a_status_that_somebody_edits_is_put_back(lab: Lab, damage: dict[str, Any]) -> None:
    serial = await _issued(lab)
    pem = _pem(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", damage)
    await lab.settle()
    assert (_serial(lab), _pem(lab)) == (serial, pem)


@pytest.mark.parametrize("what", ["deleted", "rubbish", "another's", "labels"])
async def test_a_config_map_that_somebody_edits_is_put_back_without_signing_again(
    lab: Lab, what: str
) -> None:
    serial = await _issued(lab)
    if what == "deleted":
        lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    elif what == "labels":
        change = {"metadata": {"labels": {names.ROLE_LABEL: None, names.MANAGED_BY_LABEL: None}}}
        lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, CONFIG, change)
    else:
        other = certificate("other", request=request_pem("other"))
        lab.cluster.make(other)
        await lab.settle()
        foreign = str(lab.status(Kind.CERTIFICATE, "other")["certificate"])
        text = foreign if what == "another's" else "rubbish"
        lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, CONFIG, {"data": {names.TLS_CERT_KEY: text}})
    await lab.settle()
    body = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    assert read_certificate(body["data"][names.TLS_CERT_KEY]).serial == serial == _serial(lab)
    assert body["metadata"]["labels"][names.ROLE_LABEL] == "certificate"
    assert body["metadata"]["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY


async def test_what_somebody_writes_after_the_certificate_does_not_get_into_the_status(lab: Lab) -> None:
    """The API server would refuse a status of that size, again and again."""
    await _issued(lab)
    pem = _pem(lab)
    change = {"data": {names.TLS_CERT_KEY: pem + "# rubbish\n" * 9000}}
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, CONFIG, change)
    await lab.settle()
    assert _pem(lab) == pem
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"][names.TLS_CERT_KEY] == pem


async def test_a_config_map_of_somebody_else_is_left_alone(lab: Lab) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": NAMESPACE, "name": CONFIG},
        "data": {"theirs": "1"},
    }
    lab.cluster.make(theirs)
    lab.cluster.make(_object())
    await lab.start()
    await lab.settle()
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "ConfigConflict")
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"] == {"theirs": "1"}
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    await lab.pass_time(minutes=1)
    assert lab.state() == "Active"


async def test_a_key_that_was_compromised_gets_no_other_certificate(lab: Lab) -> None:
    """Without its ConfigMap and its status a new one would be signed for the same key."""
    serial = await _issued(lab)
    change = {"spec": {"revoked": True, "revocationReason": "KeyCompromise"}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", change)
    await lab.settle()
    await lab.stop()
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}, "status": None})
    await lab.start()
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "CompromisedKey")


# Renewal: its owner does it.


async def test_its_owner_is_reminded_when_a_renewal_is_due(lab: Lab) -> None:
    serial = await _issued(lab, validity="30h", renewal={"before": "10h"})
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")
    due = lab.status(Kind.CERTIFICATE, "gateway")["renewalTime"]
    assert "2026-03-02T08:00:00Z" <= due <= "2026-03-02T09:00:00Z"
    await lab.pass_time(hours=21, minutes=2)
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason, _serial(lab)) == ("True", "RenewalRequired", serial)
    assert "2026-03-02T18:00:00Z" in message
    assert "spec.request" in message
    assert ("Warning", "RenewalRequired", message) in lab.events()


async def test_its_owner_is_reminded_three_times_and_not_more(lab: Lab) -> None:
    await _issued(lab, validity="30h", renewal={"before": "10h"})
    await lab.pass_time(hours=25)
    await lab.pass_time(hours=4, minutes=50)
    await lab.restart()
    await lab.settle()
    reminders = [message for _, reason, message in lab.events() if reason == "RenewalRequired"]
    assert [number for number in (1, 2, 3) for message in reminders if f"reminder {number}" in message] == [
        1,
        2,
        3,
    ]
    await lab.pass_time(hours=1)
    assert lab.state() == "Expired"


async def test_a_restart_between_two_reminders_reminds_of_nothing(lab: Lab) -> None:
    """G6."""
    await _issued(lab, validity="30h", renewal={"before": "10h"})
    await lab.pass_time(hours=21, minutes=2)
    lab.writes()
    await lab.restart()
    await lab.settle()
    assert [str(write) for write in lab.writes()] == []


async def test_nobody_is_reminded_of_what_is_revoked_or_is_to_end(lab: Lab) -> None:
    await _issued(lab, validity="30h", renewal={"policy": "Never"})
    await lab.pass_time(hours=29)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")


async def test_a_changed_spec_gets_a_new_certificate_for_the_same_key(lab: Lab) -> None:
    first = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"dnsNames": ["gw.example.com"]}})
    await lab.settle()
    facts = read_certificate(_pem(lab))
    assert facts.dns_names == ("gw.example.com",)
    assert facts.serial == _serial(lab) != first
    assert lab.ledger()[first].entry is Entry.KNOWN
    assert not lab.is_refused(first)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(first)
    assert lab.is_refused(facts.serial)


async def test_a_rotation_of_the_ca_asks_the_owner_and_does_not_sign_again(lab: Lab) -> None:
    serial = await _issued(lab)
    authority = lab.authority_secrets()[0]["metadata"]["name"]
    rotate = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: "now"}}}
    lab.cluster.edit(Kind.SECRET, names.OPERATOR_NAMESPACE, authority, rotate)
    await lab.settle()
    await lab.pass_time(hours=2)
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason, _serial(lab)) == ("True", "RenewalRequired", serial)
    assert "a new CA signs" in message


async def test_a_certificate_of_a_ca_that_was_dropped_is_not_called_ready(lab: Lab) -> None:
    """G4: no proxy accepts it."""
    await _issued(lab)
    authority = lab.authority_secrets()[0]["metadata"]["name"]
    rotate = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: names.ROTATE_COMPROMISED}}}
    lab.cluster.edit(Kind.SECRET, names.OPERATOR_NAMESPACE, authority, rotate)
    await lab.settle()
    await lab.pass_time(hours=2)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("False", "RenewalRequired")


# Crashes.


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 8))
async def test_a_kill_at_any_write_issues_once_and_loses_nothing(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: one certificate for one request, whenever the operator ends."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.run_pod(pod())
    await lab.start()
    await lab.settle()
    lab.cluster.make(_object())
    await lab.stop()
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    found = lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    seen = {read_certificate(found["data"][names.TLS_CERT_KEY]).serial} if found else set()
    await lab.restart()
    await lab.settle()
    assert seen <= {_serial(lab)}
    assert read_certificate(_pem(lab)).serial == _serial(lab)
    assert lab.ledger() == {}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(_serial(lab))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 6))
async def test_a_kill_at_any_write_of_a_reissue_loses_nothing_of_the_old_one(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3."""
    first = await _issued(lab)
    await lab.stop()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"dnsNames": ["gw.example.com"]}})
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    await lab.restart()
    await lab.settle()
    assert read_certificate(_pem(lab)).dns_names == ("gw.example.com",)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(first)
    assert len(lab.revoked_in_ledger()) == 2
