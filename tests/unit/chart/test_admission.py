"""The webhook's configuration: which pods it holds up, and what an upgrade leaves alone (G1)."""

from __future__ import annotations

import pytest
from chart_rendering import Document, Render, Rendered

from mtls_operator.api import names
from mtls_operator.webhook import server

OPERATOR = "mtls-operator"
WEBHOOK = "mtls-operator-webhook"


@pytest.fixture
def webhook(chart: Rendered) -> Document:
    configuration = chart.one("MutatingWebhookConfiguration", names.WEBHOOK_CONFIGURATION)
    webhooks: list[Document] = configuration["webhooks"]
    assert len(webhooks) == 1
    return webhooks[0]


def test_a_labelled_pod_is_refused_while_the_webhook_does_not_answer(webhook: Document) -> None:
    assert webhook["failurePolicy"] == "Fail"


def test_no_value_opens_the_webhook(chart: Rendered, render: Render) -> None:
    everything = render("--set", "webhook.replicas=1,webhook.timeoutSeconds=30")
    (webhook,) = everything.one("MutatingWebhookConfiguration", names.WEBHOOK_CONFIGURATION)["webhooks"]
    (default,) = chart.one("MutatingWebhookConfiguration", names.WEBHOOK_CONFIGURATION)["webhooks"]
    assert {key for key in webhook if webhook[key] != default[key]} == {"timeoutSeconds"}


def test_pods_without_the_label_never_wait_for_the_webhook(webhook: Document) -> None:
    assert webhook["objectSelector"] == {
        "matchExpressions": [{"key": names.HOST_LABEL, "operator": "Exists"}],
    }


def test_only_created_pods_are_asked_about(webhook: Document) -> None:
    (rule,) = webhook["rules"]
    assert (rule["operations"], rule["resources"], rule["scope"]) == (["CREATE"], ["pods"], "Namespaced")


@pytest.mark.parametrize(
    ("namespace", "excluded"),
    [("mtls-system", ["kube-system", "mtls-system"]), ("kube-system", ["kube-system"])],
)
def test_neither_our_own_namespace_nor_the_clusters_depends_on_the_webhook(
    render: Render, namespace: str, excluded: list[str]
) -> None:
    (webhook,) = render(namespace=namespace).one("MutatingWebhookConfiguration", OPERATOR)["webhooks"]
    (expression,) = webhook["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": excluded}


def test_an_upgrade_does_not_touch_the_bundle_that_the_operator_wrote(webhook: Document) -> None:
    assert "caBundle" not in webhook["clientConfig"]


def test_the_webhook_has_no_side_effects_and_is_asked_again_after_others(webhook: Document) -> None:
    assert webhook["sideEffects"] == "None"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["admissionReviewVersions"] == ["v1"]
    assert webhook["timeoutSeconds"] == 5


def test_the_api_server_finds_the_webhook(chart: Rendered, webhook: Document) -> None:
    target = webhook["clientConfig"]["service"]
    assert target == {
        "name": names.WEBHOOK_SERVICE,
        "namespace": names.OPERATOR_NAMESPACE,
        "path": server.MUTATE_PATH,
        "port": 443,
    }
    service = chart.one("Service", target["name"])["spec"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(443, "https")]
    assert service["selector"] == chart.one("Deployment", WEBHOOK)["spec"]["selector"]["matchLabels"]


def test_sidecars_find_the_operator_as_soon_as_its_pod_runs(chart: Rendered) -> None:
    service = chart.one("Service", names.DISCOVERY_SERVICE)["spec"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [
        (names.DISCOVERY_PORT, "discovery"),
    ]
    assert service["publishNotReadyAddresses"] is True
    assert service["selector"] == chart.one("Deployment", OPERATOR)["spec"]["selector"]["matchLabels"]


def test_the_admission_policy_accepts_the_image_that_the_webhook_injects(render: Render) -> None:
    rendered = render("--set", "proxy.image.repository=registry.example/proxy,proxy.image.tag=dev")
    image = rendered.environment(WEBHOOK)["MTLS_PROXY_IMAGE"]
    policy = rendered.one("ValidatingAdmissionPolicy", "mtls-operator-sidecar")["spec"]
    assert any(f'== "{image}"' in validation["expression"] for validation in policy["validations"])


def test_every_admission_policy_denies_and_fails_closed(chart: Rendered) -> None:
    policies = chart.of_kind("ValidatingAdmissionPolicy")
    bindings = chart.of_kind("ValidatingAdmissionPolicyBinding")
    assert policies
    assert all(policy["spec"]["failurePolicy"] == "Fail" for policy in policies)
    assert {binding["spec"]["policyName"] for binding in bindings} == {
        policy["metadata"]["name"] for policy in policies
    }
    assert all("Deny" in binding["spec"]["validationActions"] for binding in bindings)
