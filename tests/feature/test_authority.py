"""The CA of a namespace: made once, never replaced, never used twice (G3); lost and found again."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.certs import authority, leaf

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.controller import keys
from mtls_operator.pki import is_issued_by, load_authority, read_certificate
from mtls_operator.plan.authority import NEXT_INDEX_KEY

SYSTEM = names.OPERATOR_NAMESPACE
CA = "ca-shop-1"


async def _issued(lab: Lab, count: int = 1) -> None:
    lab.cluster.make(host())
    for number in range(count):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.start()
    await lab.settle()


async def _nothing_is_issued(lab: Lab) -> None:
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(minutes=2)
    assert lab.cluster.find(Kind.SECRET, NAMESPACE, "late") is None
    assert lab.authority_secrets() == []
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "CAMissing")
    assert CA in lab.condition(Kind.CERTIFICATE, "late", "Issued")[2]


async def test_a_missing_ca_is_never_replaced_while_running(lab: Lab) -> None:
    await _issued(lab)
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.settle(failures=True)
    await _nothing_is_issued(lab)


async def test_a_missing_ca_is_never_replaced_after_a_restart(lab: Lab) -> None:
    """The bundle that tenants hold shows that there was one."""
    await _issued(lab)
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.start()
    await _nothing_is_issued(lab)


async def test_a_status_alone_shows_that_there_was_a_ca(lab: Lab) -> None:
    await _issued(lab)
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    await lab.start()
    await _nothing_is_issued(lab)


async def test_a_ledger_alone_shows_that_there_was_a_ca(lab: Lab) -> None:
    await _issued(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "c0")
    await lab.settle()
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    await lab.start()
    await _nothing_is_issued(lab)


async def test_a_missing_ca_does_not_keep_the_operator_busy(lab: Lab) -> None:
    """G6: certificates and their CA must not wake each other for ever."""
    await _issued(lab, 5)
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.start()
    await lab.settle()
    runs = []
    add = lab.process.context.queue.add
    lab.process.context.queue.add = lambda key, *, delay=0.0: (runs.append(key), add(key, delay=delay))[1]  # type: ignore[method-assign]  # counts
    await lab.pass_time(minutes=5)
    assert len(runs) < 150


async def test_a_ca_that_comes_back_works_again(lab: Lab) -> None:
    await _issued(lab)
    backup = lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.settle(failures=True)
    await _nothing_is_issued(lab)
    lab.cluster.overwrite(backup)
    await lab.pass_time_with_failures(seconds=1)
    assert lab.state("late") == "Active"
    assert is_issued_by(_authority(lab), _pem(lab, "late"))
    assert lab.serial("late")[-8:] != lab.serial("c0")[-8:]


def _lists(lab: Lab) -> dict[str, str]:
    return lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_revocations_do_not_wait_for_a_ca_that_is_missing(lab: Lab, *, restarted: bool) -> None:
    """G1: they are recorded, published and confirmed; the signed list stays, for it is evidence."""
    await _issued(lab, 4)
    lab.run_pod(pod())
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c3", {"spec": {"revoked": True}})
    await lab.settle()
    backup, before = lab.cluster.read(Kind.SECRET, SYSTEM, CA), _lists(lab)
    serials = [lab.serial(f"c{number}") for number in range(4)]
    if restarted:
        await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    if restarted:
        await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "c1")
    await lab.settle()
    assert [lab.proxies_refuse(serial) for serial in serials] == [True, True, False, True]
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "c1") is None
    assert (lab.state("c0"), lab.state("c2"), lab.state("c3")) == ("Revoked", "Active", "Revoked")
    after = _lists(lab)
    assert after.pop(names.REVOCATION_KEY) != before.pop(names.REVOCATION_KEY)
    assert after == before
    lab.cluster.overwrite(backup)
    await lab.pass_time(seconds=2)
    assert [lab.is_refused(serial) for serial in serials] == [True, True, False, True]
    assert lab.condition(Kind.HOST, "api", "Ready")[:2] == ("True", "Ready")


async def test_a_signed_list_that_is_due_waits_for_a_ca_that_is_missing(lab: Lab) -> None:
    await _issued(lab, 2)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": True}})
    await lab.settle()
    before = _lists(lab)
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.settle()
    lab.process.context.queue.add(keys.lists(NAMESPACE))
    await lab.pass_time(hours=9)
    assert _lists(lab) == before


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_restored_certificate_gets_in_again_as_soon_as_that_can_be_known(
    lab: Lab, *, restarted: bool
) -> None:
    """After a restart nobody knows whether the ledger is complete: what was published stays, and the status says so."""
    await _issued(lab)
    lab.run_pod(pod())
    lab.cluster.edit(
        Kind.CERTIFICATE,
        NAMESPACE,
        "c0",
        {"spec": {"revoked": True, "revocationReason": "CertificateHold"}},
    )
    await lab.settle()
    serial, backup = lab.serial("c0"), lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    await lab.stop() if restarted else None
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.start() if restarted else None
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": False}})
    await lab.settle()
    assert lab.proxies_refuse(serial) is restarted
    assert lab.state("c0") == ("PendingReactivation" if restarted else "Active")
    lab.cluster.overwrite(backup)
    await lab.pass_time(seconds=2)
    assert not lab.is_refused(serial)
    assert lab.state("c0") == "Active"


async def test_a_ledger_from_an_older_copy_and_a_missing_ca_forget_nothing(lab: Lab) -> None:
    """Without the CA no signature can be checked: what the proxies were told stands."""
    await _issued(lab, 3)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    old = lab.ledger_pages()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": True}})
    await lab.settle()
    serials = [lab.serial(f"c{number}") for number in range(3)]
    await lab.stop()
    for page in old:
        lab.cluster.overwrite(page)
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": False}})
    await lab.start()
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c2", {"spec": {"revoked": True}})
    await lab.settle()
    assert [lab.proxies_refuse(serial) for serial in serials] == [True, True, True]


@pytest.mark.parametrize("lost", [names.CLIENT_CA_CONFIGMAP, names.REVOCATION_CONFIGMAP])
async def test_revocations_that_cannot_be_published_are_not_forgotten(lab: Lab, lost: str) -> None:
    """G3: nobody knows any more of which CA the list is; the finalizer stays until the CA is back."""
    await _issued(lab, 3)
    backup = lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    serials = [lab.serial(f"c{number}") for number in range(3)]
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, lost)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "c1")
    await lab.start()
    await lab.settle()
    await lab.pass_time(minutes=2)
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "c1") is not None
    assert lab.state("c0") == "PendingRevocation"
    lab.cluster.overwrite(backup)
    await lab.pass_time(seconds=2)
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "c1") is None
    assert [lab.proxies_refuse(serial) for serial in serials] == [True, True, False]


async def test_a_serial_number_that_a_secret_alone_shows_waits_for_the_ca(lab: Lab) -> None:
    """Whoever writes Secrets could have the largest index recorded, and every list would be as long."""
    await _issued(lab, 2)
    backup = lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    serial = lab.serial("c0")
    forged = leaf(authority("forger", now=lab.now()), "c0", index=2**31, now=lab.now())
    data = {names.TLS_CERT_KEY: b64encode(forged.certificate_pem.encode()).decode()}
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "c0", {"data": data})
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.start()
    await lab.settle()
    await lab.pass_time(minutes=1)
    assert lab.proxies_refuse(serial)
    assert lab.ledger().keys() == {serial}
    lab.cluster.overwrite(backup)
    await lab.pass_time(seconds=2)
    assert lab.proxies_refuse(serial)
    assert lab.ledger().keys() == {serial}


async def test_a_ca_and_a_ledger_lost_together_and_a_ca_that_comes_back_revoke_what_was_revoked(
    lab: Lab,
) -> None:
    """The operator's namespace was lost; a backup brings the key back, later than the operator."""
    await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    serial, backup = lab.serial("c0"), lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": False}})
    await lab.stop()
    for body in lab.ledger_pages():
        lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, body["metadata"]["name"])
    lab.cluster.remove(Kind.SECRET, SYSTEM, CA)
    await lab.start()
    await lab.settle()
    lab.cluster.overwrite(backup)
    await lab.pass_time(seconds=2)
    assert lab.is_refused(serial)


async def test_a_ca_from_an_older_copy_uses_no_index_twice(lab: Lab) -> None:
    """G3: and what was revoked beyond its mark stays in the list."""
    await _issued(lab, 3)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c2", {"spec": {"revoked": True}})
    await lab.settle()
    old = lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    old["data"][NEXT_INDEX_KEY] = b64encode(b"0").decode()
    await lab.stop()
    lab.cluster.overwrite(old)
    await lab.start()
    await lab.settle()
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert lab.is_refused(lab.serial("c2"))
    assert len({serial[-8:] for serial in lab.client_secrets().values()}) == 4


async def test_a_ca_from_an_older_copy_while_running_uses_no_index_twice(lab: Lab) -> None:
    await _issued(lab, 3)
    old = lab.cluster.read(Kind.SECRET, SYSTEM, CA)
    old["data"][NEXT_INDEX_KEY] = b64encode(b"0").decode()
    lab.cluster.overwrite(old)
    await lab.settle(failures=True)
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    assert len({serial[-8:] for serial in lab.client_secrets().values()}) == 4


async def test_a_damaged_ca_issues_nothing_and_is_named(lab: Lab) -> None:
    await _issued(lab)
    lab.cluster.edit(Kind.SECRET, SYSTEM, CA, {"data": {names.TLS_KEY_KEY: b64encode(b"rubbish").decode()}})
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "CAMissing")
    assert CA in lab.condition(Kind.CERTIFICATE, "late", "Issued")[2]
    assert lab.state("c0") == "Active"


async def test_a_namespace_made_again_gets_a_new_ca_and_an_empty_list(lab: Lab) -> None:
    await _issued(lab)
    former, pem = lab.serial("c0"), _pem(lab, "c0")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle()
    assert lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None
    lab.cluster.make_namespace(NAMESPACE)
    lab.cluster.make(host())
    lab.cluster.make(certificate("c0"))
    await lab.settle()
    bundle = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    newest = _authority(lab, lab.authority_secrets()[-1]["metadata"]["name"])
    assert bundle == newest.certificate_pem
    assert not is_issued_by(newest, pem)
    assert (
        former
        not in lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"][
            "revoked.json"
        ]
    )
    assert lab.state("c0") == "Active"


async def test_a_namespace_made_again_while_its_remains_are_still_seen_gets_its_ca_in_the_end(
    lab: Lab,
) -> None:
    """The watch of ConfigMaps is slow: the bundle of the former life looks like one of this life."""
    await _issued(lab)
    lab.process.feed.held.add(Kind.CONFIG_MAP)
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    lab.cluster.make_namespace(NAMESPACE)
    lab.cluster.make(certificate("c9"))
    await lab.settle(failures=True)
    lab.process.feed.release(Kind.CONFIG_MAP)
    await lab.pass_time_with_failures(minutes=2)
    assert lab.state("c9") == "Active"


async def test_a_namespace_that_ends_does_not_hang(lab: Lab) -> None:
    await _issued(lab, 4)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle(failures=True)
    assert lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None


async def test_a_namespace_that_ends_does_not_hang_when_its_end_is_seen_late(lab: Lab) -> None:
    for delay in (0.0, 0.01, 0.03, 0.1, 0.5, 3.0):
        lab.delays[Kind.NAMESPACE] = delay
        await _issued(lab, 2)
        lab.cluster.remove_namespace(NAMESPACE)
        await lab.pass_time_with_failures(seconds=10)
        assert lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None, delay
        await lab.stop()
        lab.cluster.make_namespace(NAMESPACE)


async def test_a_namespace_that_ends_while_the_operator_is_away_does_not_hang(lab: Lab) -> None:
    await _issued(lab)
    await lab.stop()
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.start()
    await lab.settle(failures=True)
    assert lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None


async def test_two_operators_never_use_one_index_twice(lab: Lab) -> None:
    """A paused operator that wakes up beside its successor is fenced by the version of the CA's Secret."""
    gate = asyncio.Event()
    gate.set()
    lab.cluster.make(certificate("c0"))
    stale = await lab.start(paused=gate)
    await lab.settle()
    gate.clear()
    await lab.start()
    for number in range(1, 10):
        lab.cluster.make(certificate(f"c{number}"))
    await asyncio.sleep(0.05)
    gate.set()
    stale.client.paused = None
    for number in range(10, 30):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.pass_time_with_failures(seconds=20)
    issued = list(lab.client_secrets().values())
    assert len(issued) == 30
    assert len({serial[-8:] for serial in issued}) == 30
    assert {lab.state(f"c{number}") for number in range(30)} == {"Active"}


async def test_two_operators_lose_no_revocation(lab: Lab) -> None:
    """G3: ledger pages are replaced at exactly the version read."""
    gate = asyncio.Event()
    gate.set()
    await _issued(lab, 0)
    await lab.stop()
    for number in range(6):
        lab.cluster.make(certificate(f"c{number}"))
    stale = await lab.start(paused=gate)
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    gate.clear()
    await lab.start()
    for number in range(1, 6):
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, f"c{number}", {"spec": {"revoked": True}})
        await asyncio.sleep(0.02)
        if number == 3:
            stale.client.paused = None
            gate.set()
    await lab.pass_time_with_failures(seconds=20)
    assert set(lab.client_secrets().values()) == lab.revoked_in_ledger()


def _authority(lab: Lab, name: str = CA):  # noqa: ANN202 - an Authority
    data = lab.cluster.read(Kind.SECRET, SYSTEM, name)["data"]
    return load_authority(b64decode(data[names.TLS_CERT_KEY]), Secret(b64decode(data[names.TLS_KEY_KEY])))


def _pem(lab: Lab, name: str) -> str:
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, name)
    pem = b64decode(body["data"][names.TLS_CERT_KEY]).decode()
    assert read_certificate(pem)
    return pem
