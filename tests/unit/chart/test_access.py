"""Who may do what: RBAC, network policies, and the roles for users."""

from __future__ import annotations

import json
from typing import Any

from chart_rendering import Render, Rendered

from mtls_operator.api import names
from mtls_operator.controller.settings import from_environ

OPERATOR = "mtls-operator"
WEBHOOK = "mtls-operator-webhook"
KINDS = {names.HOST_PLURAL, names.CERTIFICATE_PLURAL, names.RULE_PLURAL}
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def test_no_rule_has_a_wildcard(chart: Rendered) -> None:
    for role, rule in chart.rules():
        for field in ("apiGroups", "resources", "verbs"):
            assert "*" not in "".join(rule[field]), f"{role}: {rule}"


def test_nobody_may_write_pods_or_run_something_in_them(chart: Rendered) -> None:
    for role, rule in chart.rules():
        pods = {resource for resource in rule["resources"] if resource.split("/")[0] == "pods"}
        assert pods <= {"pods"}, role
        assert not pods or not WRITES & set(rule["verbs"]), role


def test_nobody_may_change_or_lend_rights(chart: Rendered) -> None:
    for role, rule in chart.rules():
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"], role
        assert not {"bind", "escalate", "impersonate", "approve", "sign"} & set(rule["verbs"]), role
        assert "serviceaccounts/token" not in rule["resources"], role


def test_the_operator_writes_the_two_webhook_configurations_alone_of_what_is_cluster_wide(
    chart: Rendered,
) -> None:
    configurations = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
    cluster_wide = {*configurations, "namespaces", "customresourcedefinitions", "nodes"}
    for rule in chart.one("ClusterRole", OPERATOR)["rules"]:
        if cluster_wide & set(rule["resources"]) and WRITES & set(rule["verbs"]):
            assert rule["resources"] == configurations
            assert rule["resourceNames"] == [names.WEBHOOK_CONFIGURATION]
            assert rule["verbs"] == ["get", "patch"]


def test_the_operator_changes_of_a_users_object_only_status_and_the_finalizer(chart: Rendered) -> None:
    granted = {
        (resource, verb)
        for rule in chart.one("ClusterRole", OPERATOR)["rules"]
        if rule["apiGroups"] == [names.GROUP]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb in WRITES
    }
    assert granted == {(f"{kind}/status", "patch") for kind in KINDS} | {(names.CERTIFICATE_PLURAL, "patch")}


def test_the_operator_may_do_what_its_work_needs_and_nothing_else(chart: Rendered) -> None:
    granted = {
        (group, resource, verb)
        for role, rule in chart.rules()
        if role == OPERATOR
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    watch = {"get", "list", "watch"}
    own = {"create", "patch", "delete"}
    expected = {
        **{(names.GROUP, kind): watch for kind in KINDS},
        **{(names.GROUP, f"{kind}/status"): {"patch"} for kind in KINDS},
        (names.GROUP, names.CERTIFICATE_PLURAL): {*watch, "patch", "release"},
        ("", "pods"): watch,
        ("", "namespaces"): watch,
        ("", "secrets"): {*watch, *own, "update"},
        ("", "configmaps"): {*watch, *own, "update"},
        ("networking.k8s.io", "networkpolicies"): watch | own,
        ("", "events"): {"create"},
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): {"get", "patch"},
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): {"get", "patch"},
    }
    assert granted == {
        (group, resource, verb) for (group, resource), verbs in expected.items() for verb in verbs
    }


def test_the_webhook_has_no_right_and_no_token(chart: Rendered) -> None:
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in chart.of_kind(kind):
            assert [subject["name"] for subject in binding["subjects"]] == [OPERATOR]
    assert chart.one("ServiceAccount", WEBHOOK)["automountServiceAccountToken"] is False
    pod = chart.one("Deployment", WEBHOOK)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == WEBHOOK
    assert pod["automountServiceAccountToken"] is False


def test_a_token_is_mounted_only_where_it_is_asked_for(chart: Rendered) -> None:
    assert chart.one("ServiceAccount", OPERATOR)["automountServiceAccountToken"] is False
    pod = chart.one("Deployment", OPERATOR)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == OPERATOR
    assert pod["automountServiceAccountToken"] is True


def test_bindings_name_the_service_account_of_the_releases_namespace(render: Render) -> None:
    rendered = render(namespace="security")
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in rendered.of_kind(kind):
            assert [subject["namespace"] for subject in binding["subjects"]] == ["security"]


def test_viewers_read_and_editors_write_but_nobody_forges_a_status(chart: Rendered) -> None:
    view = chart.one("ClusterRole", "mtls-operator-view")
    edit = chart.one("ClusterRole", "mtls-operator-edit")
    assert [set(rule["verbs"]) for rule in view["rules"]] == [{"get", "list", "watch"}]
    assert [set(rule["verbs"]) for rule in edit["rules"]] == [WRITES]
    for role in (view, edit):
        assert [set(rule["resources"]) for rule in role["rules"]] == [KINDS]
        assert [rule["apiGroups"] for rule in role["rules"]] == [[names.GROUP]]


def test_only_the_operator_is_given_the_right_to_release_a_certificate(chart: Rendered) -> None:
    """G3: whoever takes the finalizer off while the operator is away leaves a certificate that nothing names."""
    assert {role for role, rule in chart.rules() if "release" in rule["verbs"]} == {OPERATOR}


def test_the_clusters_own_roles_take_ours_in(chart: Rendered) -> None:
    def aggregated(name: str) -> set[str]:
        labels = chart.one("ClusterRole", name)["metadata"]["labels"]
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        return {label.removeprefix(prefix) for label in labels if label.startswith(prefix)}

    assert aggregated("mtls-operator-view") == {"view", "edit", "admin"}
    assert aggregated("mtls-operator-edit") == {"edit", "admin"}
    assert aggregated(OPERATOR) == set()


def test_the_webhook_can_reach_nobody(chart: Rendered) -> None:
    policy = chart.one("NetworkPolicy", WEBHOOK)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert policy["ingress"] == [{"ports": [{"port": "https", "protocol": "TCP"}]}]


def test_the_operator_is_reached_by_sidecars_and_scrapers_alone(chart: Rendered) -> None:
    policy = chart.one("NetworkPolicy", OPERATOR)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [
        ["discovery"],
        ["metrics"],
    ]


def test_the_operator_reaches_the_api_server_names_status_ports_and_the_webhook_alone(render: Render) -> None:
    rendered = render("--set", "networkPolicy.apiServerPorts={16443}")
    policy = rendered.one("NetworkPolicy", OPERATOR)["spec"]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[16443], [53, 53], [names.STATUS_PORT], ["https"]]
    (webhook,) = policy["egress"][-1]["to"]
    assert webhook == {"podSelector": rendered.one("Deployment", WEBHOOK)["spec"]["selector"]}


def test_metrics_can_be_kept_to_some(render: Render) -> None:
    peer = '[{"podSelector":{"matchLabels":{"app":"prometheus"}}}]'
    rendered = render("--set-json", f"networkPolicy.metricsFrom={peer}")
    (_, metrics) = rendered.one("NetworkPolicy", OPERATOR)["spec"]["ingress"]
    assert metrics["from"] == [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]


def test_the_operator_is_told_who_may_read_the_metrics_of_sidecars(render: Render) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    rendered = render("--set-json", f"proxy.metricsFrom={json.dumps([peer])}")
    (container,) = rendered.one("Deployment", OPERATOR)["spec"]["template"]["spec"]["containers"]
    environ = {each["name"]: each.get("value", "") for each in container["env"]}
    assert from_environ(environ).proxy_metrics_from == (peer,)


def test_network_policies_select_the_pods_of_their_component(chart: Rendered) -> None:
    for name in (OPERATOR, WEBHOOK):
        policy = chart.one("NetworkPolicy", name)["spec"]
        assert policy["podSelector"] == chart.one("Deployment", name)["spec"]["selector"]


def test_network_policies_can_be_left_out(render: Render) -> None:
    assert render("--set", "networkPolicy.enabled=false").of_kind("NetworkPolicy") == []


def test_lists_can_be_closed_to_all_but_some(render: Render, chart: Rendered) -> None:
    def may_read(rendered: Rendered) -> list[Any]:
        ingress = rendered.one("NetworkPolicy", "mtls-operator")["spec"]["ingress"]
        return [rule["from"] for rule in ingress if rule["ports"][0]["port"] == "crl"]

    peer = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert may_read(chart) == []
    assert may_read(render("--set", "crl.enabled=true")) == [[{"namespaceSelector": {}}]]
    rendered = render("--set", "crl.enabled=true", "--set-json", f"crl.from={json.dumps(peer)}")
    assert may_read(rendered) == [peer]
