"""Objects of somebody else that have names of ours: left alone before the name is ours, taken back ever after."""

from __future__ import annotations

from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.envoy import epoch_of

CONFIG, SERVER = names.host_config("api"), names.server_secret("api")
SHARED = [
    (Kind.CONFIG_MAP, names.CLIENT_CA_CONFIGMAP, "ConfigConflict"),
    (Kind.CONFIG_MAP, names.REVOCATION_CONFIGMAP, "ConfigConflict"),
    (Kind.SECRET, names.PROXY_SECRET, "SecretConflict"),
]
OWN = [
    (Kind.CONFIG_MAP, CONFIG, "ConfigConflict"),
    (Kind.SECRET, SERVER, "SecretConflict"),
    (Kind.NETWORK_POLICY, CONFIG, "ConfigConflict"),
]


def _foreign(lab: Lab, kind: Kind, name: str, **metadata: Any) -> Body:
    body: Body = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"namespace": NAMESPACE, "name": name, **metadata},
    }
    body |= {"spec": {"podSelector": {}}} if kind is Kind.NETWORK_POLICY else {"data": {"theirs": "bXk="}}
    return lab.cluster.make(body)


async def _start(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate())
    await lab.start()
    await lab.settle()


def _programmed(lab: Lab) -> tuple[str, str, str]:
    return lab.condition(Kind.HOST, "api", "Programmed")


@pytest.mark.parametrize(("kind", "name", "reason"), SHARED)
async def test_a_namespace_with_an_object_of_a_name_that_hosts_share_gets_no_ca_and_says_why(
    lab: Lab, kind: Kind, name: str, reason: str
) -> None:
    theirs = _foreign(lab, kind, name)
    await _start(lab)
    assert lab.cluster.read(kind, NAMESPACE, name) == theirs
    assert lab.authority_secrets() == []
    assert _programmed(lab)[:2] == ("False", reason)
    assert name in _programmed(lab)[2]
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "False"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", reason)
    assert any(event[:2] == ("Warning", reason) for event in lab.events())


@pytest.mark.parametrize(("kind", "name", "reason"), SHARED)
async def test_a_host_without_the_managed_ca_says_so_too(
    lab: Lab, kind: Kind, name: str, reason: str
) -> None:
    _foreign(lab, kind, name)
    lab.cluster.make(host(clientCAs={"managed": False}))
    await lab.start()
    await lab.settle()
    assert _programmed(lab)[:2] == ("False", reason)


@pytest.mark.parametrize(("kind", "name", "_"), SHARED)
async def test_it_begins_by_itself_when_that_object_is_gone(lab: Lab, kind: Kind, name: str, _: str) -> None:
    _foreign(lab, kind, name)
    await _start(lab)
    lab.cluster.remove(kind, NAMESPACE, name)
    await lab.pass_time(seconds=15)
    assert _programmed(lab)[0] == "True"
    assert lab.state() == "Active"


@pytest.mark.parametrize(("kind", "name", "_"), SHARED)
async def test_what_hosts_share_is_taken_back_whoever_puts_something_in_its_place(
    lab: Lab, kind: Kind, name: str, _: str
) -> None:
    """Else whoever writes ConfigMaps could end every revocation, by deleting one and making another."""
    await _start(lab)
    ours = lab.cluster.read(kind, NAMESPACE, name)["data"]
    lab.cluster.remove(kind, NAMESPACE, name)
    _foreign(lab, kind, name)
    await lab.settle()
    assert lab.cluster.read(kind, NAMESPACE, name)["data"].keys() >= ours.keys()
    assert _programmed(lab)[0] == "True"


@pytest.mark.parametrize(("kind", "name", "reason"), OWN)
async def test_an_object_with_the_name_of_a_hosts_own_is_left_alone(
    lab: Lab, kind: Kind, name: str, reason: str
) -> None:
    theirs = _foreign(lab, kind, name)
    await _start(lab)
    await lab.pass_time(minutes=6)
    assert lab.cluster.read(kind, NAMESPACE, name) == theirs
    assert _programmed(lab)[:2] == ("False", reason)
    assert lab.state() == "Active", "certificates do not depend on it"


@pytest.mark.parametrize(("kind", "name", "_"), OWN)
async def test_the_host_is_written_when_that_object_is_gone(lab: Lab, kind: Kind, name: str, _: str) -> None:
    _foreign(lab, kind, name)
    await _start(lab)
    lab.cluster.remove(kind, NAMESPACE, name)
    await lab.pass_time(seconds=15)
    assert _programmed(lab)[0] == "True"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("kind", "name", "_"), OWN)
async def test_a_host_takes_its_own_back_whoever_puts_something_in_their_place(
    lab: Lab,
    kind: Kind,
    name: str,
    _: str,
    restarted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    await _start(lab)
    lab.run_pod(pod())
    await lab.pass_time(seconds=15)
    before = lab.cluster.read(kind, NAMESPACE, name)
    if restarted:
        await lab.stop()
    lab.cluster.remove(kind, NAMESPACE, name)
    other = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "evil", "uid": "evil"}]
    _foreign(lab, kind, name, ownerReferences=other)
    if restarted:
        await lab.start()
    await lab.settle()
    await lab.pass_time(minutes=1)
    after = lab.cluster.read(kind, NAMESPACE, name)
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert "theirs" not in after.get("data", {})
    assert _programmed(lab)[0] == "True"
    lab.writes()
    await lab.pass_time(minutes=10)
    assert lab.writes() == [], "G6"


async def test_a_forged_script_without_our_label_is_overtaken(lab: Lab) -> None:
    """A proxy that has read it follows it until there is a higher epoch."""
    await _start(lab)
    forged = (
        epoch_of(lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"][names.RULES_KEY]) or 0
    ) + 10**9
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, CONFIG)
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": NAMESPACE, "name": CONFIG},
        "data": {names.RULES_KEY: f"-- {names.RULES_FILTER} {forged}\n"},
    }
    lab.cluster.make(body)
    await lab.settle()
    script = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"][names.RULES_KEY]
    assert (epoch_of(script) or 0) > forged


async def test_a_forged_list_without_our_label_is_overtaken(lab: Lab) -> None:
    await _start(lab)
    forged = (epoch_of(lab.revocation_script()) or 0) + 10**9
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": NAMESPACE, "name": names.REVOCATION_CONFIGMAP},
        "data": {names.REVOCATION_KEY: f"-- {names.REVOCATION_FILTER} {forged}\n"},
    }
    lab.cluster.make(body)
    await lab.settle()
    assert (epoch_of(lab.revocation_script()) or 0) > forged


async def test_a_namespace_that_was_served_before_this_was_asked_goes_on(lab: Lab) -> None:
    """An upgrade: its objects have labels, its CA is there, nothing is a conflict."""
    await _start(lab)
    serial = lab.serial()
    await lab.restart()
    await lab.settle()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP, {"metadata": {"labels": None}})
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(serial)
