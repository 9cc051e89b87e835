"""What statuses say while something is in the way of the world being as it should: G4."""

from __future__ import annotations

import pytest
from tests.feature.harness import Lab, Proxy
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.certs import authority
from tests.support.fake_cluster import Fault
from tests.support.partner import file_of, pem_of

from mtls_operator.api import names
from mtls_operator.cluster import ClusterError, Kind, RejectedError, UnavailableError

BROKEN = 'http.host eq "a" and and ssl'


async def _in_force(lab: Lab, *bodies: dict[str, object]) -> Proxy:
    lab.cluster.make(host())
    for body in bodies:
        lab.cluster.make(body)
    await lab.start()
    proxy = lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=12)
    return proxy


async def test_a_rule_is_not_in_force_by_what_proxies_said_of_the_configuration_before(lab: Lab) -> None:
    """The host's objects cannot be written just now; another host of the rule wakes it meanwhile."""
    lab.cluster.make(host("other", hostnames=["other.example.com"]))
    proxy = await _in_force(lab, rule())
    lab.run_pod(pod("other-1", host_name="other", address="10.0.0.2"))
    await lab.settle()
    assert lab.condition(Kind.RULE, "admin", "Deployed")[0] == "True"
    proxy.obedient = False
    seen: list[list[dict[str, object]]] = []
    lab.cluster.watch({Kind.RULE: ""}, lambda _, __, body: seen.append(body["status"].get("hosts")))
    lab.cluster.faults += [
        Fault("apply", Kind.CONFIG_MAP, UnavailableError("down"), name=names.host_config("api"))
    ] * 4
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/changed"]}}})
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(seconds=20)
    assert all({"name": "api", "deployed": True} not in hosts for hosts in seen[1:]), seen
    assert lab.condition(Kind.RULE, "admin", "Deployed")[0] == "False"


async def test_a_certificate_that_is_revoked_again_waits_for_every_proxy_again(lab: Lab) -> None:
    """Also where its status could not be written while it was restored."""
    proxy = await _in_force(lab, certificate("gateway"))
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.state() == "Revoked"
    await lab.pass_time(seconds=5)
    lab.cluster.faults += [
        Fault("patch-status", Kind.CERTIFICATE, UnavailableError("down"), name="gateway")
    ] * 50
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle(failures=True)
    assert not lab.proxies_refuse(lab.serial())
    proxy.obedient = False
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle(failures=True)
    lab.cluster.faults.clear()
    await lab.pass_time_with_failures(seconds=90)
    assert lab.proxies_refuse(lab.serial())
    assert lab.state() == "PendingRevocation"
    lab.ack(proxy)
    await lab.settle(failures=True)
    assert lab.state() == "Revoked"


async def test_a_pod_that_ends_out_of_reach_can_still_accept_a_revoked_certificate(lab: Lab) -> None:
    proxy = await _in_force(lab, certificate("gateway"))
    lab.disconnect(proxy)
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": ["test/hold"]}})
    lab.cluster.remove(Kind.POD, NAMESPACE, "api-1")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.state() == "PendingRevocation"
    lab.cluster.edit(Kind.POD, NAMESPACE, "api-1", {"metadata": {"finalizers": None}})
    await lab.settle()
    assert lab.state() == "Revoked"


async def test_a_host_does_not_enforce_beside_a_block_rule_that_never_compiled_whatever_else_is_wrong(
    lab: Lab,
) -> None:
    lab.cluster.make(host("aaa", hostnames=["aaa.example.com"]))
    here = {"hostRefs": [{"name": "api"}]}
    await _in_force(lab, rule(**here))
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["aaa.example.com"]}})
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", "HostnameConflict")
    lab.cluster.make(rule("broken", match=None, expression=BROKEN, **here))
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "RuleNeverCompiled")


async def test_after_a_restart_a_host_that_cannot_be_written_says_what_it_said_before(lab: Lab) -> None:
    """What proxies run is not what the host would be given."""
    lab.cluster.make(host("aaa", hostnames=["aaa.example.com"]))
    here = {"hostRefs": [{"name": "api"}]}
    await _in_force(lab, rule(**here))
    before = lab.status(Kind.HOST, "api")
    spec = {"hostnames": ["aaa.example.com"], "clientCAs": {"managed": False}}
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": spec})
    await lab.settle()
    lab.cluster.make(rule("new", match={"paths": ["/new"]}, **here))
    await lab.settle()
    await lab.restart()
    await lab.settle()
    await lab.pass_time(seconds=60)
    after = lab.status(Kind.HOST, "api")
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", "HostnameConflict")
    for field in ("clientCAs", "rules", "ruleCount"):
        assert after[field] == before[field], field
    assert after["epoch"]["rules"] == before["epoch"]["rules"]
    assert lab.condition(Kind.HOST, "api", "Enforced")[0] == "False"


async def test_a_rule_that_left_a_host_that_cannot_be_written_is_still_said_to_be_in_force_there(
    lab: Lab,
) -> None:
    lab.cluster.make(host("aaa", hostnames=["aaa.example.com"]))
    await _in_force(lab, rule(hostRefs=[{"name": "api"}]))
    lab.run_pod(pod("aaa-1", host_name="aaa", address="10.0.0.2"))
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["aaa.example.com"]}})
    await lab.settle()
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"hostRefs": [{"name": "aaa"}]}})
    await lab.settle()
    await lab.pass_time(seconds=5)
    deployed = lab.condition(Kind.RULE, "admin", "Deployed")
    assert deployed[:2] == ("False", "HostNotReady")
    assert "api" in deployed[2]
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["api.example.com"]}})
    await lab.settle()
    await lab.pass_time(seconds=5)
    assert lab.condition(Kind.RULE, "admin", "Deployed")[:2] == ("True", "Deployed")


async def test_of_a_host_that_cannot_be_read_no_more_is_said_than_is_known(lab: Lab) -> None:
    proxy = await _in_force(lab, rule())
    assert lab.condition(Kind.HOST, "api", "Deployed")[0] == "True"
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"workload": {"port": "no"}}})
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "Accepted")[:2] == ("False", "InvalidSpec")
    lab.disconnect(proxy)
    await lab.settle()
    await lab.pass_time(seconds=5)
    said = {condition["type"] for condition in lab.status(Kind.HOST, "api")["conditions"]}
    assert said == {"Accepted", "Ready"}
    deployed = lab.condition(Kind.RULE, "admin", "Deployed")
    assert deployed[:2] == ("False", "HostNotReady")
    assert "MTLSHost api cannot be read" in deployed[2]


FAILURES = pytest.mark.parametrize(
    "error", [RejectedError("denied", status=403), UnavailableError("down", status=500)], ids=["403", "500"]
)


@FAILURES
async def test_a_host_is_not_ready_while_what_it_refers_to_may_not_be_read(
    lab: Lab, error: ClusterError
) -> None:
    """What is missing is said to be missing; this is neither there nor missing, and proxies come and go meanwhile."""
    lab.cluster.make(file_of("partner-ca", ca_crt=pem_of(authority("Partner CA", now=lab.now()))))
    proxy = await _in_force(lab)
    trusted = {"trusted": [{"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}]}
    lab.cluster.faults += [Fault("get", Kind.CONFIG_MAP, error, name="partner-ca")] * 500
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"clientCAs": trusted}})
    await lab.settle(failures=True)
    lab.disconnect(proxy)
    await lab.pass_time_with_failures(seconds=60)
    for kind in ("ResolvedRefs", "Programmed", "Ready"):
        assert lab.condition(Kind.HOST, "api", kind)[:2] == ("False", "Pending"), kind
    assert lab.condition(Kind.HOST, "api", "Deployed")[:2] == ("False", "ProxyDisconnected")
    lab.cluster.faults.clear()
    lab.connect(proxy)
    await lab.pass_time_with_failures(seconds=90)
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"


@FAILURES
async def test_a_host_whose_objects_the_api_server_does_not_take_is_not_ready(
    lab: Lab, error: ClusterError
) -> None:
    """A quota or an admission policy may stand in the way for days; proxies come and go meanwhile."""
    proxy = await _in_force(lab, rule())
    lab.cluster.faults += [Fault("apply", Kind.CONFIG_MAP, error, name=names.host_config("api"))] * 500
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/changed"]}}})
    await lab.settle(failures=True)
    await lab.pass_time_with_failures(seconds=60)
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", "Pending")
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "False"
    lab.disconnect(proxy)
    await lab.pass_time_with_failures(seconds=90)
    assert lab.condition(Kind.HOST, "api", "Deployed")[:2] == ("False", "ProxyDisconnected")
    assert lab.condition(Kind.RULE, "admin", "Deployed")[0] == "False"
    lab.cluster.faults.clear()
    lab.connect(proxy)
    await lab.pass_time_with_failures(seconds=90)
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    assert lab.condition(Kind.RULE, "admin", "Ready")[0] == "True"
