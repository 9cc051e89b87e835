"""Of several generations of a CA one is lost, damaged or comes back from an older copy: nothing gets in by that."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.certs import authority, leaf

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.envoy import revocations_in
from mtls_operator.pki import BITMAP_LIMIT, index_of, is_signed_by, parse_serial, read_bundle
from mtls_operator.plan.authority import FIRST_INDEX_KEY, NEXT_INDEX_KEY

SYSTEM = names.OPERATOR_NAMESPACE


async def _issued(lab: Lab, count: int = 2) -> None:
    lab.cluster.make(host())
    for number in range(count):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=10)


def _ca(generation: int) -> str:
    return names.authority_secret(NAMESPACE, generation)


def _read(lab: Lab, generation: int) -> Body:
    return lab.cluster.read(Kind.SECRET, SYSTEM, _ca(generation))


def _rotate(lab: Lab, generation: int, how: str = "2026-03-01") -> None:
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, _ca(generation), patch)


def _phases(lab: Lab) -> dict[str, str]:
    return {
        body["metadata"]["name"]: body["metadata"]["annotations"][names.PHASE_ANNOTATION]
        for body in lab.authority_secrets()
    }


def _pem(lab: Lab, generation: int) -> str:
    return b64decode(_read(lab, generation)["data"][names.TLS_CERT_KEY]).decode()


def _lists(lab: Lab, generation: int, serial: str) -> bool:
    """Say whether the proxies' list of one generation names a serial number."""
    digest = read_bundle(_pem(lab, generation), now=lab.now()).accepted[0].digest
    said = revocations_in(lab.revocation_script())[digest]
    place = index_of(parse_serial(serial)) - said.first
    return 0 <= place // 8 < len(said.bitmap) and bool(said.bitmap[place // 8] >> place % 8 & 1)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_successor_never_follows_a_ca_that_is_missing(lab: Lab, *, restarted: bool) -> None:
    """The one before it is there: it was closed long ago, and says nothing about the one that is lost."""
    await _issued(lab)
    _rotate(lab, 1)
    await lab.pass_time(hours=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, 2)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active", _ca(3): "Prepared"}
    backup = _read(lab, 2)
    serial = lab.serial("c0")
    if restarted:
        await lab.stop()
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(2))
    if restarted:
        await lab.start()
    lab.cluster.make(certificate("late"))
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(3): "Prepared"}
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "CAMissing")
    assert _ca(2) in lab.condition(Kind.CERTIFICATE, "late", "Issued")[2]
    lab.cluster.overwrite(backup)
    await lab.pass_time(minutes=1)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    assert _lists(lab, 2, serial)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_ca_from_an_older_copy_does_not_sign_beside_its_successor(
    lab: Lab, *, restarted: bool
) -> None:
    """No list of it could name what it would sign: a revoked certificate would get in."""
    await _issued(lab)
    old = _read(lab, 1)
    _rotate(lab, 1)
    await lab.pass_time(hours=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    if restarted:
        await lab.stop()
    lab.cluster.overwrite(old)
    if restarted:
        await lab.start()
    lab.cluster.make(certificate("late"))
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "late", {"spec": {"revoked": True}})
    await lab.settle(failures=True)
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, "late")
    assert is_signed_by(_pem(lab, 2), b64decode(body["data"][names.TLS_CERT_KEY]).decode())
    assert _lists(lab, 2, lab.serial("late"))


async def test_a_successor_from_an_older_copy_is_opened_again_with_a_list_of_all_that_it_has_signed(
    lab: Lab,
) -> None:
    await _issued(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, 1)
    await lab.pass_time(minutes=1)
    old = _read(lab, 2)
    next(iter(lab.proxies.values())).fresh = True
    await lab.pass_time(hours=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    serial = lab.serial("c0")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    assert _lists(lab, 2, serial)
    await lab.stop()
    lab.cluster.overwrite(old)
    await lab.start()
    await lab.settle(failures=True)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    assert _lists(lab, 2, serial)
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    indices = [serial[-8:] for serial in lab.client_secrets().values()]
    assert len(set(indices)) == len(indices)


async def test_an_edited_list_is_not_half_a_gigabyte_when_the_ca_is_missing(lab: Lab) -> None:
    """Anybody in the namespace may edit it: a CA of which nothing can be said has no list, and nobody gets in."""
    await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": True}})
    await lab.settle()
    await lab.stop()
    data = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    script = data[names.REVOCATION_KEY].replace('{0, "', '{400000000, "')
    assert script != data[names.REVOCATION_KEY]
    edited = {"data": {names.REVOCATION_KEY: script}}
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, edited)
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(1))
    await lab.start()
    await lab.settle()
    assert revocations_in(lab.revocation_script()) == {}
    assert len(lab.revocation_script()) < len(script) + 1000


async def test_a_revocation_far_above_the_first_index_stays_when_the_ca_is_missing(lab: Lab) -> None:
    """Generations count on: the numbers of the tenth one begin above what one list from nought can hold."""
    await _issued(lab)
    high = {FIRST_INDEX_KEY: b"9000000", NEXT_INDEX_KEY: b"9001024"}
    data = {key: b64encode(value).decode() for key, value in high.items()}
    lab.cluster.edit(Kind.SECRET, SYSTEM, _ca(1), {"data": data})
    await lab.settle(failures=True)
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    serial = lab.serial("late")
    assert index_of(parse_serial(serial)) > BITMAP_LIMIT
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "late", {"spec": {"revoked": True}})
    await lab.settle(failures=True)
    assert lab.proxies_refuse(serial)
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(1))
    await lab.settle(failures=True)
    assert lab.proxies_refuse(serial)


async def test_a_ledger_lost_between_closing_and_opening_is_read_from_the_signed_list(lab: Lab) -> None:
    await _issued(lab)
    serial = lab.serial("c1")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": True}})
    await lab.settle()
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, 1)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == {_ca(1): "Active", _ca(2): "Prepared"}
    await lab.stop()
    closed = {"metadata": {"annotations": {names.PHASE_ANNOTATION: "Retiring"}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, _ca(1), closed)
    for page in lab.ledger_pages():
        lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, page["metadata"]["name"])
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c1", {"spec": {"revoked": False}})
    await lab.start()
    await lab.settle(failures=True)
    assert _lists(lab, 1, serial)


async def test_a_secret_cannot_say_that_a_certificate_has_ended_when_the_ca_is_missing(lab: Lab) -> None:
    """Whoever writes Secrets would keep it from being revoked: no signature shows that it is not ours."""
    await _issued(lab)
    serial = lab.serial("c0")
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(1))
    await lab.settle()
    past = lab.now() - timedelta(days=30)
    forged = leaf(authority("forger", now=past), "c0", serial=parse_serial(serial), now=past)
    data = {names.TLS_CERT_KEY: b64encode(forged.certificate_pem.encode()).decode()}
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "c0", {"data": data})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "c0", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.proxies_refuse(serial)
