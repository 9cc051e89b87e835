"""G3 with two operators at once: one was paused or cut off, holds what was true then, and wakes up beside the other.

That happens although the chart runs one: a node that is cut off keeps its pod running while another node starts a new
one. What each of them writes is fenced by the version that it read; what it pushes has no more than the list had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.feature.harness import Lab, Process
from tests.feature.witness import Witness
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind

SYSTEM = names.OPERATOR_NAMESPACE
Change = Callable[[Lab], None]


def _edit(lab: Lab, name: str, **spec: object) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": spec})


def _phases(lab: Lab) -> list[str]:
    secrets = sorted(lab.authority_secrets(), key=lambda body: body["metadata"]["name"])
    return [secret["metadata"]["annotations"][names.PHASE_ANNOTATION] for secret in secrets]


def _rotate(lab: Lab, how: str = "2026-03-01") -> None:
    active = next(
        one
        for one in lab.authority_secrets()
        if one["metadata"]["annotations"][names.PHASE_ANNOTATION] == "Active"
    )
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, active["metadata"]["name"], patch)


class Gate(asyncio.Event):
    """Open, or nothing of a process reaches the cluster and it sees nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.set()


KINDS = (Kind.NAMESPACE, Kind.HOST, Kind.CERTIFICATE, Kind.RULE, Kind.POD, Kind.SECRET, Kind.CONFIG_MAP)


def _cut_off(process: Process, gate: Gate) -> None:
    gate.clear()
    process.feed.held |= set(KINDS)
    process.lists.held |= set(KINDS)
    process.given.held |= set(KINDS)


def _come_back(process: Process, gate: Gate, order: tuple[Kind, ...]) -> None:
    """Let writes through at once, and what was seen meanwhile in an order of kinds."""
    process.client.paused = None
    gate.set()
    for kind in order:
        process.feed.release(kind)
        process.lists.release(kind)
        process.given.release(kind)


@asynccontextmanager
async def _two(lab: Lab, order: tuple[Kind, ...] = KINDS) -> AsyncIterator[Process]:
    """Cut the operator off and start another one; the first comes back when the block ends, and is ended later."""
    stale, gate = lab.process, lab.process.client.paused
    assert isinstance(gate, Gate)
    _cut_off(stale, gate)
    await lab.start()
    await lab.settle()
    yield stale
    _come_back(stale, gate, order)
    await _both_run(lab, stale)


async def _both_run(lab: Lab, stale: Process) -> None:
    """Let both run for a while, and then the second one alone.

    Each writes what it knows of the proxies that are connected to it into the status of hosts: that has no end. All
    else must be agreed on.
    """
    await asyncio.sleep(2)
    lab.writes()
    await asyncio.sleep(1)
    fought_over = {write.name for write in lab.writes() if write.kind in (Kind.SECRET, Kind.CONFIG_MAP)}
    assert not fought_over
    await stale.stop()
    assert not [failure for failure in stale.metrics.failures if failure[1] == "bug"]
    lab.resync()
    await lab.settle(failures=True)


async def _running(lab: Lab, *, proxy: bool = False, **spec: object) -> Witness:
    witness = Witness(lab).watch()
    lab.cluster.make(host())
    lab.cluster.make(rule())
    for name in ("good", "bad"):
        lab.cluster.make(certificate(name, **spec))
    await lab.start(paused=Gate())
    if proxy:
        lab.run_pod(pod())
    await lab.settle()
    _edit(lab, "bad", revoked=True)
    await lab.pass_time(seconds=10)
    assert lab.is_refused(lab.serial("bad"))
    return witness


ORDERS = pytest.mark.parametrize(
    "order", [KINDS, tuple(reversed(KINDS))], ids=["namespaces first", "what we wrote first"]
)


def _issue(lab: Lab) -> None:
    for number in range(5):
        lab.cluster.make(certificate(f"new-{number}"))


def _renew(lab: Lab) -> None:
    _edit(lab, "good", dnsNames=["good.example.com"])


def _revoke(lab: Lab) -> None:
    _edit(lab, "good", revoked=True)


def _restore(lab: Lab) -> None:
    _edit(lab, "bad", revoked=False)


def _delete(lab: Lab) -> None:
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "good")


def _lose_the_secret(lab: Lab) -> None:
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "good")


CHANGES = pytest.mark.parametrize(
    "change",
    [
        _issue,
        _renew,
        _revoke,
        _restore,
        _delete,
        _lose_the_secret,
        _rotate,
        partial(_rotate, how=names.ROTATE_COMPROMISED),
    ],
    ids=["issue", "reissue", "revoke", "restore", "delete", "secret lost", "rotate", "compromised"],
)


@ORDERS
@CHANGES
async def test_what_the_other_one_did_stands_when_the_first_comes_back(
    lab: Lab, change: Change, order: tuple[Kind, ...]
) -> None:
    witness = await _running(lab)
    async with _two(lab, order):
        change(lab)
        await lab.pass_time(seconds=10)
        certificates = lab.client_secrets()
        revoked, phases = lab.revoked_in_ledger(), _phases(lab)
    witness.check()
    assert lab.client_secrets() == certificates
    assert lab.revoked_in_ledger() == revoked
    assert _phases(lab) == phases


@ORDERS
@CHANGES
async def test_both_do_the_same_at_once(lab: Lab, change: Change, order: tuple[Kind, ...]) -> None:
    """The first comes back in the middle of it."""
    witness = await _running(lab)
    async with _two(lab, order):
        change(lab)
        await asyncio.sleep(0.007)
    witness.check()
    assert {lab.state(name) for name in lab.client_secrets()} <= {"Active", "Revoked"}


async def test_proxies_of_the_second_one_refuse_what_was_revoked_when_the_first_comes_back(lab: Lab) -> None:
    witness = await _running(lab, proxy=True)
    async with _two(lab):
        _revoke(lab)
        await lab.settle()
        assert lab.state("good") == "Revoked"
    witness.check()
    assert lab.state("good") == "Revoked"


async def test_one_that_is_cut_off_pushes_no_list_without_what_the_other_revoked(lab: Lab) -> None:
    """Its proxies still hear it: time alone makes it publish anew, when a revoked certificate expires."""
    witness = await _running(lab, validity="1h")
    lab.cluster.make(certificate("late"))
    await lab.settle()
    async with _two(lab):
        _edit(lab, "late", revoked=True)
        await lab.settle()
        await lab.pass_time(minutes=70)
        witness.check()
    witness.check()
    assert lab.is_refused(lab.serial("late"))


async def test_one_that_comes_back_late_writes_no_list_without_what_the_other_revoked(lab: Lab) -> None:
    """A revoked certificate expires at the moment at which it can write again and has seen nothing yet."""
    witness = await _running(lab, validity="1h")
    lab.cluster.make(certificate("late"))
    await lab.settle()
    stale, gate = lab.process, lab.process.client.paused
    assert isinstance(gate, Gate)
    _cut_off(stale, gate)
    await lab.start()
    _edit(lab, "late", revoked=True)
    await lab.pass_time(minutes=58)
    stale.client.paused = None
    gate.set()
    await lab.pass_time_with_failures(minutes=5)
    witness.check()
    _come_back(stale, gate, KINDS)
    await _both_run(lab, stale)
    witness.check()
    assert lab.is_refused(lab.serial("late"))
