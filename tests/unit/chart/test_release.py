"""The chart as a whole: names, namespaces, versions, monitoring."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from chart_rendering import Render, Rendered

from mtls_operator.api import names

ROOT = Path(__file__).resolve().parents[3]
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((ROOT / "charts/mtls-operator/Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == project["version"]


def test_names_do_not_depend_on_the_release(render: Render) -> None:
    assert render(release="other").documents == render().documents


def test_services_have_the_names_that_certificates_and_sidecars_rely_on(chart: Rendered) -> None:
    assert {names.DISCOVERY_SERVICE, names.WEBHOOK_SERVICE} <= chart.names("Service")


def test_everything_with_a_namespace_is_in_the_releases(render: Render) -> None:
    for document in render(namespace="security").documents:
        expected = None if document["kind"] in CLUSTER_WIDE else "security"
        assert document["metadata"].get("namespace") == expected, document["metadata"]["name"]


def test_no_object_of_the_chart_looks_as_if_the_operator_had_written_it(chart: Rendered) -> None:
    for document in chart.documents:
        assert document["metadata"]["labels"][names.MANAGED_BY_LABEL] != names.MANAGED_BY


def test_the_chart_brings_no_key_material(chart: Rendered) -> None:
    assert chart.of_kind("Secret") == []


def test_monitoring_is_off_where_nobody_asked_for_it(chart: Rendered) -> None:
    assert chart.of_kind("ServiceMonitor") == []


def test_a_service_monitor_selects_the_metrics_service_alone(render: Render) -> None:
    rendered = render(
        "--set", "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prom"
    )
    monitor = rendered.one("ServiceMonitor", "mtls-operator")
    assert monitor["metadata"]["labels"]["release"] == "prom"
    selector = monitor["spec"]["selector"]["matchLabels"]
    services = [
        service
        for service in rendered.of_kind("Service")
        if selector.items() <= service["metadata"]["labels"].items()
    ]
    assert [service["metadata"]["name"] for service in services] == ["mtls-operator-metrics"]
    assert [port["name"] for port in services[0]["spec"]["ports"]] == [
        monitor["spec"]["endpoints"][0]["port"]
    ]
