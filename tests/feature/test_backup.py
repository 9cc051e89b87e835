"""A cluster that goes back to an earlier state, by the procedure of docs/operations.md and without it (G3)."""

from __future__ import annotations

import copy
from base64 import b64decode, b64encode

from tests.feature.desk import do
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Place

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.plan.authority import NEXT_INDEX_KEY

SYSTEM = names.OPERATOR_NAMESPACE


async def _running(lab: Lab) -> dict[Place, Body]:
    """Return the snapshot: two certificates, none revoked."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    for name in ("gateway", "other"):
        lab.cluster.make(certificate(name))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)
    return copy.deepcopy(lab.cluster.objects)


async def _after_the_snapshot(lab: Lab) -> str:
    """Revoke one, issue one, and use up more than a block of numbers; return what nothing will name."""
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    for _ in range(3):
        await lab.restart()
        lab.cluster.make(certificate("late"))
        await lab.settle()
        serial = lab.serial("late")
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "late", {"metadata": {"finalizers": None}})
        await lab.stop()
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "late")
        await lab.start()
        await lab.settle()
    return serial


def _raise_counts(lab: Lab) -> None:
    for body in lab.authority_secrets():
        count = int(b64decode(body["data"][NEXT_INDEX_KEY])) + 65536
        body["data"][NEXT_INDEX_KEY] = b64encode(str(count).encode()).decode()
        lab.cluster.overwrite(body)


async def test_nothing_is_unrevoked_and_no_number_is_used_twice_by_the_procedure(lab: Lab) -> None:
    snapshot = await _running(lab)
    revoked = lab.serial()
    lost = await _after_the_snapshot(lab)
    before = {int(serial[-8:], 16) for serial in (lab.serial(), lab.serial("other"), lost)}
    await lab.stop()
    kept = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    lab.cluster.objects = copy.deepcopy(snapshot)
    lab.cluster.overwrite(kept)
    _raise_counts(lab)
    await lab.start()
    await lab.pass_time(seconds=15)
    assert lab.is_refused(revoked)
    assert revoked in lab.revoked_in_ledger()
    assert lab.state() == "Revoked"
    lab.cluster.make(certificate("next"))
    await lab.settle()
    assert int(lab.serial("next")[-8:], 16) > max(before)
    assert (await do(lab, "cert", "revoke", "--serial", lost)).code == 0
    assert lab.is_refused(lost)
    assert not lab.is_refused(lab.serial("next"))
    assert not lab.is_refused(lab.serial("other"))


async def test_an_operator_that_runs_through_it_unrevokes_nothing(lab: Lab) -> None:
    """The objects of the snapshot say that nothing is revoked; there is no ledger yet in the snapshot."""
    snapshot = await _running(lab)
    revoked = lab.serial()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.objects = copy.deepcopy(snapshot)
    lab.resync()
    await lab.pass_time_with_failures(seconds=30)
    assert lab.is_refused(revoked)
    assert lab.state() == "Revoked"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[1] == "RestoreRefused"
    await lab.restart()
    await lab.pass_time(seconds=15)
    assert lab.is_refused(revoked)


async def test_an_object_that_was_revoked_in_the_snapshot_too_can_be_restored_afterwards(lab: Lab) -> None:
    await _running(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    snapshot = copy.deepcopy(lab.cluster.objects)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"metadata": {"labels": {"team": "x"}}})
    await lab.settle()
    lab.cluster.objects = snapshot
    lab.resync()
    await lab.pass_time_with_failures(seconds=30)
    assert lab.is_refused(lab.serial())
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert not lab.is_refused(lab.serial())
