"""Objects that cannot be read: past the schema by an older API server, or by a restored backup (G2, G3)."""

from __future__ import annotations

from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind


async def _in_force(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=3)


async def test_a_broken_certificate_changes_nothing_but_itself(lab: Lab) -> None:
    await _in_force(lab)
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": 1}})
    lab.cluster.make(certificate("other"))
    await lab.settle()
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "InvalidSpec")
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial("gateway")
    assert lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway") == secret
    assert lab.state("other") == "Active"
    assert not lab.is_refused(lab.serial("gateway"))


async def test_a_broken_certificate_that_is_revoked_is_revoked(lab: Lab) -> None:
    """G3: damage must not keep a revocation from being recorded."""
    await _in_force(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": 1, "revoked": "yes"}})
    await lab.settle()
    assert lab.is_refused(lab.serial("gateway"))


async def test_a_broken_certificate_does_not_restore(lab: Lab) -> None:
    await _in_force(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": 1, "revoked": False}})
    await lab.settle()
    assert lab.is_refused(lab.serial("gateway"))


async def test_deleting_a_broken_certificate_revokes_it(lab: Lab) -> None:
    await _in_force(lab)
    serial = lab.serial("gateway")
    lab.cluster.edit(
        Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": 1, "deletionPolicy": "Retain"}}
    )
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
    assert lab.is_refused(serial)


async def test_a_broken_certificate_that_was_never_good_gets_a_status(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("gateway", nonsense=1))
    await lab.settle()
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Issued")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "nonsense" in message
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None


async def test_a_mended_certificate_is_active_again(lab: Lab) -> None:
    await _in_force(lab)
    serial = lab.serial("gateway")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": 1}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"nonsense": None}})
    await lab.settle()
    assert lab.state() == "Active"
    assert lab.serial() == serial


async def test_a_broken_host_keeps_its_last_good_configuration(lab: Lab) -> None:
    await _in_force(lab)
    config = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, "mtls-host-api")
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": []}})
    await lab.settle()
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, "mtls-host-api") == config
    assert lab.condition(Kind.HOST, "api", "Accepted")[:2] == ("False", "InvalidSpec")
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "False"


async def test_revocations_reach_the_proxies_of_a_broken_host(lab: Lab) -> None:
    await _in_force(lab)
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": []}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    assert lab.is_refused(lab.serial("gateway"))
    assert lab.state() == "Revoked"


async def test_a_broken_host_does_not_take_the_hostnames_of_others(lab: Lab) -> None:
    lab.cluster.make(host("older", hostnames=("api.example.com",), nonsense=1))
    await _in_force(lab)
    assert lab.condition(Kind.HOST, "api", "Accepted")[0] == "True"


async def test_a_broken_rule_keeps_its_last_good_version(lab: Lab) -> None:
    await _in_force(lab)
    config = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, "mtls-host-api")["data"][names.RULES_KEY]
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"nonsense": 1}})
    await lab.settle()
    assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, "mtls-host-api")["data"][names.RULES_KEY] == config
    assert lab.condition(Kind.RULE, "admin", "Accepted")[:2] == ("False", "InvalidSpec")


async def test_a_broken_rule_that_was_never_good_keeps_its_host_from_ready(lab: Lab) -> None:
    await _in_force(lab)
    lab.cluster.make(rule("wrong", nonsense=1))
    await lab.settle()
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "RuleNeverCompiled")
