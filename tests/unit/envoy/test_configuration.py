"""Properties of the generated configuration that must never get lost."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.envoy import Placement, ProxyConfig, bootstrap, host_files, listener, version_of

CONFIG = ProxyConfig(
    host="api",
    upstream_port=8080,
    protocol="HTTP1",
    min_tls="1.2",
    max_connection_age=3600,
    discovery_host="mtls-operator.mtls-system.svc",
    discovery_port=18000,
    discovery_server_name="mtls-operator.mtls-system.svc",
)


def chain(config: ProxyConfig = CONFIG) -> dict[str, Any]:
    (resource,) = json.loads(listener(config))["resources"]
    (only,) = resource["filter_chains"]
    return dict(only)


def manager(config: ProxyConfig = CONFIG) -> dict[str, Any]:
    return dict(chain(config)["filters"][-1]["typed_config"])


def test_tls_asks_for_a_certificate_and_never_resumes() -> None:
    tls = chain()["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is False
    assert tls["disable_stateless_session_resumption"] is True
    assert tls["disable_stateful_session_resumption"] is True


def test_connections_are_numbered_before_any_request() -> None:
    numbering, http = chain()["filters"]
    assert http["name"] == "http"
    (number,) = numbering["typed_config"]["on_new_connection"]
    assert number["object_key"] == "mtls.connection"
    assert number["format_string"] == {"text_format_source": {"inline_string": "%CONNECTION_ID%"}}


def test_the_gate_is_behind_the_scripts_and_before_the_router() -> None:
    order = [each["name"] for each in manager()["http_filters"]]
    assert order == ["mtls-revocation", "mtls-rules", "mtls-gate", "router"]


@pytest.mark.parametrize("filter_name", [names.REVOCATION_FILTER, names.RULES_FILTER])
def test_a_script_falls_back_to_the_mounted_file(filter_name: str) -> None:
    (found,) = [each for each in manager()["http_filters"] if each["name"] == filter_name]
    source = found["config_discovery"]["default_config"]["default_source_code"]["filename"]
    assert source in {"/etc/mtls/host/rules.lua", "/etc/mtls/revocation/revocation.lua"}


def test_the_age_bounds_connections_and_streams() -> None:
    options = manager(replace(CONFIG, max_connection_age=90))["common_http_protocol_options"]
    assert (options["max_connection_duration"], options["max_stream_duration"]) == ("90s", "90s")


def test_the_clients_own_word_about_a_certificate_is_replaced_natively() -> None:
    assert manager()["forward_client_cert_details"] == "SANITIZE_SET"
    assert manager()["common_http_protocol_options"]["headers_with_underscores_action"] == "DROP_HEADER"


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("client-cert", True),
        ("client.cert", True),
        ("client-cert-chain", True),
        ("client~cert-chain", True),
        ("x-forwarded-client-cert", True),
        ("x-forwarded-client-cert-chain", True),
        ("cf-client-cert", True),
        ("cf-client-cert-der-base64", True),
        ("cf|client!cert.sha256", True),
        ("x-original-url", True),
        ("x.rewrite'url", True),
        (":path", False),
        ("host", False),
        ("client-certificate", False),
        ("x-client-cert", False),
        ("ssl-client-cert", False),
        ("x-forwarded-for", False),
        ("cf-connecting-ip", False),
        ("x-original-uri", False),
    ],
)
@pytest.mark.parametrize("where", ["headers", "trailers"])
def test_a_header_is_removed_when_it_can_be_read_as_one_of_ours(
    name: str,
    removed: bool,  # noqa: FBT001 - a parameter of the test
    where: str,
) -> None:
    settings = manager(replace(CONFIG, protocol="HTTP2"))
    (early,) = settings["early_header_mutation_extensions"]
    (late,) = [each for each in settings["http_filters"] if each["name"] == "mtls-trailers"]
    mutations = {
        "headers": early["typed_config"]["mutations"],
        "trailers": late["typed_config"]["mutations"]["request_trailers_mutations"],
    }
    (mutation,) = mutations[where]
    regex = mutation["remove_on_match"]["key_matcher"]["safe_regex"]["regex"]
    assert (re.fullmatch(regex, name) is not None) is removed


def test_the_admin_interface_is_a_socket_of_the_owner() -> None:
    address = json.loads(bootstrap(CONFIG))["admin"]["address"]
    assert address == {"pipe": {"path": "/run/mtls/admin.sock", "mode": 0o600}}


def test_the_listener_version_changes_with_every_setting_of_the_listener() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"protocol": "HTTP2"},
        {"min_tls": "1.3"},
        {"max_connection_age": 60},
    ]
    versions = {version_of(listener(replace(CONFIG, **change))) for change in changes}
    assert len(versions) == len(changes)


def test_ports_and_operator_are_the_bootstraps() -> None:
    assert listener(CONFIG) == listener(
        replace(CONFIG, upstream_port=1, discovery_host="x", discovery_port=1)
    )
    assert bootstrap(CONFIG) != bootstrap(replace(CONFIG, upstream_port=1))


def test_the_same_input_gives_the_same_bytes() -> None:
    assert bootstrap(CONFIG) == bootstrap(replace(CONFIG))
    assert listener(CONFIG) == listener(replace(CONFIG))


def test_every_file_that_the_proxy_reads_from_the_hosts_folder_is_generated() -> None:
    files = host_files(CONFIG, client_ca_pem="PEM", rules="-- rules")
    named = {
        part for text in files.values() for part in text.split('"') if part.startswith("/etc/mtls/host/")
    }
    assert {path.removeprefix("/etc/mtls/host/") for path in named} | {"envoy.json"} == files.keys()


def test_another_placement_moves_every_path_and_port() -> None:
    placement = Placement(
        host_folder="/t/h",
        revocation_folder="/t/r",
        server_folder="/t/s",
        proxy_folder="/t/p",
        run_folder="/t/run",
        address="127.0.0.1",
        tls_port=1,
        status_port=2,
    )
    text = "".join(host_files(CONFIG, client_ca_pem="", rules="", placement=placement).values())
    for forbidden in ("/etc/mtls", "/run/mtls", "0.0.0.0", "8443", "9902"):
        assert forbidden not in text
