from __future__ import annotations

import json

import pytest

from mtls_operator.controller.settings import Settings, SettingsError, from_environ


def test_without_variables_everything_has_a_default() -> None:
    assert from_environ({}) == Settings()


def test_each_field_is_read_from_its_variable() -> None:
    settings = from_environ(
        {"MTLS_OPERATOR_NAMESPACE": "ops", "MTLS_WORKERS": "3", "MTLS_LOG_FORMAT": "console"}
    )
    assert (settings.operator_namespace, settings.workers, settings.log_format) == ("ops", 3, "console")


def test_an_empty_variable_counts_as_missing() -> None:
    assert from_environ({"MTLS_OPERATOR_NAMESPACE": " ", "MTLS_WORKERS": ""}) == Settings()


def test_the_discovery_host_is_the_full_name_of_the_service() -> None:
    settings = from_environ({"MTLS_OPERATOR_NAMESPACE": "ops", "MTLS_CLUSTER_DOMAIN": "example.org"})
    assert settings.discovery_host == "mtls-operator.ops.svc.example.org"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MTLS_WORKERS", "many"), ("MTLS_LOG_FORMAT", "xml"), ("MTLS_LOG_LEVEL", "chatty")],
)
def test_a_value_that_does_not_fit_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        from_environ({variable: value})


def test_peers_that_read_metrics_are_a_json_list() -> None:
    peers = (
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "p"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    )
    assert from_environ({"MTLS_PROXY_METRICS_FROM": json.dumps(peers)}).proxy_metrics_from == peers


@pytest.mark.parametrize(
    "text",
    [
        "prometheus",
        "{}",
        "[{}]",
        "[1]",
        '[{"podSelector": null}]',
        '[{"podselector": {}}]',
        '[{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]',
    ],
)
def test_a_peer_that_the_api_server_would_refuse_is_refused_at_the_start(text: str) -> None:
    """It would hold back the policy, and with it every host."""
    with pytest.raises(SettingsError, match="MTLS_PROXY_METRICS_FROM"):
        from_environ({"MTLS_PROXY_METRICS_FROM": text})


def test_lists_are_not_served_unless_a_port_is_set() -> None:
    assert from_environ({}).crl_port == 0
    assert from_environ({"MTLS_CRL_PORT": "0"}).crl_port == 0
    assert from_environ({"MTLS_CRL_PORT": "8083"}).crl_port == 8083


@pytest.mark.parametrize(
    "url", ["http://crl.example.com", "http://crl.example.com/", "http://[fd00::1]:80/a/b"]
)
def test_the_list_of_a_ca_is_below_the_base_url(url: str) -> None:
    settings = from_environ({"MTLS_CRL_URL": url})
    assert settings.crl_url_of("shop", 2) == f"{url.rstrip('/')}/crl/shop/2.crl"


def test_without_a_base_url_certificates_name_no_list() -> None:
    assert from_environ({}).crl_url_of("shop", 1) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://crl.example.com",
        "crl.example.com",
        "http://",
        "http://a/b?c=1",
        "http://a b",
        "http://u@a/",
        "http://a/%41",
    ],
)
def test_a_base_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    """An https URL would need a list to be checked itself (RFC 5280, 8)."""
    with pytest.raises(SettingsError, match="MTLS_CRL_URL"):
        from_environ({"MTLS_CRL_URL": url})
