"""Of several generations of a CA one is lost, damaged or comes back from an older copy: nothing gets in by that."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.certs import authority, leaf
from tests.support.requests import request_pem

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.envoy import revocations_in
from mtls_operator.pki import BITMAP_LIMIT, index_of, is_signed_by, parse_serial, read_bundle
from mtls_operator.plan.authority import FIRST_INDEX_KEY, NEXT_INDEX_KEY
from mtls_operator.push import Scope

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


async def _rotated(lab: Lab) -> Body:
    """Rotate once; return the successor's Secret as it was before it signed."""
    await _issued(lab)
    next(iter(lab.proxies.values())).fresh = False
    _rotate(lab, 1)
    await lab.pass_time(minutes=1)
    prepared = _read(lab, 2)
    next(iter(lab.proxies.values())).fresh = True
    await lab.pass_time(hours=2)
    return prepared


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
    old = await _rotated(lab)
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


def _trusts(lab: Lab, generation: int) -> bool:
    """Say whether the proxies' rules and the namespace's bundle have the CA of a generation."""
    pem = _pem(lab, generation)
    digest = read_bundle(pem, now=lab.now()).accepted[0].digest
    rules = lab.process.discovery.published[Scope(NAMESPACE, "api"), names.RULES_FILTER].text
    bundle = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
    config = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.host_config("api"))["data"]
    in_files = pem.splitlines()[5] in config[names.CLIENT_CA_SDS_KEY]
    found = {digest in rules, pem in bundle, in_files}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_compromised_ca_from_an_older_copy_stays_dropped(lab: Lab, *, restarted: bool) -> None:
    """Whoever stole its key would get in by a backup of one Secret."""
    await _issued(lab)
    old = _read(lab, 1)
    _rotate(lab, 1, names.ROTATE_COMPROMISED)
    await lab.pass_time(minutes=2)
    assert _phases(lab) == {_ca(1): "Retired", _ca(2): "Active"}
    assert not _trusts(lab, 1)
    if restarted:
        await lab.stop()
    lab.cluster.overwrite(old)
    before = 0 if restarted else len(lab.process.discovery.history)
    if restarted:
        await lab.start()
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab) == {_ca(1): "Retired", _ca(2): "Active"}
    assert not _trusts(lab, 1)
    assert _trusts(lab, 2)
    digest = read_bundle(_pem(lab, 1), now=lab.now()).accepted[0].digest
    assert not any(digest in script.text for script in lab.process.discovery.history[before:])


@pytest.mark.parametrize("how", ["compromised", "ended"])
async def test_a_former_ca_from_an_older_copy_stays_where_it_was(lab: Lab, how: str) -> None:
    """Also when the copy was made while its certificates still counted, and with another rotation after it."""
    lab.cluster.make(certificate("device", request=request_pem("device")))
    await _issued(lab)
    _rotate(lab, 1)
    await lab.pass_time(minutes=2)
    assert _phases(lab) == {_ca(1): "Retiring", _ca(2): "Active"}
    old = _read(lab, 1)
    if how == "compromised":
        _rotate(lab, 1, names.ROTATE_COMPROMISED)
    else:
        for name in ("device", "c0", "c1"):
            lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True}})
    await lab.pass_time(hours=3)
    assert _phases(lab) == {_ca(1): "Retired", _ca(2): "Active"}
    _rotate(lab, 2)
    await lab.pass_time(minutes=2)
    assert _phases(lab)[_ca(3)] == "Active"
    lab.cluster.overwrite(old)
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab)[_ca(1)] == "Retired"
    assert not _trusts(lab, 1)


async def test_a_former_ca_from_before_it_signed_does_not_take_over(lab: Lab) -> None:
    old = await _rotated(lab)
    _rotate(lab, 2)
    await lab.pass_time(minutes=2)
    assert _phases(lab)[_ca(3)] == "Active"
    lab.cluster.overwrite(old)
    await lab.pass_time_with_failures(minutes=2)
    assert _phases(lab)[_ca(2)] in ("Retiring", "Retired")
    assert _phases(lab)[_ca(3)] == "Active"
    lab.cluster.make(certificate("late"))
    await lab.settle(failures=True)
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, "late")
    assert is_signed_by(_pem(lab, 3), b64decode(body["data"][names.TLS_CERT_KEY]).decode())


async def test_a_former_ca_that_is_missing_is_named_until_it_is_back(lab: Lab) -> None:
    """Its certificates are refused, and nothing else would say why."""
    lab.cluster.make(certificate("device", request=request_pem("device")))
    await _issued(lab)
    _rotate(lab, 1)
    await lab.pass_time(minutes=2)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("True", "Resolved")
    backup = _read(lab, 1)
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(1))
    await lab.pass_time(minutes=1)
    status, reason, message = lab.condition(Kind.HOST, "api", "ResolvedRefs")
    assert (status, reason) == ("True", "FormerCAMissing")
    assert _ca(1) in message
    await lab.restart()
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[1] == "FormerCAMissing"
    lab.cluster.overwrite(backup)
    await lab.pass_time(minutes=1)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("True", "Resolved")
    assert _trusts(lab, 1)


async def test_a_missing_former_ca_can_be_given_up(lab: Lab) -> None:
    lab.cluster.make(certificate("device", request=request_pem("device")))
    await _issued(lab)
    _rotate(lab, 1)
    await lab.pass_time(minutes=2)
    lab.cluster.remove(Kind.SECRET, SYSTEM, _ca(1))
    await lab.pass_time(minutes=1)
    gone = {"metadata": {"annotations": {names.PREDECESSORS_ANNOTATION: "1=Retired"}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, _ca(2), gone)
    await lab.pass_time(minutes=1)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("True", "Resolved")


@pytest.mark.parametrize(
    "text", ["1", "1=Gone", "one=Retired", "1=Retired;2=Retired", "1=Retired,1=Retiring"]
)
async def test_a_record_of_former_cas_that_cannot_be_read_lets_nobody_in_by_that(lab: Lab, text: str) -> None:
    await _issued(lab)
    old = _read(lab, 1)
    _rotate(lab, 1, names.ROTATE_COMPROMISED)
    await lab.pass_time(minutes=2)
    lab.cluster.overwrite(old)
    edit = {"metadata": {"annotations": {names.PREDECESSORS_ANNOTATION: text}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, _ca(2), edit)
    await lab.pass_time_with_failures(minutes=2)
    assert not _trusts(lab, 1)
