"""Revoking and restoring: G3 and G4."""

from __future__ import annotations

import asyncio

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.controller import keys
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.plan.ledger import Entry


def _revoke(lab: Lab, name: str = "gateway", **spec: object) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True, **spec}})


def _restore(lab: Lab, name: str = "gateway") -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": False}})


async def _issued(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.settle()


async def test_revoked_is_said_when_every_proxy_has_acknowledged(lab: Lab) -> None:
    """G4: not a moment earlier, also while the list is on its way to the cluster."""
    await _issued(lab)
    first = lab.run_pod(pod("api-1"))
    second = lab.run_pod(pod("api-2", address="10.0.0.2"))
    await lab.settle()
    first.obedient = second.obedient = False
    seen: set[str] = set()
    lab.cluster.watch({Kind.CERTIFICATE: ""}, lambda _, __, body: seen.add(body["status"]["state"]))
    _revoke(lab)
    await lab.settle()
    assert lab.state() == "PendingRevocation"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[:2] == ("False", "RevocationPending")
    lab.ack(first)
    await lab.settle()
    assert lab.state() == "PendingRevocation"
    assert "api-2" in lab.condition(Kind.CERTIFICATE, "gateway", "Deployed")[2]
    assert "Revoked" not in seen
    lab.ack(second)
    await lab.settle()
    assert lab.state() == "Revoked"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("False", "CertificateRevoked")
    assert "revokedAt" in lab.status(Kind.CERTIFICATE, "gateway")


def _through(lab: Lab, manager: str, *, revoked: bool, **spec: object) -> None:
    """Change the field as a program does, and keep its name as the API server does."""
    written = {"manager": manager, "operation": "Update", "time": "2026-03-01T12:00:00Z"}
    fields = [{**written, "fieldsV1": {"f:spec": {"f:revoked": {}}}}]
    patch = {"metadata": {"managedFields": fields}, "spec": {"revoked": revoked, **spec}}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", patch)


async def test_through_which_program_when_and_why_is_in_the_status_and_in_the_events(lab: Lab) -> None:
    await _issued(lab)
    before = lab.now()
    _through(lab, "kubectl-patch", revoked=True, revocationReason="CertificateHold")
    await lab.settle()
    status = lab.status(Kind.CERTIFICATE, "gateway")
    assert status["revokedThrough"] == "kubectl-patch"
    assert before.replace(microsecond=0) <= parse_timestamp(str(status["revokedAt"])) <= lab.now()
    _through(lab, "argocd-controller", revoked=False)
    await lab.settle()
    assert {"revokedAt", "revokedThrough"}.isdisjoint(lab.status(Kind.CERTIFICATE, "gateway"))
    said = {reason: message for _, reason, message in lab.events()}
    assert said["Revoked"].endswith("It was revoked through kubectl-patch, reason CertificateHold.")
    assert said["Restored"].endswith("It was restored through argocd-controller.")


async def test_without_any_proxy_revoked_is_said_at_once(lab: Lab) -> None:
    await _issued(lab)
    _revoke(lab)
    await lab.settle()
    assert lab.state() == "Revoked"
    assert lab.is_refused(lab.serial())


async def test_a_new_pod_does_not_take_revoked_back(lab: Lab) -> None:
    """G4: a proxy starts from the list in its files; it does not accept what was revoked before."""
    await _issued(lab)
    _revoke(lab)
    await lab.settle()
    lab.run_pod(pod("api-9"), obedient=False)
    await lab.settle()
    await lab.pass_time(seconds=10)
    assert lab.state() == "Revoked"


async def test_a_pod_that_ends_counts_as_long_as_it_is_connected(lab: Lab) -> None:
    await _issued(lab)
    proxy = lab.run_pod(pod("api-1"))
    await lab.settle()
    proxy.obedient = False
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": ["test/hold"]}})
    lab.cluster.remove(Kind.POD, NAMESPACE, "api-1")
    _revoke(lab)
    await lab.settle()
    assert lab.state() == "PendingRevocation"
    lab.disconnect(proxy)
    await lab.settle()
    await lab.pass_time(seconds=1)
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": None}})
    await lab.settle()
    assert lab.state() == "Revoked"


async def test_restoring_is_said_when_every_proxy_has_acknowledged(lab: Lab) -> None:
    await _issued(lab)
    proxy = lab.run_pod(pod())
    _revoke(lab)
    await lab.settle()
    proxy.obedient = False
    _restore(lab)
    await lab.settle()
    assert lab.state() == "PendingReactivation"
    assert not lab.is_refused(lab.serial())
    lab.ack(proxy)
    await lab.settle()
    assert lab.state() == "Active"


@pytest.mark.parametrize("reason", ["KeyCompromise", "CACompromise"])
async def test_a_compromised_key_is_never_restored(lab: Lab, reason: str) -> None:
    await _issued(lab)
    _revoke(lab, revocationReason=reason)
    await lab.settle()
    _restore(lab)
    await lab.settle()
    assert lab.is_refused(lab.serial())
    assert lab.state() == "Revoked"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[:2] == ("True", "RestoreRefused")


async def test_a_reason_that_becomes_final_later_is_final(lab: Lab) -> None:
    """An attacker's window: revoked on suspicion, found compromised afterwards, restored by mistake."""
    await _issued(lab)
    _revoke(lab, revocationReason="CertificateHold")
    await lab.settle()
    _revoke(lab, revocationReason="KeyCompromise")
    await lab.settle()
    _restore(lab)
    await lab.settle()
    assert lab.is_refused(lab.serial())
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[:2] == ("True", "RestoreRefused")


async def test_the_reason_survives_a_change_to_a_milder_one(lab: Lab) -> None:
    await _issued(lab)
    _revoke(lab, revocationReason="KeyCompromise")
    await lab.settle()
    lab.cluster.edit(
        Kind.CERTIFICATE,
        NAMESPACE,
        "gateway",
        {"spec": {"revocationReason": "CertificateHold", "revoked": False}},
    )
    await lab.settle()
    assert lab.is_refused(lab.serial())


async def test_an_object_made_again_cannot_restore_what_its_forerunner_revoked(lab: Lab) -> None:
    await _issued(lab)
    serial = lab.serial()
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    assert lab.is_refused(serial)
    assert not lab.is_refused(lab.serial())


async def test_an_object_that_is_revoked_from_the_start_is_never_issued(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("gateway", revoked=True))
    await lab.settle()
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, "gateway") is None
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "CertificateRevoked")


async def test_revoking_while_the_secret_is_deleted_still_revokes(lab: Lab) -> None:
    """G3: the serial number in the status is all that is left of the certificate."""
    await _issued(lab)
    serial = lab.serial()
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
    _revoke(lab)
    await lab.start()
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.state() == "Revoked"
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == serial


async def test_deleting_object_and_secret_together_still_revokes(lab: Lab) -> None:
    """G3."""
    await _issued(lab)
    serial = lab.serial()
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.start()
    await lab.settle()
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
    assert lab.is_refused(serial)


async def test_a_certificate_that_was_swapped_in_its_secret_is_revoked_with_its_object(lab: Lab) -> None:
    """G3: the owner's own certificate was replaced by that of another object; deletion revokes both."""
    await _issued(lab)
    lab.cluster.make(certificate("other"))
    await lab.settle()
    original, swapped = lab.serial("gateway"), lab.serial("other")
    data = lab.cluster.read(Kind.SECRET, NAMESPACE, "other")["data"]
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": data})
    await lab.settle()
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(original)
    assert lab.is_refused(swapped)


async def test_a_certificate_replaced_by_rubbish_is_still_revoked_with_its_object(lab: Lab) -> None:
    """G3: a new one is issued in its place, the old one may be anywhere."""
    await _issued(lab)
    serial = lab.serial()
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": {names.TLS_CERT_KEY: "cnViYmlzaA=="}})
    await lab.settle()
    assert lab.serial() != serial
    assert lab.ledger()[serial].entry is Entry.KNOWN
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(serial)


async def test_an_expired_certificate_leaves_the_list(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway", validity="48h"))
    await lab.start()
    await lab.settle()
    _revoke(lab)
    await lab.settle()
    serial = lab.serial()
    assert lab.is_refused(serial)
    await lab.pass_time(days=3)
    assert not lab.is_refused(serial)


async def test_a_list_that_could_not_be_written_is_pushed_all_the_same(lab: Lab) -> None:
    """G1: a failing write of the ConfigMap keeps the revocation from no proxy, and is repeated."""
    await _issued(lab)
    proxy = lab.run_pod(pod())
    await lab.settle()
    lab.cluster.faults.append(
        Fault("apply", Kind.CONFIG_MAP, UnavailableError("down"), name=names.REVOCATION_CONFIGMAP)
    )
    _revoke(lab)
    await lab.settle(failures=True)
    assert proxy.runs[names.REVOCATION_FILTER]
    assert lab.is_refused(lab.serial())
    assert lab.state() == "Revoked"


async def test_the_list_for_other_gateways_never_grows_old(lab: Lab) -> None:
    """Also in a namespace where every object is gone."""
    await _issued(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    lab.cluster.remove(Kind.HOST, NAMESPACE, "api")
    await lab.settle()
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"][names.CRL_KEY]
    await lab.pass_time(days=2)
    after = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"][names.CRL_KEY]
    assert after != before


@pytest.mark.parametrize("moment", [Kind.SECRET, Kind.EVENT])
async def test_an_edit_between_two_writes_of_ours_is_not_lost(lab: Lab, moment: Kind) -> None:
    """The answer to our own status write carries the user's edit, too; its own event must still count."""
    await lab.start()
    done: list[str] = []

    def edit(kind: Kind, event: str, body: dict[str, object]) -> None:
        if not done and event == "ADDED" and kind is moment and "gateway" in str(body["metadata"]):
            done.append(event)
            _revoke(lab)

    lab.cluster.watch({moment: ""}, edit)
    lab.cluster.make(certificate("gateway"))
    await lab.settle(failures=True)
    assert done
    assert lab.is_refused(lab.serial())
    assert lab.state() == "Revoked"


async def test_a_burst_of_revocations_becomes_few_writes(lab: Lab) -> None:
    """One revocation waits for nothing, a hundred become a few writes."""
    await lab.start()
    lab.cluster.make(host())
    for number in range(60):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.settle()
    lab.run_pod(pod())
    await lab.settle()
    lab.writes()
    for number in range(60):
        _revoke(lab, f"c{number}")
    await lab.settle(failures=True)
    assert all(lab.state(f"c{number}") == "Revoked" for number in range(60))
    shared = [w for w in lab.writes() if w.kind is Kind.CONFIG_MAP]
    assert len(shared) <= 8


async def test_a_revocation_waits_for_no_worker_that_is_busy_with_others(lab: Lab) -> None:
    """More hosts of others than there are workers, and none is ever done."""
    await _issued(lab)
    lab.run_pod(pod())
    await lab.settle()
    workers, for_ever = lab.process.workers, asyncio.Event()

    async def busy(_: Key) -> float | None:
        await for_ever.wait()
        return None

    revocations = workers.reconcilers[Topic.AUTHORITY]
    workers.reconcilers = {**dict.fromkeys(Topic, busy), Topic.AUTHORITY: revocations}
    for number in range(3 * lab.workers):
        lab.process.context.queue.add(keys.host("elsewhere", f"host-{number}"))
    await asyncio.sleep(1)
    serial = lab.serial()
    assert not lab.is_refused(serial)
    _revoke(lab)
    await asyncio.sleep(0.1)
    assert lab.is_refused(serial)
    assert lab.revoked_in_ledger() == {serial}
