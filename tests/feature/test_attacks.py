"""A tenant with every right in its own namespace: it forges objects and takes finalizers off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.cluster import Kind, RejectedError
from mtls_operator.controller.aside import OneThread
from mtls_operator.plan import hostrules

_FINALIZER_OFF = {"metadata": {"finalizers": None}}


async def _issued(lab: Lab, **spec: Any) -> str:
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    await lab.settle()
    return lab.serial()


def _forged(kind: str, name: str, role: str, *, namespace: str = "evil") -> dict[str, Any]:
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.ROLE_LABEL: role,
        names.NAMESPACE_LABEL: NAMESPACE,
    }
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {}}


async def test_deleting_an_object_whose_finalizer_was_taken_off_revokes(lab: Lab) -> None:
    """G3: whoever may patch an object can do this."""
    serial = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
    assert serial in lab.revoked_in_ledger()
    assert lab.is_refused(serial)


async def test_taking_the_finalizer_off_while_the_object_is_being_deleted_revokes(lab: Lab) -> None:
    """G3."""
    serial = await _issued(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
    await lab.settle()
    assert lab.is_refused(serial)


async def test_an_object_made_again_at_once_does_not_save_its_forerunner(lab: Lab) -> None:
    """G3: the events of both may be seen together."""
    serial = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    await lab.pass_time(minutes=1)
    assert lab.is_refused(serial)
    assert lab.serial() != serial
    assert lab.state() == "Active"
    assert not lab.is_refused(lab.serial())


async def test_an_object_that_retains_is_known_although_its_finalizer_was_taken_off(lab: Lab) -> None:
    """G3: retained is not forgotten."""
    serial = await _issued(lab, deletionPolicy="Retain")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert serial in lab.ledger()
    assert not lab.is_refused(serial)


@pytest.mark.parametrize("milliseconds", range(0, 40, 2))
async def test_an_object_that_goes_while_it_is_issued_leaves_no_valid_certificate(
    lab: Lab, milliseconds: int
) -> None:
    """G3: at no moment between finalizer and status does an issued certificate escape."""
    issued: list[str] = []
    lab.cluster.make(host())
    await lab.start()
    await lab.settle()
    process = lab.process
    stop = lab.cluster.watch(
        {Kind.SECRET: f"{names.ROLE_LABEL}=certificate"},
        lambda _, event, body: issued.append(body["metadata"]["name"]) if event == "ADDED" else None,
    )
    lab.cluster.make(certificate("gateway"))
    await asyncio.sleep(milliseconds / 1000)
    if lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is not None:
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle(failures=True)
    stop()
    if lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None and issued:
        assert len(lab.revoked_in_ledger()) == 1
    assert process is lab.process


async def test_what_was_issued_is_kept_in_memory_only_until_a_status_names_it(lab: Lab) -> None:
    await _issued(lab)
    assert lab.process.tenant().unreported == {}


async def test_a_deletion_that_cannot_be_recorded_yet_is_recorded_later(lab: Lab) -> None:
    """G3: the object is gone, so nothing but memory asks for it."""
    serial = await _issued(lab)
    lab.cluster.faults.append(Fault("create", Kind.CONFIG_MAP, RejectedError("no", status=403)))
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", _FINALIZER_OFF)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(minutes=2)
    assert lab.is_refused(serial)


async def test_labels_that_name_another_namespace_use_up_none_of_its_indices(lab: Lab) -> None:
    """Each forged event used to throw away the reserved block: the list of the other namespace would grow."""
    lab.cluster.make_namespace("evil")
    await _issued(lab)
    reserved = lab.process.tenant().stored
    assert reserved is not None
    for number in range(5):
        lab.cluster.make(_forged("Secret", f"forged-{number}", "authority"))
        await lab.settle()
        lab.cluster.make(certificate(f"client-{number}"))
        await lab.settle()
    assert lab.process.tenant().stored == reserved


async def test_a_forged_authority_that_is_deleted_takes_nothing_from_another_namespace(lab: Lab) -> None:
    """Without its CA in memory any serial number in a status would have counted."""
    lab.cluster.make_namespace("evil")
    await _issued(lab)
    lab.cluster.make(_forged("Secret", "forged", "authority"))
    await lab.settle()
    lab.cluster.remove(Kind.SECRET, "evil", "forged")
    assert lab.process.tenant().stored is not None
    await lab.settle()
    assert lab.process.tenant().stored is not None
    assert lab.state() == "Active"


async def test_a_forged_page_of_the_ledger_is_no_reason_to_read_the_real_one_again(lab: Lab) -> None:
    lab.cluster.make_namespace("evil")
    await _issued(lab)
    lab.cluster.make(_forged("ConfigMap", names.ledger_page(NAMESPACE, 1), "ledger"))
    await lab.settle()
    assert not lab.process.tenant().pages_stale


@pytest.mark.parametrize("name", [names.PROXY_SECRET, names.CLIENT_CA_CONFIGMAP, names.REVOCATION_CONFIGMAP])
async def test_an_object_of_ours_made_immutable_is_replaced_and_holds_no_revocation_back(
    lab: Lab, name: str
) -> None:
    serial = await _issued(lab)
    proxy = lab.run_pod(pod())
    await lab.settle()
    kind = Kind.SECRET if name == names.PROXY_SECRET else Kind.CONFIG_MAP
    lab.cluster.faults.append(Fault("apply", kind, RejectedError("immutable", status=422), name=name))
    lab.cluster.edit(kind, NAMESPACE, name, {"data": None, "immutable": True})
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.state() == "Revoked"
    assert proxy.runs
    body = lab.cluster.read(kind, NAMESPACE, name)
    assert body["data"]
    assert "immutable" not in body


async def test_what_is_refused_for_another_reason_is_not_deleted(lab: Lab) -> None:
    """G2: the last good configuration stays."""
    await _issued(lab)
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))
    lab.cluster.faults.append(Fault("apply", Kind.CONFIG_MAP, RejectedError("too long", status=422)))
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["new.example.com"]}})
    await lab.pass_time_with_failures(milliseconds=100)
    deleted = [write for write in lab.writes() if write.method == "delete"]
    assert deleted == []
    after = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_many_rules_are_compiled_once_each_and_beside_the_event_loop(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop carries the revocations of other namespaces."""
    compiled: list[tuple[str, bool]] = []
    aside = False

    async def in_a_thread(_: OneThread, work: Callable[[], Any]) -> Any:
        nonlocal aside
        await asyncio.sleep(0)
        aside = True
        try:
            return work()
        finally:
            aside = False

    def parse(text: str, **options: Any) -> Any:
        compiled.append((text, aside))
        return original(text, **options)

    original = hostrules.parse
    hostrules._compile.cache_clear()
    monkeypatch.setattr(hostrules, "parse", parse)
    monkeypatch.setattr(OneThread, "__call__", in_a_thread)
    lab.cluster.make(host())
    for number in range(20):
        lab.cluster.make(rule(f"good-{number}", expression=f'http.request.uri.path eq "/{number}"'))
        lab.cluster.make(rule(f"broken-{number}", expression=f'http.request.uri.path eq "/{number}" und'))
    await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"workload": {"port": 8081}}})
    await lab.settle()
    assert len(compiled) == len({text for text, _ in compiled}) == 40
    assert all(beside for _, beside in compiled)


async def test_the_last_of_quick_changes_of_mind_wins(lab: Lab) -> None:
    serial = await _issued(lab)
    for revoked in (True, False, True, False, True):
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": revoked}})
    await lab.settle()
    assert lab.is_refused(serial)
    for revoked in (False, True, False):
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": revoked}})
        await lab.settle()
    await lab.restart()
    await lab.settle()
    assert not lab.is_refused(serial)
    assert lab.state() == "Active"


@pytest.mark.parametrize("namespace", ["a", "a-1", "a-1-1", "1", "ca-a-1", "n" * 61 + "-1"])
def test_no_two_namespaces_share_an_object_of_the_operator(namespace: str) -> None:
    others = ["a", "a-1", "a-1-1", "1", "ca-a-1", "n" * 61 + "-1", "n" * 61, "internal", "serving"]
    mine = _names_of(namespace)
    for other in others:
        if other != namespace:
            assert not mine & _names_of(other), other
    assert names.INTERNAL_CA_SECRET not in mine
    assert names.WEBHOOK_SECRET not in mine


def _names_of(namespace: str) -> set[str]:
    numbers = [1, 2, 11, 10**9]
    return (
        {names.authority_secret(namespace, number) for number in numbers}
        | {names.ledger_page(namespace, number) for number in numbers}
        | {names.serving_ca_secret(namespace)}
    )


@pytest.mark.parametrize("latency", [0.001, 0.005, 0.02, 0.1])
async def test_acknowledgements_that_are_quicker_than_the_api_server_are_not_missed(
    lab: Lab, latency: float
) -> None:
    """G4: a change whose status is still being written when the last proxy answers must not stay pending."""
    serial = await _issued(lab)
    lab.run_pod(pod("api-1"))
    lab.run_pod(pod("api-2"))
    await lab.settle()
    lab.process.client.latency = latency
    lab.delays[Kind.CERTIFICATE] = 3 * latency  # the answer to our own write comes first
    for _ in range(3):
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
        await lab.settle()
        assert lab.state() == "Revoked"
        assert lab.is_refused(serial)
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
        await lab.settle()
        assert lab.state() == "Active"


@pytest.mark.parametrize("latency", [0.001, 0.005, 0.02])
async def test_a_watch_that_is_quicker_than_the_answer_uses_up_no_indices(lab: Lab, latency: float) -> None:
    """Our own reservation, seen before its answer, is nobody else's: each time a block would be lost."""
    lab.delays[Kind.SECRET] = 0.0
    await _issued(lab)
    lab.process.client.latency = latency
    for number in range(4):
        lab.cluster.make(certificate(f"client-{number}"))
        await lab.settle()
    stored = lab.process.tenant().stored
    assert stored is not None
    assert stored.next_index <= 1024  # one block
