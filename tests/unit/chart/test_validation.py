"""The configuration of the validating webhook, and the policy of the finalizer: whom they hold up, and whom never."""

from __future__ import annotations

import re

import pytest
from chart_rendering import Document, Render, Rendered

from mtls_operator.api import names
from mtls_operator.plan import admission
from mtls_operator.webhook import server
from mtls_operator.webhook.settings import WebhookSettings
from mtls_operator.webhook.validation import KINDS

POLICY = "mtls-operator-finalizer"


@pytest.fixture
def webhooks(chart: Rendered) -> list[Document]:
    configuration = chart.one("ValidatingWebhookConfiguration", names.WEBHOOK_CONFIGURATION)
    found: list[Document] = configuration["webhooks"]
    return found


def conditions(webhook: Document) -> dict[str, str]:
    return {condition["name"]: condition["expression"] for condition in webhook["matchConditions"]}


def test_each_of_our_kinds_is_checked_when_it_is_created_and_changed(webhooks: list[Document]) -> None:
    asked = [rule for webhook in webhooks for rule in webhook["rules"]]
    resources = {
        (group, version, resource)
        for rule in asked
        for group in rule["apiGroups"]
        for version in rule["apiVersions"]
        for resource in rule["resources"]
    }
    assert resources == set(KINDS)
    assert all(rule["operations"] == ["CREATE", "UPDATE"] for rule in asked)
    assert len({webhook["name"] for webhook in webhooks}) == len(webhooks) == len(KINDS)


def test_nothing_of_the_cluster_depends_on_it(webhooks: list[Document]) -> None:
    """Objects of our own kinds alone are asked about, and they are stored where nobody answers."""
    for webhook in webhooks:
        assert {rule["apiGroups"][0] for rule in webhook["rules"]} == {names.GROUP}
        assert webhook["failurePolicy"] == "Ignore"


def test_a_change_that_leaves_the_spec_alone_is_never_held_up(webhooks: list[Document]) -> None:
    for webhook in webhooks:
        found = conditions(webhook)
        assert found["spec-is-new"] == "request.operation == 'CREATE' || object.spec != oldObject.spec"
        assert found["not-being-deleted"] == "!has(object.metadata.deletionTimestamp)"


def test_certificates_that_the_schema_decides_about_are_not_asked_about(webhooks: list[Document]) -> None:
    with_condition = [webhook["name"] for webhook in webhooks if "not-plain" in conditions(webhook)]
    assert with_condition == ["clientcertificates.mtls-operator.dev"]


def test_both_sides_mean_the_same_by_a_plain_certificate(webhooks: list[Document]) -> None:
    (expression,) = (
        conditions(webhook)["not-plain"] for webhook in webhooks if "not-plain" in conditions(webhook)
    )
    fields = re.search(r"field in \[([^]]*)\]", expression)
    assert fields is not None
    assert set(re.findall(r"'([a-zA-Z]+)'", fields[1])) == admission._PLAIN_FIELDS
    assert set(re.findall(r"matches\('\^(.*?)\$'\)", expression)) == {admission._PLAIN_TEXT.pattern}
    subject = {"commonName", *re.findall(r"'([a-z][a-zA-Z]+)'", expression.split("&& [", 1)[1])}
    assert subject == {
        "commonName",
        "organizations",
        "organizationalUnits",
        "countries",
        "localities",
        "provinces",
    }


def test_a_dry_run_is_checked_too(webhooks: list[Document]) -> None:
    assert {webhook["sideEffects"] for webhook in webhooks} == {"None"}


def test_kubectl_never_waits_for_long(webhooks: list[Document]) -> None:
    """And the webhook says that it is busy before the API server gives up."""
    settings = WebhookSettings.__dataclass_fields__["validation_seconds"]
    for webhook in webhooks:
        assert settings.default < webhook["timeoutSeconds"] <= 3


def test_the_api_server_finds_it_and_trusts_whom_the_operator_says(
    webhooks: list[Document], render: Render
) -> None:
    for webhook in webhooks:
        assert webhook["clientConfig"] == {
            "service": {
                "name": names.WEBHOOK_SERVICE,
                "namespace": names.OPERATOR_NAMESPACE,
                "path": server.VALIDATE_PATH,
                "port": 443,
            }
        }
    moved = render(namespace="security").one("ValidatingWebhookConfiguration", names.WEBHOOK_CONFIGURATION)
    assert {entry["clientConfig"]["service"]["namespace"] for entry in moved["webhooks"]} == {"security"}


@pytest.fixture
def policy(chart: Rendered) -> Document:
    spec: Document = chart.one("ValidatingAdmissionPolicy", POLICY)["spec"]
    return spec


def test_the_policy_is_about_our_finalizer_and_its_removal_alone(policy: Document) -> None:
    (condition,) = policy["matchConditions"]
    assert condition["expression"] == (
        f"'{names.FINALIZER}' in oldObject.metadata.?finalizers.orValue([]) "
        f"&& !('{names.FINALIZER}' in object.metadata.?finalizers.orValue([]))"
    )
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert rule["operations"] == ["UPDATE"]
    assert rule["resources"] == [names.CERTIFICATE_PLURAL, f"{names.CERTIFICATE_PLURAL}/status"]


def test_the_policy_asks_for_a_right_and_for_no_name(policy: Document) -> None:
    """The operator has it by its role, an administrator of the cluster by having every right."""
    (validation,) = policy["validations"]
    assert ".check('release').allowed()" in validation["expression"]
    assert "userInfo" not in validation["expression"]


def test_the_policy_holds_while_it_cannot_be_evaluated(policy: Document) -> None:
    assert policy["failurePolicy"] == "Fail"
