from __future__ import annotations

import copy
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.plan.objects import (
    Owner,
    config_map,
    content_of,
    differs,
    metadata,
    network_policy,
    secret,
    secret_value,
)

OWNER = Owner(names.API_VERSION, names.HOST_KIND, "api", "uid-1")


def _wanted() -> dict[str, Any]:
    return config_map(metadata("shop", "mtls-host-api", role="host", owner=OWNER), {"a": "1", "b": "2"})


def test_a_missing_object_differs() -> None:
    assert differs(_wanted(), None)


def test_the_same_content_does_not_differ() -> None:
    assert not differs(_wanted(), content_of(_wanted()))


def test_what_others_add_does_not_differ() -> None:
    found = copy.deepcopy(_wanted())
    found["data"]["theirs"] = "x"
    found["metadata"]["labels"]["team"] = "payments"
    found["metadata"]["annotations"] = {"note": "x"}
    found["metadata"]["resourceVersion"] = "5"
    assert not differs(_wanted(), content_of(found))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("data", "a", "other"), ("data", "a", None), ("labels", names.MANAGED_BY_LABEL, None)],
)
def test_what_others_change_of_ours_differs(section: str, key: str, value: str | None) -> None:
    found = copy.deepcopy(_wanted())
    target = found["data"] if section == "data" else found["metadata"]["labels"]
    if value is None:
        del target[key]
    else:
        target[key] = value
    assert differs(_wanted(), content_of(found))


def test_an_owner_that_was_taken_away_differs() -> None:
    found = copy.deepcopy(_wanted())
    del found["metadata"]["ownerReferences"]
    assert differs(_wanted(), content_of(found))


def test_the_digest_of_a_secret_does_not_show_it() -> None:
    body = secret(metadata("shop", "s", role="server"), {"tls.key": Secret(b"hunter2")})
    assert "hunter2" not in str(content_of(body))
    assert body["data"]["tls.key"] not in str(content_of(body))


@pytest.mark.parametrize("value", [None, 5, "not base64!", "YQ"])
def test_a_secret_value_that_is_none_is_none(value: Any) -> None:
    assert secret_value({"data": {"k": value}}, "k") is None


def test_a_secret_value_is_decoded() -> None:
    assert secret_value({"data": {"k": "YQ=="}}, "k") == b"a"


def test_the_policy_opens_the_sidecar_and_the_allowed_ports_to_everybody_and_nothing_else() -> None:
    policy = network_policy(
        metadata("shop", "p", role="host"), host="api", operator_namespace="ops", allowed_ports=[9100, 7000]
    )
    everybody = [rule for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert [port["port"] for rule in everybody for port in rule["ports"]] == [names.TLS_PORT, 7000, 9100]
    assert policy["spec"]["podSelector"] == {"matchLabels": {names.HOST_LABEL: "api"}}


def test_the_status_port_is_open_to_the_operator_alone() -> None:
    policy = network_policy(
        metadata("shop", "p", role="host"), host="api", operator_namespace="ops", allowed_ports=[]
    )
    (restricted,) = [rule for rule in policy["spec"]["ingress"] if "from" in rule]
    assert [port["port"] for port in restricted["ports"]] == [names.STATUS_PORT]
    assert restricted["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ops"}
    assert "podSelector" in restricted["from"][0]


def test_the_status_port_is_open_to_those_who_read_metrics_too() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    policy = network_policy(
        metadata("shop", "p", role="host"),
        host="api",
        operator_namespace="ops",
        allowed_ports=[],
        metrics_from=[peer],
    )
    (restricted,) = [rule for rule in policy["spec"]["ingress"] if "from" in rule]
    assert [port["port"] for port in restricted["ports"]] == [names.STATUS_PORT]
    assert restricted["from"][1:] == [peer]
