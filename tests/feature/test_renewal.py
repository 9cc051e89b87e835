"""Certificates that are replaced: in time, after a change, never twice, and with nothing lost of the old ones (G3)."""

from __future__ import annotations

import contextlib
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Crash

from mtls_operator.api import names
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import Kind
from mtls_operator.pki import read_certificate
from mtls_operator.plan.ledger import Entry


def _key(lab: Lab, name: str = "gateway") -> bytes:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.TLS_KEY_KEY])


async def _issued(lab: Lab, **spec: Any) -> str:
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    await lab.settle()
    return lab.serial()


async def test_a_certificate_is_renewed_at_the_time_that_its_status_names(lab: Lab) -> None:
    first = await _issued(lab, validity="30h", renewal={"before": "10h"})
    named = lab.status(Kind.CERTIFICATE, "gateway")["renewalTime"]
    assert "2026-03-02T08:00:00Z" <= named <= "2026-03-02T09:00:00Z"
    await lab.pass_time(hours=19, minutes=59)
    assert lab.serial() == first
    await lab.pass_time(hours=1, minutes=2)
    assert lab.serial() != first
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial()
    assert lab.state() == "Active"
    assert ("Renewed", f"Issued certificate {lab.serial()} in place of {first}.") in [
        (reason, message) for _, reason, message in lab.events()
    ]


async def test_a_third_of_the_validity_before_its_end_is_the_default(lab: Lab) -> None:
    await _issued(lab, validity="30h")
    named = lab.status(Kind.CERTIFICATE, "gateway")["renewalTime"]
    assert "2026-03-02T08:00:00Z" <= named <= "2026-03-02T09:00:00Z"


async def test_a_renewal_makes_a_new_key_unless_it_is_to_be_kept(lab: Lab) -> None:
    await _issued(lab, validity="3h")
    key = _key(lab)
    await lab.pass_time(hours=2, minutes=30)
    assert _key(lab) != key


async def test_a_key_that_is_to_be_kept_is_kept(lab: Lab) -> None:
    first = await _issued(lab, validity="3h", privateKey={"rotationPolicy": "Never"})
    key = _key(lab)
    await lab.pass_time(hours=2, minutes=30)
    assert (_key(lab), lab.serial() != first) == (key, True)


async def test_a_key_of_another_kind_than_asked_for_is_not_kept(lab: Lab) -> None:
    await _issued(lab, privateKey={"rotationPolicy": "Never"})
    key = _key(lab)
    change = {"spec": {"privateKey": {"algorithm": "ECDSA", "size": 384, "rotationPolicy": "Never"}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", change)
    await lab.settle()
    assert _key(lab) != key


async def test_a_certificate_that_is_not_to_be_renewed_expires(lab: Lab) -> None:
    first = await _issued(lab, validity="2h", renewal={"policy": "Never"})
    assert "renewalTime" not in lab.status(Kind.CERTIFICATE, "gateway")
    await lab.pass_time(hours=2, minutes=1)
    assert (lab.serial(), lab.state()) == (first, "Expired")


async def test_a_revoked_certificate_is_never_renewed(lab: Lab) -> None:
    first = await _issued(lab, validity="3h", revoked=False)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.pass_time(hours=4)
    assert lab.serial() == first


async def test_the_old_certificate_stays_valid_and_is_named_until_its_end(lab: Lab) -> None:
    first = await _issued(lab, validity="3h")
    end = lab.status(Kind.CERTIFICATE, "gateway")["notAfter"]
    await lab.pass_time(hours=2, minutes=30)
    assert not lab.is_refused(first)
    assert lab.status(Kind.CERTIFICATE, "gateway")["previous"] == [{"serialNumber": first, "notAfter": end}]
    assert lab.ledger()[first].entry is Entry.KNOWN
    await lab.pass_time(minutes=40)
    assert "previous" not in lab.status(Kind.CERTIFICATE, "gateway")


async def test_revoking_the_object_revokes_the_old_certificate_too(lab: Lab) -> None:
    first = await _issued(lab, validity="3h")
    await lab.pass_time(hours=2, minutes=30)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(first)
    assert lab.is_refused(lab.serial())


async def test_deleting_the_object_revokes_the_old_certificate_too(lab: Lab) -> None:
    first = await _issued(lab, validity="3h")
    await lab.pass_time(hours=2, minutes=30)
    second = lab.serial()
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(first)
    assert lab.is_refused(second)


async def test_the_old_certificate_is_revoked_after_the_time_that_the_author_chose(lab: Lab) -> None:
    first = await _issued(lab, validity="30h", renewal={"before": "10h", "revokeOldAfter": "1h"})
    await lab.pass_time(hours=21, minutes=1)
    second = lab.serial()
    assert second != first
    assert not lab.is_refused(first)
    await lab.pass_time(hours=1, minutes=1)
    assert lab.is_refused(first)
    assert not lab.is_refused(second)
    assert lab.ledger()[first].reason.value == "Superseded"
    assert lab.state() == "Active"
    assert "previous" not in lab.status(Kind.CERTIFICATE, "gateway")


async def test_a_superseded_certificate_is_not_restored_with_its_object(lab: Lab) -> None:
    first = await _issued(lab, validity="30h", renewal={"before": "10h", "revokeOldAfter": "0s"})
    await lab.pass_time(hours=21, minutes=1)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert lab.is_refused(first)
    assert not lab.is_refused(lab.serial())


async def test_a_changed_spec_gets_a_new_certificate_and_the_old_one_stays_valid(lab: Lab) -> None:
    first = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"dnsNames": ["gw.example.com"]}})
    await lab.settle()
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    assert read_certificate(b64decode(secret["data"][names.TLS_CERT_KEY])).dns_names == ("gw.example.com",)
    assert not lab.is_refused(first)
    lab.writes()
    await lab.pass_time(hours=1)
    assert lab.writes() == []


async def test_a_renewed_world_is_not_written_to_again(lab: Lab) -> None:
    """G6."""
    await _issued(lab, validity="300h", renewal={"before": "100h"})
    await lab.pass_time(hours=211)
    lab.writes()
    lab.resync()
    await lab.pass_time(hours=1)
    assert [str(write) for write in lab.writes() if "mtls-revocation" not in str(write)] == []


async def test_a_renewal_that_is_not_possible_is_reported_and_what_is_there_stays(lab: Lab) -> None:
    first = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"subject": {"commonName": "ü" * 40}}})
    await lab.settle()
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (lab.serial(), status, reason) == (first, "True", "RenewalFailed")
    assert "64" in message
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"subject": {"commonName": "gw"}}})
    await lab.pass_time(minutes=2)
    assert lab.serial() != first
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")


def _wish(lab: Lab, **after: float) -> None:
    wanted = format_timestamp(lab.now() + timedelta(**after))
    patch = {"metadata": {"annotations": {names.RENEW_ANNOTATION: wanted}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", patch)


async def test_a_renewal_that_somebody_asks_for_is_done_at_once_and_once(lab: Lab) -> None:
    first = await _issued(lab)
    _wish(lab)
    await lab.settle()
    second = lab.serial()
    assert second != first
    assert not lab.is_refused(first)
    assert lab.ledger()[first].entry is Entry.KNOWN
    lab.writes()
    await lab.restart()
    await lab.pass_time(hours=1)
    assert (lab.serial(), lab.writes()) == (second, [])


async def test_every_new_wish_is_granted(lab: Lab) -> None:
    await _issued(lab)
    serials = {lab.serial()}
    for _ in range(3):
        await lab.pass_time(seconds=1)
        _wish(lab)
        await lab.settle()
        serials.add(lab.serial())
    assert len(serials) == 4


async def test_a_wish_for_later_is_granted_then(lab: Lab) -> None:
    first = await _issued(lab)
    _wish(lab, hours=2)
    await lab.settle()
    assert lab.serial() == first
    assert lab.status(Kind.CERTIFICATE, "gateway")["renewalTime"] == "2026-03-01T14:00:00Z"
    await lab.pass_time(hours=2, seconds=5)
    second = lab.serial()
    assert second != first
    await lab.pass_time(hours=3)
    assert lab.serial() == second


async def test_a_wish_is_granted_where_nothing_renews_by_itself(lab: Lab) -> None:
    first = await _issued(lab, renewal={"policy": "Never"})
    _wish(lab)
    await lab.settle()
    second = lab.serial()
    assert second != first
    assert "renewalTime" not in lab.status(Kind.CERTIFICATE, "gateway")
    await lab.pass_time(hours=1)
    assert lab.serial() == second


async def test_a_wish_renews_no_revoked_certificate(lab: Lab) -> None:
    first = await _issued(lab, revoked=False)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    _wish(lab)
    await lab.pass_time(hours=1)
    assert lab.serial() == first


async def test_a_wish_that_came_with_the_object_does_not_issue_twice(lab: Lab) -> None:
    """The object was copied from somewhere, annotations and all."""
    body = certificate("gateway")
    body["metadata"]["annotations"] = {names.RENEW_ANNOTATION: "2026-02-01T00:00:00Z"}
    lab.cluster.make(body)
    await lab.start()
    await lab.settle()
    first = lab.serial()
    await lab.pass_time(hours=1)
    assert lab.serial() == first
    assert lab.ledger() == {}


@pytest.mark.parametrize(
    "text", ["now", "2026-03-01", "2026-03-01T12:00:00", "9" * 500, "", "9999-12-31T23:59:59-12:00"]
)
async def test_a_wish_that_is_no_time_changes_nothing(lab: Lab, text: str) -> None:
    first = await _issued(lab)
    patch = {"metadata": {"annotations": {names.RENEW_ANNOTATION: text}}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", patch)
    await lab.settle()
    assert (lab.serial(), lab.state()) == (first, "Active")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 5))
async def test_a_kill_at_any_write_of_a_wished_renewal_renews_once(
    lab: Lab, position: int, *, after: bool
) -> None:
    first = await _issued(lab)
    await lab.stop()
    _wish(lab)
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    await lab.restart()
    await lab.settle()
    second = lab.serial()
    assert second != first
    assert {s for s, r in lab.ledger().items() if r.entry is Entry.KNOWN} == {first}
    await lab.pass_time(hours=1)
    assert lab.serial() == second


async def test_a_new_certificate_does_not_wait_for_the_renewals_that_are_due(lab: Lab) -> None:
    """After an outage of the operator thousands can be due: whoever waits for a first certificate has none to use."""
    for number in range(40):
        lab.cluster.make(certificate(f"due-{number}", validity="3h"))
    await lab.start()
    await lab.settle()
    await lab.stop()
    lab.skew += timedelta(hours=2, minutes=30)
    lab.cluster.make(certificate("new"))
    lab.writes()
    await lab.start()
    await lab.settle()
    order = [
        write.name for write in lab.writes() if write.kind is Kind.SECRET and write.namespace == NAMESPACE
    ]
    issued = [name for name in order if name == "new" or name.startswith("due-")]
    assert len(issued) == 41
    assert issued.index("new") < 2 * lab.workers


async def test_what_others_added_to_the_secret_survives_a_renewal(lab: Lab) -> None:
    await _issued(lab, validity="3h")
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"metadata": {"labels": {"team": "gateways"}}})
    await lab.pass_time(hours=2, minutes=30)
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    assert secret["metadata"]["labels"]["team"] == "gateways"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(4))
async def test_a_kill_at_any_write_of_a_renewal_loses_nothing_and_renews_once(
    lab: Lab, position: int, *, after: bool
) -> None:
    """G3: every certificate that may be in somebody's hands is revoked with its object."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    first = await _issued(lab, validity="3h")
    lab.run_pod(pod())
    await lab.settle()
    await lab.stop()
    lab.skew += timedelta(hours=2, minutes=30)
    seen = {first}
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    seen.add(lab.serial())
    await lab.restart()
    await lab.settle()
    seen.add(lab.serial())
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert len(seen) <= 2
    assert all(lab.is_refused(serial) for serial in seen)
