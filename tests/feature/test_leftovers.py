"""The end of a namespace: it does not hang, and its keys and records go, once it is certain that it is gone."""

from __future__ import annotations

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.cluster import Kind, UnavailableError

SYSTEM = names.OPERATOR_NAMESPACE
OTHER = "other"


def _left(lab: Lab, namespace: str = NAMESPACE) -> set[str]:
    labels = f"{names.NAMESPACE_LABEL}={namespace}"
    kinds = (Kind.SECRET, Kind.CONFIG_MAP)
    return {body["metadata"]["name"] for kind in kinds for body in lab.cluster.all(kind, SYSTEM, labels)}


ALL = {"ca-shop-1", "serving-ca-shop", "ledger-shop-1"}


async def _in_use(lab: Lab) -> None:
    lab.cluster.make_namespace(OTHER)
    for namespace in (NAMESPACE, OTHER):
        lab.cluster.make(host(namespace=namespace))
        lab.cluster.make(certificate("first", namespace=namespace))
        lab.cluster.make(certificate("second", namespace=namespace))
    await lab.start()
    await lab.settle()
    for namespace in (NAMESPACE, OTHER):
        lab.cluster.edit(Kind.CERTIFICATE, namespace, "first", {"spec": {"revoked": True}})
    await lab.settle()
    assert _left(lab) == ALL


def _ended(lab: Lab) -> bool:
    return lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None


async def test_a_namespace_with_certificates_ends_and_takes_its_keys_and_records_with_it(lab: Lab) -> None:
    await _in_use(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    assert _ended(lab)
    assert _left(lab) == ALL
    await lab.pass_time(minutes=50)
    assert _left(lab) == ALL
    await lab.pass_time(minutes=30)
    assert _left(lab) == set()


async def test_what_other_namespaces_need_stays(lab: Lab) -> None:
    await _in_use(lab)
    revoked = lab.serial("first", OTHER)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    await lab.pass_time(hours=30)
    assert _left(lab, OTHER) == {"ca-other-1", "serving-ca-other", "ledger-other-1"}
    assert lab.is_refused(revoked, OTHER)
    assert lab.state("second", OTHER) == "Active"
    assert lab.cluster.find(Kind.SECRET, SYSTEM, names.INTERNAL_CA_SECRET) is not None


async def test_a_namespace_that_ended_while_nobody_looked_is_noticed_at_the_start(lab: Lab) -> None:
    await _in_use(lab)
    for name in ("first", "second"):
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"metadata": {"finalizers": None}})
    await lab.stop()
    lab.cluster.remove_namespace(NAMESPACE)
    assert _ended(lab)
    await lab.start()
    await lab.settle()
    await lab.pass_time(minutes=80)
    assert _left(lab) == set()


async def test_a_restart_begins_the_wait_anew(lab: Lab) -> None:
    """Nothing is removed on what a process before has seen."""
    await _in_use(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    await lab.pass_time(minutes=50)
    await lab.restart()
    await lab.settle()
    await lab.pass_time(minutes=50)
    assert _left(lab) == ALL


async def test_a_clock_that_jumps_does_not_shorten_the_wait(lab: Lab) -> None:
    await _in_use(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    lab.skew += 300 * (lab.now() - lab.now().replace(hour=0))
    await lab.pass_time(minutes=30)
    assert _left(lab) == ALL


async def test_a_namespace_that_is_only_not_seen_loses_nothing(lab: Lab) -> None:
    """A stale or incomplete view: the API server itself is asked before a key goes."""
    await _in_use(lab)
    body = lab.cluster.read(Kind.NAMESPACE, "", NAMESPACE)
    body["metadata"]["resourceVersion"] = str(10**9)
    lab.process.deliver(Kind.NAMESPACE, "DELETED", body)
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(hours=3)
    assert _left(lab) == ALL
    assert any(line["event"] == "leftovers.kept" for line in lab.log_lines)


async def test_an_api_server_that_does_not_answer_is_no_confirmation(lab: Lab) -> None:
    await _in_use(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    lab.cluster.faults += [Fault("get", Kind.NAMESPACE, UnavailableError("down")) for _ in range(10**4)]
    await lab.pass_time_with_failures(hours=3)
    assert _left(lab) == ALL
    lab.cluster.faults.clear()
    await lab.pass_time_with_failures(minutes=30)
    assert _left(lab) == set()


async def test_a_namespace_that_is_made_again_loses_only_what_its_former_life_left(lab: Lab) -> None:
    await _in_use(lab)
    before = lab.serial("first")
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    lab.cluster.make_namespace(NAMESPACE)
    lab.cluster.make(host())
    lab.cluster.make(certificate("first"))
    await lab.settle(failures=True)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "first", {"spec": {"revoked": True}})
    await lab.settle()
    await lab.pass_time(hours=20)
    assert {"ca-shop-1", "ca-shop-2"} <= _left(lab)
    await lab.pass_time(hours=6)
    assert _left(lab) == {"ca-shop-2", "serving-ca-shop", "ledger-shop-2"}
    assert lab.is_refused(lab.serial("first"))
    assert lab.serial("first") != before
    lab.cluster.make(certificate("later"))
    await lab.settle()
    assert lab.state("later") == "Active"


async def test_a_key_that_an_administrator_gave_to_another_life_meanwhile_is_kept(lab: Lab) -> None:
    """A restore under a new UID: the label was mended, and the operator has not seen it yet."""
    await _in_use(lab)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    lab.process.feed.held.add(Kind.SECRET)
    lab.cluster.edit(
        Kind.SECRET, SYSTEM, "ca-shop-1", {"metadata": {"labels": {names.NAMESPACE_UID_LABEL: "uid-new"}}}
    )
    await lab.pass_time(minutes=80)
    assert _left(lab) == {"ca-shop-1"}


@pytest.mark.parametrize("label", [names.NAMESPACE_UID_LABEL, names.NAMESPACE_LABEL, names.ROLE_LABEL])
async def test_what_does_not_say_whose_it_is_is_left_alone(lab: Lab, label: str) -> None:
    await _in_use(lab)
    lab.cluster.edit(Kind.SECRET, SYSTEM, "serving-ca-shop", {"metadata": {"labels": {label: None}}})
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    await lab.pass_time(hours=30)
    assert lab.cluster.find(Kind.SECRET, SYSTEM, "serving-ca-shop") is not None
    assert lab.cluster.find(Kind.SECRET, SYSTEM, "ca-shop-1") is None
