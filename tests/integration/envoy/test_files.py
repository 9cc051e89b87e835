"""What travels by file: start without an operator, certificates, listener, identity; and its proof."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.certs import SERVER, authority, leaf
from tests.support.discovery import Discovery
from tests.support.envoy import Proxy, eventually, read_folder
from tests.support.lab import DISCOVERY_NAME, HOST, Lab

from mtls_operator.api.names import (
    CLIENT_CA_SDS_KEY,
    LISTENER_KEY,
    RULES_FILTER,
    SERVER_SDS_KEY,
)
from mtls_operator.api.secret import Secret
from mtls_operator.envoy import client_ca_sds, listener, script_version, server_sds, version_of


@pytest.fixture(scope="module")
def lonely_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lonely"), connected=False)
    yield lab
    lab.close()


@pytest.mark.parametrize(
    ("person", "status"), [(None, 403), ("good", 200), ("revoked", 403), ("foreign", 403), ("expired", 403)]
)
def test_without_an_operator_everything_is_enforced_from_the_files(
    lonely_lab: Lab, person: str | None, status: int
) -> None:
    with lonely_lab.http1(person) as client:
        assert client.get("/admin", HOST).status == status
        assert client.get("/", HOST).status == 200


def test_the_status_port_names_the_versions_of_the_files(lonely_lab: Lab) -> None:
    stats = lonely_lab.proxy.stats()
    host = read_folder(lonely_lab.site.root / "host")
    server = read_folder(lonely_lab.site.root / "server")
    assert stats.listener == version_of(host[LISTENER_KEY].decode())
    assert stats.client_ca == version_of(host[CLIENT_CA_SDS_KEY].decode())
    assert stats.server_certificate == version_of(Secret(server[SERVER_SDS_KEY]))
    assert (stats.rules.version, stats.rules.connected) == ("", False)
    assert (stats.rejected, stats.rotation_failed) == (0, 0)


def test_envoy_knows_every_field_of_the_configuration(lonely_lab: Lab, grpc_lab: Lab) -> None:
    for lab in (lonely_lab, grpc_lab):
        assert lab.proxy.counter("server.static_unknown_fields") == 0
        assert lab.proxy.counter("server.dynamic_unknown_fields") == 0
        assert "eprecated" not in lab.proxy.log.read_text()


def test_the_proxy_reports_who_it_is_and_what_was_pushed(lab: Lab) -> None:
    assert lab.operator is not None
    assert {reply.node for reply in lab.operator.replies()} == {"shop/api-0/uid-0"}
    text = lab.rules_text(lab.rules)
    lab.push_rules(text)
    stats = lab.proxy.stats().rules
    assert (stats.version, stats.connected) == (script_version(text), True)
    before = stats.rejected
    lab.operator.refusal(RULES_FILTER, "-- mtls-rules 1\nif then\n")
    assert lab.proxy.stats().rules.rejected == before + 1


def served_certificate(lab: Lab) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", lab.site.placement.tls_port)
    with socket.create_connection(address) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        return tls.getpeercert(binary_form=True) or b""


def test_a_new_serving_certificate_is_served_without_dropping_connections(lonely_lab: Lab) -> None:
    lab = lonely_lab
    before = served_certificate(lab)
    pair = leaf(lab.people.ca, HOST, usage=SERVER, dns=(HOST,))
    document = server_sds(pair.certificate_pem, Secret(pair.key_pem))
    with lab.http1("good") as client, lab.http2("good") as other:
        assert client.get("/admin", HOST).status == other.get("/admin", HOST).status == 200
        lab.site.change("server", {SERVER_SDS_KEY: document.reveal()})
        eventually(lambda: served_certificate(lab) != before, "the new certificate is served")
        assert client.get("/admin", HOST).status == other.get("/admin", HOST).status == 200
    assert lab.proxy.stats().server_certificate == version_of(document)


@pytest.mark.parametrize("broken", ["certificate", "key", "json", "empty"])
def test_a_broken_serving_certificate_leaves_the_last_good_one_and_its_version(
    lonely_lab: Lab, broken: str
) -> None:
    lab = lonely_lab
    good = read_folder(lab.site.root / "server")[SERVER_SDS_KEY]
    before, served = lab.proxy.stats(), served_certificate(lab)
    pair = leaf(lab.people.ca, HOST, usage=SERVER, dns=(HOST,))
    other = leaf(lab.people.ca, HOST, usage=SERVER, dns=(HOST,))
    files = {
        "certificate": server_sds("not a certificate", Secret(pair.key_pem)).reveal(),
        "key": server_sds(pair.certificate_pem, Secret(other.key_pem)).reveal(),
        "json": b"{",
        "empty": b"",
    }
    failed = lab.proxy.counter("sds.mtls-server.update_failure") + before.rejected
    lab.site.change("server", {SERVER_SDS_KEY: files[broken]})
    eventually(
        lambda: lab.proxy.counter("sds.mtls-server.update_failure") + lab.proxy.stats().rejected > failed,
        "the update is refused",
    )
    assert lab.proxy.stats().server_certificate == before.server_certificate
    assert served_certificate(lab) == served
    lab.site.change("server", {SERVER_SDS_KEY: good})


def test_a_broken_ca_bundle_leaves_the_last_good_one_and_its_version(lonely_lab: Lab) -> None:
    lab = lonely_lab
    before = lab.proxy.stats()
    good = read_folder(lab.site.root / "host")[CLIENT_CA_SDS_KEY]
    lab.site.change("host", {CLIENT_CA_SDS_KEY: client_ca_sds("not a certificate")})
    eventually(lambda: lab.proxy.stats().rejected > before.rejected, "the update is refused")
    assert lab.proxy.stats().client_ca == before.client_ca
    with lab.http1("good") as client:
        assert client.get("/admin", HOST).status == 200
    lab.site.change("host", {CLIENT_CA_SDS_KEY: good})


def test_a_new_listener_file_takes_effect_and_closes_connections_of_the_old_one(lonely_lab: Lab) -> None:
    lab = lonely_lab
    document = listener(replace(lab.config, max_connection_age=1800), lab.site.placement)
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 200
        lab.site.change("host", {LISTENER_KEY: document})
        eventually(lambda: lab.proxy.stats().listener == version_of(document), "the new listener is in force")
        eventually(lambda: client.get("/", HOST).status == 0, "the old connection is closed")
    with lab.http1("good") as client:
        assert client.get("/admin", HOST).status == 200


def test_a_broken_listener_file_leaves_the_last_good_one_and_its_version(lonely_lab: Lab) -> None:
    lab = lonely_lab
    before = lab.proxy.stats()
    good = read_folder(lab.site.root / "host")[LISTENER_KEY]
    document = json.loads(good)
    document["version_info"] = "broken"
    document["resources"][0]["filter_chains"][0]["filters"][-1]["name"] = ""
    lab.site.change("host", {LISTENER_KEY: json.dumps(document)})
    eventually(lambda: lab.proxy.stats().rejected > before.rejected, "the update is refused")
    assert lab.proxy.stats().listener == before.listener
    with lab.http1("good") as client:
        assert client.get("/admin", HOST).status == 200
    lab.site.change("host", {LISTENER_KEY: good})


def test_the_operator_must_have_the_expected_name(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    try:
        port = lab.operator.port if lab.operator else 0
        lab.stop_operator()
        eventually(lambda: not lab.proxy.stats().rules.connected, "the stream is down")
        for name, ca in (("evil.mtls-system.svc", lab.internal), (DISCOVERY_NAME, authority("foreign"))):
            impostor = Discovery(
                leaf(ca, "x", usage=SERVER, dns=(name,)), lab.internal.certificate_pem, port=port
            )
            impostor.offer(RULES_FILTER, "-- mtls-rules 9000000000000\nfunction envoy_on_request() end\n")
            failures = lab.proxy.counter("cluster.mtls-operator.ssl.fail_verify_san")
            failures += lab.proxy.counter("cluster.mtls-operator.ssl.fail_verify_error")
            eventually(
                lambda before=failures: (
                    lab.proxy.counter("cluster.mtls-operator.ssl.fail_verify_san")
                    + lab.proxy.counter("cluster.mtls-operator.ssl.fail_verify_error")
                    > before
                ),
                "the impostor is refused",
            )
            assert impostor.replies() == []
            impostor.close()
        lab.operator = Discovery(
            leaf(lab.internal, "x", usage=SERVER, dns=(DISCOVERY_NAME,)),
            lab.internal.certificate_pem,
            port=port,
        )
        lab.push_rules(replace(lab.rules, rules=()))
        with lab.http1() as client:
            assert client.get("/admin", HOST).status == 200
    finally:
        lab.close()


def test_a_rotated_identity_is_used_without_a_restart(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    try:
        port = lab.operator.port if lab.operator else 0
        lab.stop_operator()
        rotated = authority("internal, next generation")
        lab.mount_identity(leaf(rotated, "proxy"), rotated)
        server = leaf(rotated, "operator", usage=SERVER, dns=(DISCOVERY_NAME,))
        lab.operator = Discovery(server, rotated.certificate_pem, port=port)
        lab.push_rules(replace(lab.rules, rules=()))
        with lab.http1() as client:
            assert client.get("/admin", HOST).status == 200
    finally:
        lab.close()


def test_an_unresolvable_operator_does_not_keep_the_proxy_from_starting(tmp_path: Path) -> None:
    lab = Lab(tmp_path, connected=False, start=False)
    lab.proxy.close()
    bootstrap = json.loads(read_folder(lab.site.root / "host")["envoy.json"])
    text = json.dumps(bootstrap).replace(
        '"address": "127.0.0.1", "port_value": 1}', '"address": "no.invalid", "port_value": 1}'
    )
    assert "no.invalid" in text
    lab.site.change("host", {"envoy.json": text})
    lab.proxy = Proxy(lab.site)
    try:
        lab.proxy.wait()
        with lab.http1("good") as client:
            assert client.get("/admin", HOST).status == 200
    finally:
        lab.close()
