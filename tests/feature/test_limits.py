"""A tenant that uses up serial numbers as fast as it can: issuing slows down and ends, revoking never does."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller.limits import observe_limits
from mtls_operator.controller.settings import Settings
from mtls_operator.plan import capacity
from mtls_operator.plan.allowance import REPLACEMENTS
from mtls_operator.plan.authority import NEXT_INDEX_KEY
from mtls_operator.plan.capacity import INDICES, SPENT


async def _issued(lab: Lab, *wanted: str, **spec: Any) -> None:
    for name in wanted:
        lab.cluster.make(certificate(name, **spec))
    await lab.settle()


def _annotate(lab: Lab, kind: Kind, namespace: str, name: str, **annotations: str) -> None:
    marks = {f"{names.GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    lab.cluster.edit(kind, namespace, name, {"metadata": {"annotations": marks}})


def _issued_condition(lab: Lab, name: str) -> tuple[str, str]:
    return lab.condition(Kind.CERTIFICATE, name, "Issued")[:2]


async def _given_out(lab: Lab, indices: int) -> None:
    """Let the CA of the namespace have given out so many indices."""
    await _issued(lab, "gateway", "other")
    await lab.stop()
    data = {"data": {NEXT_INDEX_KEY: b64encode(str(indices).encode()).decode()}}
    lab.cluster.edit(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1), data)
    await lab.start()
    await lab.settle()


def _revoke(lab: Lab, name: str = "gateway") -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True}})


def _generation(lab: Lab, number: int) -> dict[str, Any]:
    name = names.authority_secret(NAMESPACE, number)
    metadata: dict[str, Any] = lab.cluster.read(Kind.SECRET, names.OPERATOR_NAMESPACE, name)["metadata"]
    return metadata


async def test_a_namespace_that_has_used_up_its_day_gets_nothing_more_and_says_until_when(lab: Lab) -> None:
    lab.settings = Settings(max_issued_per_day=1024)
    await lab.start()
    await _issued(lab, "first")
    await lab.restart()  # the rest of the block is gone
    await _issued(lab, "second")
    assert lab.state("first") == "Active"
    status, reason, message = lab.condition(Kind.CERTIFICATE, "second", "Issued")
    assert (status, reason) == ("False", "RateLimited")
    assert "2026-03-02T12:00:0" in message
    assert ("Warning", "RateLimited", message) in lab.events()
    assert lab.process.authorities.refused["RateLimited"] > 0


async def test_it_is_issued_by_itself_when_the_time_has_come(lab: Lab) -> None:
    lab.settings = Settings(max_issued_per_day=1024)
    await lab.start()
    await _issued(lab, "first")
    await lab.restart()
    await _issued(lab, "second")
    await lab.pass_time(hours=24, minutes=1)
    assert lab.state("second") == "Active"


async def test_what_was_spent_is_not_forgotten_by_a_restart(lab: Lab) -> None:
    """Else whoever makes the operator crash would have no limit."""
    lab.settings = Settings(max_issued_per_day=3 * 1024)
    await lab.start()
    for number in range(5):
        await _issued(lab, f"client-{number}")
        await lab.restart()
    assert [lab.state(f"client-{number}") for number in range(5)] == ["Active"] * 3 + ["Failed"] * 2


async def test_revoking_waits_for_no_allowance(lab: Lab) -> None:
    lab.settings = Settings(max_issued_per_day=1024)
    await lab.start()
    await _issued(lab, "gateway")
    await lab.restart()
    await _issued(lab, "second")
    _revoke(lab)
    await lab.settle()
    assert lab.is_refused(lab.serial())


async def test_a_refused_object_writes_nothing_while_it_waits(lab: Lab) -> None:
    """G6: the time that it names does not move."""
    lab.settings = Settings(max_issued_per_day=1024)
    await lab.start()
    await _issued(lab, "first")
    await lab.restart()
    await _issued(lab, "second")
    lab.writes()
    await lab.pass_time(hours=2)
    assert lab.writes() == []


async def test_wishes_for_renewals_without_end_use_up_no_more_than_some_an_hour(lab: Lab) -> None:
    await lab.start()
    await _issued(lab, "gateway")
    seen = set()
    for number in range(REPLACEMENTS + 15):
        _annotate(lab, Kind.CERTIFICATE, NAMESPACE, "gateway", renew=f"2026-03-01T11:00:{number:02}Z")
        await lab.settle()
        seen.add(lab.serial())
    assert len(seen) <= REPLACEMENTS + 1
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason) == ("True", "RenewalFailed")
    assert "within an hour" in message
    before = lab.serial()
    await lab.pass_time(hours=1, minutes=2)
    assert lab.serial() != before


async def test_changing_the_spec_back_and_forth_is_no_way_around(lab: Lab) -> None:
    await lab.start()
    await _issued(lab, "gateway", renewal={"revokeOldAfter": "0s"})
    seen = set()
    for number in range(REPLACEMENTS + 15):
        spec = {"spec": {"subject": {"commonName": f"gateway-{number % 2}"}}}
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", spec)
        await lab.settle()
        seen.add(lab.serial())
    assert len(seen) <= REPLACEMENTS + 1


async def test_deleting_the_secret_over_and_over_is_no_way_around(lab: Lab) -> None:
    await lab.start()
    await _issued(lab, "gateway")
    seen = set()
    for _ in range(REPLACEMENTS + 10):
        if lab.cluster.find(Kind.SECRET, NAMESPACE, "gateway") is not None:
            seen.add(lab.serial())
            lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
        await lab.settle()
    assert len(seen) <= REPLACEMENTS + 1
    assert _issued_condition(lab, "gateway") == ("False", "RateLimited")
    _revoke(lab)
    await lab.settle()
    assert all(lab.is_refused(serial) for serial in seen)


async def test_at_the_end_of_the_list_nothing_is_issued_and_everything_can_be_revoked(lab: Lab) -> None:
    lab.cluster.make(host())
    await lab.start()
    await _given_out(lab, INDICES)
    await _issued(lab, "late")
    status, reason, message = lab.condition(Kind.CERTIFICATE, "late", "Issued")
    assert (status, reason) == ("False", "CapacityReached")
    assert "kubectl mtls ca rotate" in message
    assert ("Warning", "CapacityReached", message) in lab.events()
    _revoke(lab)
    await lab.settle()
    assert lab.is_refused(lab.serial())
    await lab.pass_time(minutes=6)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("True", "ListNearlyFull")


async def test_a_ca_that_is_dropped_makes_room_again(lab: Lab) -> None:
    """The way out, without a new namespace."""
    await lab.start()
    await _given_out(lab, INDICES)
    assert len(lab.authority_secrets()) == 2, "a successor is prepared by itself"
    _annotate(
        lab, Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1), rotate="compromised"
    )
    await lab.settle()
    await _issued(lab, "late")
    await lab.pass_time(minutes=2)
    assert lab.state("late") == "Active"
    _revoke(lab, "late")
    await lab.settle()
    assert lab.is_refused(lab.serial("late"))
    assert len(lab.revocation_script()) < 20_000


async def test_a_ca_that_has_given_out_much_is_replaced_by_itself(lab: Lab) -> None:
    await lab.start()
    await _given_out(lab, SPENT - 1024)
    await _issued(lab, "last")
    await lab.pass_time(minutes=1)
    assert _generation(lab, 2)["annotations"][names.PHASE_ANNOTATION] == "Active"
    assert _generation(lab, 1)["annotations"][names.PHASE_ANNOTATION] == "Retiring"


async def test_each_generation_begins_with_a_whole_allowance(lab: Lab) -> None:
    """A rotation issues everything anew within an hour."""
    lab.settings = Settings(max_issued_per_day=1024)
    await lab.start()
    await _issued(lab, "first")
    _annotate(lab, Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1), rotate="2026")
    await lab.pass_time(hours=1, minutes=2)
    await _issued(lab, "second")
    assert lab.state("first") == "Active"
    assert lab.state("second") == "Active"


async def test_a_full_ledger_ends_issuing_and_not_revoking(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be read whole after a restart."""
    monkeypatch.setattr(capacity, "RECORDS", 8)
    await lab.start()
    for number in range(10):
        await _issued(lab, f"client-{number}")
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, f"client-{number}")
        await lab.settle()
    assert len(lab.ledger()) == 7
    await _issued(lab, "gateway")
    assert _issued_condition(lab, "gateway") == ("False", "CapacityReached")


async def test_what_ends_makes_room_in_the_ledger(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "RECORDS", 3)
    await lab.start()
    for number in range(2):
        await _issued(lab, f"client-{number}", validity="2h")
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, f"client-{number}")
        await lab.settle()
    await _issued(lab, "gateway")
    assert _issued_condition(lab, "gateway") == ("False", "CapacityReached")
    await lab.pass_time(hours=2, minutes=2)
    assert lab.state() == "Active"


async def test_what_is_measured_names_no_namespace(lab: Lab) -> None:
    await lab.start()
    await _given_out(lab, INDICES // 2)
    observe_limits(lab.process.metrics, lab.process.context.world, lab.process.authorities)
    text = lab.process.metrics.text().decode()
    assert "mtls_operator_capacity_used_ratio 0.5" in text
    assert 'mtls_operator_issuing_limited{reason="RateLimited"} 0.0' in text
    assert NAMESPACE not in text


async def test_a_ca_that_is_dropped_makes_room_in_the_ledger_too(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "RECORDS", 3)
    await lab.start()
    for number in range(2):
        await _issued(lab, f"client-{number}", validity="3650d")
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, f"client-{number}")
        await lab.settle()
    await _issued(lab, "gateway")
    assert _issued_condition(lab, "gateway") == ("False", "CapacityReached")
    ca = names.authority_secret(NAMESPACE, 1)
    _annotate(lab, Kind.SECRET, names.OPERATOR_NAMESPACE, ca, rotate="compromised")
    await lab.pass_time(minutes=3)
    assert lab.state() == "Active"
    await lab.pass_time(days=32)
    assert lab.ledger() == {}, "what it signed counts no more, a month later it is forgotten"
