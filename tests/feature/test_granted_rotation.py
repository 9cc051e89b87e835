"""The CA of a namespace is replaced: the proxies of all that trust it come first, and no others."""

from __future__ import annotations

from base64 import b64decode

from tests.feature.granted import PARTNERS, agent, ca_pem, resolved, sources, trusting, verdict, withdraw
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import is_signed_by


def _rotate(lab: Lab, how: str = "2026-03-01", generation: int = 1) -> None:
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    name = names.authority_secret(PARTNERS, generation)
    lab.cluster.edit(Kind.SECRET, names.OPERATOR_NAMESPACE, name, patch)


def _phases(lab: Lab) -> list[str]:
    secrets = sorted(lab.authority_secrets(PARTNERS), key=lambda body: body["metadata"]["name"])
    return [secret["metadata"]["annotations"][names.PHASE_ANNOTATION] for secret in secrets]


def _leaf(lab: Lab, name: str) -> str:
    body = lab.cluster.read(Kind.SECRET, PARTNERS, name)
    return b64decode(body["data"][names.TLS_CERT_KEY]).decode()


async def test_a_new_ca_signs_once_the_proxies_of_those_who_trust_it_have_it(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=5)
    assert _phases(lab) == ["Active", "Prepared"]
    assert sources(lab)[1:] == [("managedFrom/partners", "Prepared"), ("managedFrom/partners", "Active")]
    lab.cluster.make(certificate("early", namespace=PARTNERS))
    await lab.settle()
    assert is_signed_by(ca_pem(lab, 1), _leaf(lab, "early"))
    proxy.fresh = True
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]
    lab.cluster.make(certificate("late", namespace=PARTNERS))
    await lab.settle()
    assert is_signed_by(ca_pem(lab, 2), _leaf(lab, "late"))
    assert verdict(lab, lab.serial("late", PARTNERS), ca=ca_pem(lab, 2)) == "accepted"
    assert verdict(lab, lab.serial("early", PARTNERS), ca=ca_pem(lab, 1)) == "accepted"


async def test_a_proxy_that_has_no_list_of_the_new_ca_holds_it_up(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.obedient = False
    _rotate(lab)
    await lab.pass_time(minutes=2)
    lab.ack(proxy, [names.RULES_FILTER])
    await lab.pass_time(minutes=2)
    assert _phases(lab) == ["Active", "Prepared"]
    lab.ack(proxy)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]


async def test_no_phase_is_skipped_by_an_operator_that_has_just_started(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    await lab.restart()
    await lab.pass_time(minutes=5)
    assert _phases(lab) == ["Active", "Prepared"]


async def test_who_is_not_let_in_holds_no_rotation_up(lab: Lab) -> None:
    proxy = await trusting(lab, granted=False)
    proxy.obedient = proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]


async def test_a_grant_that_is_withdrawn_lets_a_rotation_go_on(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Active", "Prepared"]
    withdraw(lab)
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]


async def test_a_host_that_wants_the_ca_no_more_lets_a_rotation_go_on(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"clientCAs": {"managedFrom": None}}})
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]
    assert sources(lab) == [("managed", "Active")]


async def test_a_host_that_is_deleted_lets_a_rotation_go_on(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    _rotate(lab)
    await lab.pass_time(minutes=1)
    lab.cluster.remove(Kind.HOST, NAMESPACE, "api")
    await lab.pass_time(minutes=1)
    assert _phases(lab) == ["Retiring", "Active"]


async def test_a_host_that_cannot_be_read_holds_it_up(lab: Lab) -> None:
    """Its proxies run the last good configuration: nobody knows that they trust the new CA."""
    await trusting(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"workload": {"port": "nonsense"}}})
    await lab.settle()
    _rotate(lab)
    await lab.pass_time(minutes=5)
    assert _phases(lab) == ["Active", "Prepared"]


async def test_a_compromised_ca_is_dropped_everywhere_at_once(lab: Lab) -> None:
    proxy = await trusting(lab)
    proxy.fresh = False
    old, serial = ca_pem(lab, 1), agent(lab)
    _rotate(lab, names.ROTATE_COMPROMISED)
    await lab.settle()
    assert verdict(lab, serial, ca=old) == "not trusted"
    await lab.pass_time(minutes=1)
    assert sources(lab) == [("managed", "Active"), ("managedFrom/partners", "Active")]
    assert verdict(lab, agent(lab), ca=ca_pem(lab, 2)) == "accepted"
    assert resolved(lab)[:2] == ("True", "Resolved")


async def test_the_old_ca_leaves_there_too_when_its_last_certificate_has_ended(lab: Lab) -> None:
    await trusting(lab)
    old, serial = ca_pem(lab, 1), agent(lab)
    lab.cluster.edit(Kind.CERTIFICATE, PARTNERS, "agent", {"spec": {"renewal": {"revokeOldAfter": "1h"}}})
    _rotate(lab)
    await lab.pass_time(hours=4)
    assert _phases(lab) == ["Retired", "Active"]
    await lab.pass_time(minutes=1)
    assert verdict(lab, serial, ca=old) == "not trusted"
    assert verdict(lab, agent(lab), ca=ca_pem(lab, 2)) == "accepted"
