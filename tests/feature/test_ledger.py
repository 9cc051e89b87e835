"""G3 when the ledger goes back in time, is damaged, or cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.plan.ledger import RECORDS_KEY

SYSTEM = names.OPERATOR_NAMESPACE
PAGE = "ledger-shop-1"
Harm = Callable[[Lab], None]


def _revoke(lab: Lab, name: str, *, revoked: bool = True) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": revoked}})


async def _two_revoked(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(certificate("first"))
    lab.cluster.make(certificate("second"))
    await lab.start()
    await lab.settle()
    _revoke(lab, "first")
    await lab.settle()
    lab.old_page = lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, PAGE)
    _revoke(lab, "second")
    await lab.settle()


def _deleted(lab: Lab) -> None:
    lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, PAGE)


def _rolled_back(lab: Lab) -> None:
    lab.cluster.overwrite(lab.old_page)


def _damaged(lab: Lab) -> None:
    lines = lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, PAGE)["data"][RECORDS_KEY].splitlines()
    lines[0] = lines[0][:30]
    lab.cluster.edit(Kind.CONFIG_MAP, SYSTEM, PAGE, {"data": {RECORDS_KEY: "\n".join(lines) + "\n"}})


def _emptied(lab: Lab) -> None:
    lab.cluster.edit(Kind.CONFIG_MAP, SYSTEM, PAGE, {"data": None})


HARMS = pytest.mark.parametrize("harm", [_deleted, _rolled_back, _damaged, _emptied])


async def _all_still_refused(lab: Lab) -> None:
    first, second = lab.serial("first"), lab.serial("second")
    assert lab.is_refused(first)
    assert lab.is_refused(second)
    assert {first, second} <= lab.revoked_in_ledger()
    assert {lab.state("first"), lab.state("second")} == {"Revoked"}


@HARMS
async def test_what_was_revoked_stays_so_when_the_ledger_is_harmed_while_running(
    lab: Lab, harm: Harm
) -> None:
    await _two_revoked(lab)
    harm(lab)
    await lab.settle(failures=True)
    await _all_still_refused(lab)


@HARMS
async def test_what_was_revoked_stays_so_when_the_ledger_is_harmed_across_a_restart(
    lab: Lab, harm: Harm
) -> None:
    await _two_revoked(lab)
    await lab.stop()
    harm(lab)
    await lab.start()
    await lab.settle()
    await _all_still_refused(lab)


@HARMS
async def test_objects_that_are_gone_stay_revoked_too(lab: Lab, harm: Harm) -> None:
    """Nothing but the signed list knows them any more."""
    await _two_revoked(lab)
    first, second = lab.serial("first"), lab.serial("second")
    for name in ("first", "second"):
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, name)
    await lab.settle()
    await lab.stop()
    harm(lab)
    await lab.start()
    await lab.settle()
    assert lab.is_refused(first)
    assert lab.is_refused(second)


@HARMS
async def test_the_recovery_is_said_on_the_host(lab: Lab, harm: Harm) -> None:
    await _two_revoked(lab)
    await lab.stop()
    harm(lab)
    await lab.start()
    await lab.settle()
    status, reason, message = lab.condition(Kind.HOST, "api", "ResolvedRefs")
    assert status == "True"
    assert reason == ("LedgerUnreadable" if harm is _damaged else "LedgerRollback")
    assert (f"{PAGE} line 1" in message) == (harm is _damaged)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(_deleted, "LedgerRollback"), (_rolled_back, "LedgerRollback"), (_damaged, "LedgerUnreadable")],
)
async def test_the_recovery_is_said_on_the_host_while_running(lab: Lab, harm: Harm, reason: str) -> None:
    await _two_revoked(lab)
    harm(lab)
    await lab.settle(failures=True)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("True", reason)


async def test_a_ledger_that_was_mended_is_said_on_the_host(lab: Lab) -> None:
    await _two_revoked(lab)
    await lab.stop()
    _damaged(lab)
    await lab.start()
    await lab.settle()
    text = str(lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, PAGE)["data"][RECORDS_KEY])
    mended = "".join(line for line in text.splitlines(keepends=True) if line.endswith("}\n"))
    lab.cluster.edit(Kind.CONFIG_MAP, SYSTEM, PAGE, {"data": {RECORDS_KEY: mended}})
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[1] == "LedgerRollback"


async def test_a_restore_is_not_undone_by_an_older_ledger(lab: Lab) -> None:
    await _two_revoked(lab)
    page = lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, PAGE)
    _revoke(lab, "second", revoked=False)
    await lab.settle()
    lab.cluster.overwrite(page)
    await lab.settle(failures=True)
    assert not lab.is_refused(lab.serial("second"))
    await lab.stop()
    lab.cluster.overwrite(page)
    await lab.start()
    await lab.settle()
    assert not lab.is_refused(lab.serial("second"))
    assert lab.state("second") == "Active"


async def test_revoking_again_in_the_same_second_is_not_undone_by_an_older_ledger(lab: Lab) -> None:
    """Records of one serial number are ordered also where the clock gives them one time, or goes backwards."""
    await _two_revoked(lab)
    _revoke(lab, "second", revoked=False)
    await lab.settle()
    page = lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, PAGE)
    _revoke(lab, "second")
    await lab.settle()
    await lab.stop()
    lab.cluster.overwrite(page)
    await lab.start()
    await lab.settle()
    assert lab.is_refused(lab.serial("second"))


async def test_a_ledger_that_cannot_be_read_does_not_pass_for_an_empty_one(lab: Lab) -> None:
    """G1 and G3: the API server fails at the first reads, and no object is left that asks for the revocation."""
    await _two_revoked(lab)
    first = lab.serial("first")
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "first")
    await lab.settle()
    await lab.stop()
    lab.cluster.faults += [Fault("list", Kind.CONFIG_MAP, UnavailableError("down")) for _ in range(3)]
    await lab.start()
    await lab.pass_time_with_failures(seconds=3)
    assert not lab.cluster.faults
    assert lab.is_refused(first)
    scripts = [s for s in lab.process.discovery.history if s.name == names.REVOCATION_FILTER]
    assert len(scripts) == 1


async def test_a_list_that_cannot_be_read_does_not_hide_what_only_it_knows(lab: Lab) -> None:
    await _two_revoked(lab)
    await lab.stop()
    _deleted(lab)
    lab.cluster.faults.append(
        Fault("get", Kind.CONFIG_MAP, UnavailableError("down"), name=names.REVOCATION_CONFIGMAP)
    )
    await lab.start()
    await lab.settle(failures=True)
    await _all_still_refused(lab)


async def test_tenants_cannot_take_a_revocation_back(lab: Lab) -> None:
    """Edits of the published list are restored, with the operator up or down."""
    await _two_revoked(lab)
    data = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    empty = dict.fromkeys(data, "")
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"data": empty})
    await lab.settle()
    await _all_still_refused(lab)
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"data": empty})
    await lab.start()
    await lab.settle()
    await _all_still_refused(lab)


async def test_a_deleted_list_comes_back(lab: Lab) -> None:
    await _two_revoked(lab)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    await lab.settle()
    await _all_still_refused(lab)


async def test_a_list_without_our_label_gets_it_back(lab: Lab) -> None:
    await _two_revoked(lab)
    labels = {names.MANAGED_BY_LABEL: None}
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"metadata": {"labels": labels}})
    await lab.settle()
    found = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    assert found["metadata"]["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY


async def test_a_recovered_revocation_cannot_be_restored(lab: Lab) -> None:
    """Why it was revoked is no longer known for sure: a new certificate costs less than a wrong one."""
    await _two_revoked(lab)
    await lab.stop()
    _deleted(lab)
    await lab.start()
    await lab.settle()
    _revoke(lab, "first", revoked=False)
    await lab.settle()
    assert lab.is_refused(lab.serial("first"))
    assert lab.condition(Kind.CERTIFICATE, "first", "Revoked")[:2] == ("True", "RestoreRefused")


async def test_a_restore_works_after_the_ledger_was_lost_while_running(lab: Lab) -> None:
    await _two_revoked(lab)
    _deleted(lab)
    await lab.settle(failures=True)
    _revoke(lab, "first", revoked=False)
    await lab.settle()
    assert not lab.is_refused(lab.serial("first"))


async def test_a_serial_number_spelled_otherwise_in_a_status_cannot_spoil_the_ledger(lab: Lab) -> None:
    """Whoever may write a status must not stop the namespace's revocations for ever."""
    await _two_revoked(lab)
    lab.cluster.make(certificate("third"))
    await lab.settle()
    forged = lab.serial("third").lower()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "third", {"status": {"serialNumber": forged}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "third")
    await lab.settle()
    await _all_still_refused(lab)


async def test_a_serial_number_that_was_never_given_out_is_not_recorded(lab: Lab) -> None:
    await _two_revoked(lab)
    lab.cluster.make(certificate("third"))
    await lab.settle()
    forged = "7F" + "00" * 14 + "FFFFFFFE"
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "third", {"status": {"serialNumber": forged}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "third")
    await lab.settle()
    assert forged not in lab.ledger()
    assert len(lab.revocation_script()) < 50_000


async def test_a_page_that_is_seen_before_we_are_told_that_it_was_written_is_not_read_again(lab: Lab) -> None:
    """Of a long ledger that takes seconds, and every revocation would wait for it."""
    await _two_revoked(lab)
    lab.cluster.make(certificate("third"))
    await lab.settle()
    reading = Fault("list", Kind.CONFIG_MAP, UnavailableError("read again"))
    lab.cluster.faults.append(reading)
    lab.process.client.latency = 0.05
    _revoke(lab, "third")
    await lab.settle()
    assert lab.state("third") == "Revoked"
    assert lab.cluster.faults == [reading]


async def test_a_page_that_somebody_else_changes_while_we_write_it_is_read_again(lab: Lab) -> None:
    """What was seen after our own write is not ours."""
    await _two_revoked(lab)
    lab.cluster.make(certificate("third"))
    await lab.settle()
    lab.process.client.latency = 0.05
    _revoke(lab, "third")
    await asyncio.sleep(0.08)
    _deleted(lab)
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(seconds=5)
    await _all_still_refused(lab)
    assert lab.serial("third") in lab.revoked_in_ledger()
