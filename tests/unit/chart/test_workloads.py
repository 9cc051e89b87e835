"""The pods that the chart runs: how many, as whom, with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chart_rendering import Render, Rendered

import mtls_operator
from mtls_operator.api import names
from mtls_operator.controller import settings as operator_settings
from mtls_operator.webhook import settings as webhook_settings

OPERATOR = "mtls-operator"
WEBHOOK = "mtls-operator-webhook"


def test_every_pod_meets_the_restricted_pod_security_standard(chart: Rendered) -> None:
    pods = dict(chart.pods())
    assert pods.keys() == {OPERATOR, WEBHOOK}
    for template in pods.values():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for forbidden in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"):
            assert forbidden not in spec
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["privileged"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert all("hostPort" not in port for port in container["ports"])


def test_no_pod_mounts_anything_of_the_node(chart: Rendered) -> None:
    for _, template in chart.pods():
        assert all("hostPath" not in volume for volume in template["spec"].get("volumes", []))


def test_every_container_has_requests_and_a_memory_limit(chart: Rendered) -> None:
    for name, _ in chart.pods():
        resources = chart.container(name)["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert "memory" in resources["limits"]


def test_every_container_has_both_probes(chart: Rendered) -> None:
    for name, _ in chart.pods():
        container = chart.container(name)
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_exactly_one_operator_runs_and_never_two_during_an_update(chart: Rendered) -> None:
    spec = chart.one("Deployment", OPERATOR)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_webhook_never_runs_with_fewer_pods_than_asked_for(chart: Rendered) -> None:
    spec = chart.one("Deployment", WEBHOOK)["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_drain_leaves_one_webhook_pod(chart: Rendered) -> None:
    budget = chart.one("PodDisruptionBudget", WEBHOOK)["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"] == chart.one("Deployment", WEBHOOK)["spec"]["selector"]


def test_a_single_webhook_pod_does_not_block_drains(render: Render) -> None:
    assert render("--set", "webhook.replicas=1").of_kind("PodDisruptionBudget") == []


def test_webhook_pods_prefer_nodes_of_their_own_but_do_not_insist(chart: Rendered) -> None:
    affinity = chart.one("Deployment", WEBHOOK)["spec"]["template"]["spec"]["affinity"]
    (term,) = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"


def test_an_affinity_of_the_user_replaces_ours(render: Render) -> None:
    rendered = render("--set-json", 'webhook.affinity={"nodeAffinity":{}}')
    assert rendered.one("Deployment", WEBHOOK)["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {}}


def test_selectors_match_the_pods_and_only_their_own_component(chart: Rendered) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in chart.pods()}
    for name in labels:
        selector = chart.one("Deployment", name)["spec"]["selector"]["matchLabels"]
        matching = [other for other, found in labels.items() if selector.items() <= found.items()]
        assert matching == [name]


def test_selectors_hold_nothing_that_changes_with_the_version(chart: Rendered) -> None:
    for name, _ in chart.pods():
        selector = chart.one("Deployment", name)["spec"]["selector"]["matchLabels"]
        assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/component"}


def test_images_have_the_version_of_this_package_by_default(chart: Rendered) -> None:
    assert chart.container(OPERATOR)["image"] == f"mtls-operator.dev/operator:{mtls_operator.__version__}"
    assert chart.container(WEBHOOK)["image"] == chart.container(OPERATOR)["image"]
    proxy = chart.environment(WEBHOOK)["MTLS_PROXY_IMAGE"]
    assert proxy == f"mtls-operator.dev/proxy:{mtls_operator.__version__}"


def test_images_can_be_replaced_and_pinned_by_digest(render: Render) -> None:
    digest = f"1.2@sha256:{'0' * 64}"
    rendered = render(
        *("--set", f"image.repository=registry.example:5000/op,image.tag={digest},image.pullPolicy=Always"),
        *(
            "--set",
            "proxy.image.repository=registry.example/proxy,proxy.image.tag=x,proxy.image.pullPolicy=Never",
        ),
    )
    for name in (OPERATOR, WEBHOOK):
        assert rendered.container(name)["image"] == f"registry.example:5000/op:{digest}"
        assert rendered.container(name)["imagePullPolicy"] == "Always"
    assert rendered.environment(WEBHOOK)["MTLS_PROXY_IMAGE"] == "registry.example/proxy:x"
    assert rendered.environment(WEBHOOK)["MTLS_PROXY_PULL_POLICY"] == "Never"


def test_the_operator_understands_every_variable_that_the_chart_sets(render: Render) -> None:
    rendered = render(
        *("--set", "clusterDomain=cluster.example,log.format=console,log.level=debug"),
        *("--set", "crl.enabled=true,crl.url=http://crl.example.com"),
        *("--set", "rotation.reissueSeconds=86400,quota.maxCertificates=2000000"),
        namespace="security",
    )
    environment = rendered.environment(OPERATOR)
    known = {f"MTLS_{field.upper()}" for field in operator_settings.Settings.__dataclass_fields__}
    assert environment.keys() <= known
    read = operator_settings.from_environ(environment | {"MTLS_OPERATOR_NAMESPACE": "security"})
    assert read == operator_settings.Settings(
        operator_namespace="security",
        cluster_domain="cluster.example",
        log_format="console",
        log_level="debug",
        crl_port=8083,
        crl_url="http://crl.example.com",
        reissue_seconds=86_400,
        max_certificates=2_000_000,
    )


def test_without_a_quota_there_is_none_and_nought_is_one(chart: Rendered, render: Render) -> None:
    assert "MTLS_MAX_CERTIFICATES" not in chart.environment(OPERATOR)
    assert operator_settings.Settings().max_certificates is None
    rendered = render("--set", "quota.maxCertificates=0")
    assert operator_settings.from_environ(rendered.environment(OPERATOR)).max_certificates == 0


def test_certificates_are_issued_anew_within_the_time_of_the_operators_own_default(chart: Rendered) -> None:
    read = operator_settings.from_environ(chart.environment(OPERATOR))
    assert read.reissue_seconds == operator_settings.Settings().reissue_seconds


def test_the_operator_learns_its_namespace_from_its_pod(chart: Rendered) -> None:
    (entry,) = (
        entry for entry in chart.container(OPERATOR)["env"] if entry["name"] == "MTLS_OPERATOR_NAMESPACE"
    )
    assert entry["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_the_webhook_understands_every_variable_that_the_chart_sets(render: Render) -> None:
    rendered = render(
        *("--set", "proxy.concurrency=3,proxy.resources.limits.cpu=2,proxy.resources.limits.memory=1Gi"),
        *("--set", "proxy.resources.requests.cpu=20m,proxy.resources.requests.memory=64Mi"),
    )
    environment = rendered.environment(WEBHOOK)
    read = webhook_settings.from_environ(environment).inject
    assert (read.concurrency, read.cpu_request, read.cpu_limit) == (3, "20m", "2")
    assert (read.memory_request, read.memory_limit) == ("64Mi", "1Gi")
    for variable in environment.keys() - {"MTLS_LOG_FORMAT", "MTLS_LOG_LEVEL"}:
        # A variable that is unknown would make no difference; one that is known does not take this.
        with pytest.raises(webhook_settings.InvalidWebhookSettings):
            webhook_settings.from_environ(environment | {variable: "- not / a value"})


def test_sidecars_have_the_defaults_of_the_webhook_itself(chart: Rendered) -> None:
    environment = chart.environment(WEBHOOK)
    by_chart = webhook_settings.from_environ(environment)
    image = {"MTLS_PROXY_IMAGE": environment["MTLS_PROXY_IMAGE"]}
    assert by_chart == webhook_settings.from_environ(image)


def test_ports_are_those_that_the_programs_listen_on(chart: Rendered) -> None:
    def ports(name: str) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in chart.container(name)["ports"]}

    defaults = operator_settings.Settings()
    assert ports(OPERATOR) == {
        "discovery": names.DISCOVERY_PORT,
        "health": defaults.health_port,
        "metrics": defaults.metrics_port,
    }
    webhook = webhook_settings.from_environ(chart.environment(WEBHOOK))
    assert ports(WEBHOOK) == {"https": webhook.port}


def test_lists_have_a_port_and_a_service_only_where_they_are_served(render: Render, chart: Rendered) -> None:
    assert "mtls-operator-crl" not in chart.names("Service")
    assert "MTLS_CRL_PORT" not in chart.environment(OPERATOR)
    rendered = render("--set", "crl.enabled=true")
    (port,) = rendered.one("Service", "mtls-operator-crl")["spec"]["ports"]
    (bound,) = (one for one in rendered.container(OPERATOR)["ports"] if one["name"] == port["targetPort"])
    assert str(bound["containerPort"]) == rendered.environment(OPERATOR)["MTLS_CRL_PORT"] == str(port["port"])


def test_the_webhook_waits_for_its_certificate(chart: Rendered) -> None:
    (volume,) = chart.one("Deployment", WEBHOOK)["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"] == {"secretName": names.WEBHOOK_SECRET, "defaultMode": 0o440}
    (mount,) = chart.container(WEBHOOK)["volumeMounts"]
    webhook = webhook_settings.from_environ(chart.environment(WEBHOOK))
    assert Path(mount["mountPath"]) == webhook.tls_directory
    assert mount["readOnly"] is True
    assert "subPath" not in mount, "a subPath mount never sees a renewed certificate"


def test_pods_outlive_the_end_of_what_they_are_doing(chart: Rendered) -> None:
    webhook = webhook_settings.from_environ(chart.environment(WEBHOOK))
    grace = chart.one("Deployment", WEBHOOK)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > webhook.drain_seconds + webhook.shutdown_seconds


@pytest.mark.parametrize("component", ["operator", "webhook"])
def test_scheduling_values_reach_the_pods(render: Render, component: str) -> None:
    values: dict[str, Any] = {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"operator": "Exists"}],
    }
    arguments = (
        *("--set-json", f'{component}.tolerations=[{{"operator":"Exists"}}]'),
        *("--set", f"{component}.nodeSelector.disk=fast"),
        *("--set", f"{component}.priorityClassName=system-cluster-critical"),
        *("--set", f"{component}.podLabels.team=x,{component}.podAnnotations.note=y"),
    )
    name = {"operator": OPERATOR, "webhook": WEBHOOK}[component]
    template = render(*arguments).one("Deployment", name)["spec"]["template"]
    assert {key: template["spec"][key] for key in values} == values
    assert template["metadata"]["labels"]["team"] == "x"
    assert template["metadata"]["annotations"]["note"] == "y"
