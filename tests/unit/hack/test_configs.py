"""Configuration and command lines of the local cluster."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from testcluster import commandlines, configs, layout
from testcluster.places import Places, places

PLACES = places("mtls", environment={"HOME": "/home/u"})
CNI = Path("/cache/cni")


def flags(name: str, where: Places = PLACES) -> dict[str, str]:
    daemon = next(one for one in commandlines.plan(where).daemons if one.name == name)
    return dict(word.removeprefix("--").split("=", 1) for word in daemon.argv[1:])


def test_every_configuration_file_parses() -> None:
    for name, text in configs.files(PLACES, cni=CNI).items():
        if name.endswith((".yaml", ".conflist")):
            assert list(yaml.safe_load_all(text)), name


def test_rendering_is_deterministic() -> None:
    assert configs.files(PLACES, cni=CNI) == configs.files(PLACES, cni=CNI)


def test_containerd_uses_our_socket_our_plugins_and_our_sandbox_image() -> None:
    document = tomllib.loads(configs.containerd(PLACES, cni=CNI))
    plugins = document["plugins"]
    assert document["grpc"]["address"] == "/run/mtls-operator-mtls/containerd.sock"
    assert plugins["io.containerd.cri.v1.runtime"]["cni"]["bin_dirs"] == [str(CNI)]
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == layout.PAUSE_IMAGE


def test_a_state_folder_with_quotes_cannot_break_out_of_the_containerd_configuration() -> None:
    odd = places("mtls", environment={"HOME": '/home/a"\n[x]'})
    assert tomllib.loads(configs.containerd(odd, cni=CNI))["root"] == str(odd.state / "containerd")


def test_the_kubelet_answers_nobody_anonymous() -> None:
    kubelet: dict[str, Any] = configs.kubelet(PLACES)
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}


@pytest.mark.parametrize("tuned", ["syncFrequency", "configMapAndSecretChangeDetectionStrategy"])
def test_the_kubelet_is_not_tuned_because_tests_measure_what_users_get(tuned: str) -> None:
    assert tuned not in configs.kubelet(PLACES)


def test_the_api_server_authorises_by_node_and_role_and_writes_an_audit_log() -> None:
    found = flags("kube-apiserver")
    assert found["authorization-mode"] == "Node,RBAC"
    assert found["enable-admission-plugins"] == "NodeRestriction"
    assert found["audit-log-path"] == str(PLACES.logs / "audit.log")


def test_dns_forwards_nothing() -> None:
    assert "forward" not in configs.coredns(PLACES)


def test_the_dns_service_has_the_address_that_pods_are_told() -> None:
    service = configs.dns_objects()[0]
    assert [service["spec"]["clusterIP"]] == configs.kubelet(PLACES)["clusterDNS"]


def test_audit_policy_records_every_write_of_a_service_account() -> None:
    for rule in configs.audit_policy()["rules"]:
        drops_writes = rule["level"] == "None" and "verbs" not in rule
        assert (
            not drops_writes or "nonResourceURLs" in rule or rule["resources"][0]["resources"] == ["leases"]
        )


def test_the_plan_comes_back_as_it_was_written() -> None:
    plan = commandlines.plan(PLACES)
    assert commandlines.decode(plan.encode()) == plan


def test_the_api_server_starts_after_etcd_and_everything_else_after_the_api_server() -> None:
    after = {one.name: [probe.target for probe in one.after] for one in commandlines.plan(PLACES).daemons}
    assert after.pop("etcd") == after.pop("containerd") == []
    assert after.pop("kube-apiserver") == [f"{layout.ETCD_URL}/health"]
    assert all(f"{layout.API_URL}/readyz" in targets for targets in after.values())
