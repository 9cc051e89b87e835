"""What one namespace revokes is refused by the proxies of all that trust its CA, and said only when it is (G3, G4)."""

from __future__ import annotations

import pytest
from tests.feature.granted import (
    PARTNERS,
    TRUSTING,
    agent,
    ca_pem,
    prepare,
    revoke,
    trusting,
    verdict,
    withdraw,
)
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, grant, host, pod
from tests.support.fake_cluster import Crash, Fault

from mtls_operator.api import names
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.envoy import epoch_of

WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
_MOST_WRITES = 60


def _restore(lab: Lab) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, PARTNERS, "agent", {"spec": {"revoked": False}})


async def test_a_revocation_is_pushed_and_written_in_the_namespace_that_trusts(lab: Lab) -> None:
    await trusting(lab)
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_it_is_pushed_within_a_tenth_of_a_second(lab: Lab) -> None:
    await trusting(lab)
    revoke(lab)
    await lab.pass_time(seconds=0.1)
    assert verdict(lab, agent(lab)) == "revoked"


async def test_a_restore_is_too(lab: Lab) -> None:
    proxy = await trusting(lab)
    revoke(lab)
    await lab.settle()
    proxy.obedient = False
    _restore(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "accepted"
    assert lab.state("agent", PARTNERS) == "PendingReactivation"
    lab.ack(proxy)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Active"


async def test_revoked_is_said_when_the_proxies_of_every_namespace_that_trusts_have_acknowledged(
    lab: Lab,
) -> None:
    """G4."""
    first = await trusting(lab)
    lab.cluster.make_namespace("web")
    lab.cluster.make(grant("web", name="web"))
    lab.cluster.make(host(namespace="web", clientCAs=TRUSTING))
    second = lab.run_pod(pod("web-1", namespace="web", address="10.0.0.7"))
    await lab.pass_time(seconds=10)
    first.obedient = second.obedient = False
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab), namespace="web") == "revoked"
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    message = lab.condition(Kind.CERTIFICATE, "agent", "Deployed", PARTNERS)[2]
    assert "namespace shop, namespace web" in message
    assert "api-1" not in message
    lab.ack(first)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    lab.ack(second)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_revoked_waits_for_its_own_proxies_as_before(lab: Lab) -> None:
    await trusting(lab)
    lab.cluster.make(host(namespace=PARTNERS))
    own = lab.run_pod(pod("own-1", namespace=PARTNERS, address="10.0.0.8"))
    await lab.pass_time(seconds=10)
    own.obedient = False
    revoke(lab)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    lab.ack(own)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_a_proxy_that_has_the_list_no_more_is_waited_for_until_it_says_so(lab: Lab) -> None:
    """The grant is gone, and the proxy still runs what it had: it would let the certificate in."""
    proxy = await trusting(lab)
    proxy.obedient = False
    withdraw(lab)
    await lab.settle()
    revoke(lab)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    lab.ack(proxy)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_the_same_after_a_restart(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.obedient = False
    await lab.stop()
    withdraw(lab)
    revoke(lab)
    await lab.start()
    await lab.pass_time(seconds=1)
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    lab.ack(proxy)
    await lab.pass_time(seconds=15)
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_a_namespace_that_nobody_let_in_holds_nothing_up(lab: Lab) -> None:
    """Whoever names the CA of another one could keep its certificates pending for ever."""
    proxy = await trusting(lab, granted=False)
    proxy.obedient = False
    revoke(lab)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_a_namespace_that_trusts_and_is_deleted_holds_nothing_up(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.obedient = False
    revoke(lab)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_pods_of_a_namespace_that_ends_count_until_they_are_gone(lab: Lab) -> None:
    """G4: nothing is published there any more, so that they accept what is revoked now."""
    await trusting(lab)
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": ["test/hold"]}})
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle()
    revoke(lab)
    await lab.settle()
    await lab.pass_time(seconds=5)
    assert lab.state("agent", PARTNERS) == "PendingRevocation"
    assert f"namespace {NAMESPACE}" in lab.condition(Kind.CERTIFICATE, "agent", "Revoked", PARTNERS)[2]
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": None}})
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_a_host_that_trusts_and_is_deleted_holds_nothing_up(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.obedient = False
    revoke(lab)
    await lab.settle()
    lab.cluster.remove(Kind.POD, NAMESPACE, "api-1")
    lab.cluster.remove(Kind.HOST, NAMESPACE, "api")
    await lab.settle()
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_deleting_the_object_revokes_there_too(lab: Lab) -> None:
    await trusting(lab)
    serial = agent(lab)
    lab.cluster.remove(Kind.CERTIFICATE, PARTNERS, "agent")
    await lab.settle()
    assert verdict(lab, serial) == "revoked"


async def test_a_revocation_is_in_force_there_while_their_own_ca_is_missing(lab: Lab) -> None:
    """G2: the mishap of one namespace holds up no revocation of another one."""
    await trusting(lab)
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))
    await lab.settle()
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    assert lab.state("agent", PARTNERS) == "Revoked"


async def test_what_ends_by_the_clock_leaves_the_list_there(lab: Lab) -> None:
    prepare(lab)
    lab.cluster.make(certificate("short", namespace=PARTNERS, validity="48h", renewal={"policy": "Never"}))
    await lab.start()
    await lab.settle()
    revoke(lab, "short")
    await lab.settle()
    serial = lab.serial("short", PARTNERS)
    assert verdict(lab, serial) == "revoked"
    await lab.pass_time(days=3)
    assert verdict(lab, serial) == "accepted"  # the proxy itself refuses what has expired


async def test_revocations_of_both_namespaces_are_apart(lab: Lab) -> None:
    """The indices are the same ones: only the CA tells them apart."""
    await trusting(lab)
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    assert lab.serial("gateway")[-8:] == agent(lab)[-8:]
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    own = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    assert verdict(lab, lab.serial("gateway"), ca=own) == "revoked"
    assert verdict(lab, agent(lab)) == "accepted"
    revoke(lab)
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"


async def test_a_burst_of_revocations_becomes_few_writes_there(lab: Lab) -> None:
    prepare(lab)
    for number in range(40):
        lab.cluster.make(certificate(f"c{number}", namespace=PARTNERS))
    await lab.start()
    await lab.pass_time(seconds=10)
    lab.writes()
    for number in range(40):
        revoke(lab, f"c{number}")
    await lab.settle(failures=True)
    assert all(verdict(lab, lab.serial(f"c{number}", PARTNERS)) == "revoked" for number in range(40))
    shared = [w for w in lab.writes() if w.kind is Kind.CONFIG_MAP and w.namespace == NAMESPACE]
    assert len(shared) <= 8


# Epochs, files and backups


async def test_an_older_file_put_back_there_is_outbid(lab: Lab) -> None:
    """A restored backup of the namespace that trusts takes nothing back that the other one revoked."""
    await trusting(lab)
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    revoke(lab)
    await lab.settle()
    newest = epoch_of(lab.revocation_script())
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"data": before["data"]})
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"data": before["data"]})
    await lab.start()
    await lab.pass_time(seconds=15)
    assert verdict(lab, agent(lab)) == "revoked"
    assert (epoch_of(lab.revocation_script()) or 0) >= (newest or 0)


async def test_a_file_of_ours_with_a_higher_epoch_and_without_their_revocation_is_outbid(lab: Lab) -> None:
    """A tenant's edit would un-revoke for its own pods; it is put right with an epoch above."""
    await trusting(lab)
    text = lab.revocation_script()
    revoke(lab)
    await lab.settle()
    epoch = epoch_of(lab.revocation_script()) or 0
    forged = text.replace(str(epoch_of(text)), str(epoch + 60_000))
    lab.cluster.edit(
        Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"data": {names.REVOCATION_KEY: forged}}
    )
    await lab.settle()
    assert verdict(lab, agent(lab)) == "revoked"
    assert (epoch_of(lab.revocation_script()) or 0) > epoch + 60_000


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
async def test_a_ledger_that_was_set_back_takes_nothing_back_there(lab: Lab, *, running: bool) -> None:
    """G3: what the signed list or memory knows counts in every namespace that trusts."""
    await trusting(lab)
    revoke(lab)
    await lab.settle()
    if not running:
        await lab.stop()
    for page in lab.ledger_pages(PARTNERS):
        lab.cluster.remove(Kind.CONFIG_MAP, names.OPERATOR_NAMESPACE, page["metadata"]["name"])
    lab.cluster.edit(Kind.CERTIFICATE, PARTNERS, "agent", {"spec": {"revoked": True}})
    if not running:
        await lab.start()
    await lab.pass_time(seconds=15)
    assert verdict(lab, agent(lab)) == "revoked"
    assert agent(lab) in lab.revoked_in_ledger(PARTNERS)


async def test_a_list_that_could_not_be_written_there_is_pushed_all_the_same(lab: Lab) -> None:
    """G1."""
    proxy = await trusting(lab)
    lab.cluster.faults += [
        Fault("apply", Kind.CONFIG_MAP, UnavailableError("down"), name=names.REVOCATION_CONFIGMAP)
        for _ in range(2)
    ]
    revoke(lab)
    await lab.settle(failures=True)
    assert verdict(lab, agent(lab)) == "revoked"
    assert proxy.runs[names.REVOCATION_FILTER]


# A process that dies at any write


async def _at_every_write(lab: Lab, act: str, *, after: bool) -> None:
    for at in range(1, _MOST_WRITES):
        await lab.start()
        await lab.settle()
        for namespace in (NAMESPACE, PARTNERS):
            if lab.cluster.find(Kind.NAMESPACE, "", namespace) is not None:
                lab.cluster.remove_namespace(namespace)
        await lab.settle()
        lab.proxies.clear()
        lab.cluster.make_namespace(NAMESPACE)
        lab.cluster.make_namespace(PARTNERS)
        prepare(lab, granted=act != "grant")
        lab.run_pod(pod())
        await lab.pass_time(seconds=10)
        generation = len(lab.authority_secrets(PARTNERS))
        client = lab.process.client
        client.count, client.crash_at, client.crash_after = 0, at, after
        if act == "grant":
            lab.cluster.make(grant(NAMESPACE))
        elif act == "withdraw":
            withdraw(lab)
        else:
            revoke(lab)
        try:
            await lab.settle()
            finished = True
        except Crash:
            finished = False
            await lab.stop()
            await lab.start()
            await lab.pass_time(seconds=15)
        expected = {"grant": "accepted", "withdraw": "not trusted", "revoke": "revoked"}[act]
        ca = ca_pem(lab, max(_generations(lab), default=generation))
        assert verdict(lab, agent(lab), ca=ca) == expected, at
        if act == "revoke":
            assert lab.state("agent", PARTNERS) == "Revoked"
        await lab.stop()
        if finished:
            return
    raise AssertionError("the operator never comes to an end")


def _generations(lab: Lab) -> list[int]:
    return [int(body["metadata"]["name"].rpartition("-")[2]) for body in lab.authority_secrets(PARTNERS)]


@WHEN
@pytest.mark.parametrize("act", ["grant", "withdraw", "revoke"])
async def test_a_kill_at_any_write_loses_neither_grant_nor_withdrawal_nor_revocation(
    lab: Lab, act: str, *, after: bool
) -> None:
    """G3."""
    await _at_every_write(lab, act, after=after)
