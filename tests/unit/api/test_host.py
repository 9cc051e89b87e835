"""MTLSHost: what its parser makes of a body."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mtls_operator.api.client_cas import ClientCas, CrlSource, Source, SourceKind, WhenStale
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import ForwardedHeader, Host, TlsVersion, WorkloadProtocol, parse_host
from mtls_operator.api.meta import Meta

MINIMAL: dict[str, object] = {"hostnames": ["api.example.com"], "workload": {"port": 8080}}


def body(*, name: object = "api", status: object = None, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "mtls-operator.dev/v1alpha1",
        "kind": "MTLSHost",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {**MINIMAL, **spec},
        "status": status,
    }


def refusal(**spec: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as refused:
        parse_host(body(**spec))
    return refused.value


def test_the_least_host_gets_every_default() -> None:
    assert parse_host(body()) == Host(
        meta=Meta("shop", "api"),
        hostnames=("api.example.com",),
        port=8080,
        protocol=WorkloadProtocol.HTTP1,
        tls_secret_name=None,
        min_tls=TlsVersion.V1_2,
        client_cas=ClientCas(),
        forwarded_headers=(ForwardedHeader.X_FORWARDED_CLIENT_CERT,),
        max_age=timedelta(hours=1),
        network_policy=True,
        allowed_ports=(),
        status={},
    )


def test_every_field_is_read() -> None:
    host = parse_host(
        body(
            hostnames=["api.example.com", "*.api.example.com"],
            workload={"port": 9000, "protocol": "HTTP2"},
            tls={"secretName": "api-tls", "minVersion": "1.3"},
            clientCAs={"managed": False},
            forwardedHeaders=["Cloudflare", "XForwardedClientCert", "RFC9440"],
            clientAddress={"from": "Connection"},
            connections={"maxAge": "10m"},
            isolation={"networkPolicy": True, "allowedPorts": [9090]},
            status={"epoch": {"rules": 41}},
        )
    )
    assert host == Host(
        meta=Meta("shop", "api"),
        hostnames=("api.example.com", "*.api.example.com"),
        port=9000,
        protocol=WorkloadProtocol.HTTP2,
        tls_secret_name="api-tls",
        min_tls=TlsVersion.V1_3,
        client_cas=ClientCas(managed=False),
        forwarded_headers=(
            ForwardedHeader.CLOUDFLARE,
            ForwardedHeader.X_FORWARDED_CLIENT_CERT,
            ForwardedHeader.RFC9440,
        ),
        max_age=timedelta(minutes=10),
        network_policy=True,
        allowed_ports=(9090,),
        status={"epoch": {"rules": 41}},
    )


def test_null_is_the_same_as_missing() -> None:
    assert parse_host(body(tls=None, isolation={"allowedPorts": None})) == parse_host(body())


def test_a_host_can_be_a_dictionary_key() -> None:
    assert {parse_host(body(status={"epoch": {}})): 1}


def test_managed_authorities_of_other_namespaces_are_read_in_their_order() -> None:
    named = [{"namespace": "partners"}, {"namespace": "fleet"}]
    host = parse_host(body(clientCAs={"managed": False, "managedFrom": named}))
    assert host.client_cas == ClientCas(managed=False, managed_from=("partners", "fleet"))


def test_the_own_namespace_is_no_other_one() -> None:
    refused = refusal(clientCAs={"managedFrom": [{"namespace": "partners"}, {"namespace": "shop"}]})
    assert refused.path == "spec.clientCAs.managedFrom[1].namespace"
    assert "clientCAs.managed" in refused.message


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"namespace": None},
        {"namespace": "*"},
        {"namespace": "a.b"},
        {"namespace": "x" * 64},
        {"name": "partners"},
    ],
)
def test_another_namespace_is_named_exactly(item: dict[str, object]) -> None:
    assert refusal(clientCAs={"managedFrom": [item]}).path.startswith("spec.clientCAs.managedFrom[0]")


def test_a_namespace_is_named_once() -> None:
    refused = refusal(clientCAs={"managedFrom": [{"namespace": "partners"}] * 2})
    assert refused.path == "spec.clientCAs.managedFrom"


PARTNER = {"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}
LIST = {"secretRef": {"name": "partner-crl", "key": "ca.crl"}}


def test_authorities_and_lists_of_users_are_read() -> None:
    stale = {"configMapRef": {"name": "partner-ca", "key": "ca.crl"}, "whenStale": "FailOpen"}
    host = parse_host(body(clientCAs={"managed": False, "trusted": [PARTNER], "crls": [LIST, stale]}))
    assert host.client_cas == ClientCas(
        managed=False,
        trusted=(Source(SourceKind.CONFIG_MAP, "partner-ca", "ca.crt"),),
        crls=(
            CrlSource(Source(SourceKind.SECRET, "partner-crl", "ca.crl"), WhenStale.FAIL_CLOSED),
            CrlSource(Source(SourceKind.CONFIG_MAP, "partner-ca", "ca.crl"), WhenStale.FAIL_OPEN),
        ),
    )


def reference(**changes: object) -> dict[str, object]:
    return {"configMapRef": {"name": "partner-ca", "key": "ca.crt", **changes}}


@pytest.mark.parametrize(
    ("client_cas", "path"),
    [
        ({"trusted": [{}]}, "trusted[0]"),
        ({"trusted": [{**PARTNER, **LIST}]}, "trusted[0]"),
        ({"trusted": [{**PARTNER, "whenStale": "FailOpen"}]}, "trusted[0].whenStale"),
        ({"trusted": [reference(key=None)]}, "trusted[0].configMapRef.key"),
        ({"trusted": [reference(name=None)]}, "trusted[0].configMapRef.name"),
        ({"trusted": [reference(key="a/b")]}, "trusted[0].configMapRef.key"),
        ({"trusted": [reference(key="")]}, "trusted[0].configMapRef.key"),
        ({"trusted": [reference(name="mtls-client-ca")]}, "trusted[0].configMapRef.name"),
        ({"trusted": [reference(name="../x")]}, "trusted[0].configMapRef.name"),
        ({"trusted": [reference(namespace="other")]}, "trusted[0].configMapRef.namespace"),
        ({"trusted": [PARTNER, PARTNER]}, "trusted"),
        ({"trusted": [reference(key=f"ca-{number}") for number in range(17)]}, "trusted"),
        ({"trusted": "partner-ca"}, "trusted"),
        ({"crls": [LIST]}, "crls"),
        ({"trusted": [PARTNER], "crls": [{**LIST, "whenStale": "Never"}]}, "crls[0].whenStale"),
        ({"trusted": [PARTNER], "crls": [LIST, {**LIST, "whenStale": "FailOpen"}]}, "crls"),
    ],
)
def test_a_reference_that_leads_nowhere_for_sure_is_refused(client_cas: object, path: str) -> None:
    assert refusal(clientCAs=client_cas).path == f"spec.clientCAs.{path}"


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        (["X-Client"], "spec.forwardedHeaders[0]"),
        (["RFC9440", "client-cert"], "spec.forwardedHeaders[1]"),
        (["RFC9440", "Cloudflare", "RFC9440"], "spec.forwardedHeaders"),
        ("RFC9440", "spec.forwardedHeaders"),
    ],
)
def test_headers_that_do_not_exist_or_come_twice_are_refused(headers: object, path: str) -> None:
    assert refusal(forwardedHeaders=headers).path == path


def test_an_empty_list_forwards_nothing_and_is_not_the_default() -> None:
    assert parse_host(body(forwardedHeaders=[])).forwarded_headers == ()


@pytest.mark.parametrize(
    "address", [{"from": "ProxyProtocol"}, {"from": "XForwardedFor"}, {"trustedCIDRs": ["10.0.0.0/8"]}]
)
def test_an_address_that_others_could_forge_is_refused(address: dict[str, object]) -> None:
    assert "not supported yet" in refusal(clientAddress=address).message


def test_an_unknown_field_is_refused_because_ignoring_a_setting_is_an_open_door() -> None:
    assert refusal(clientCA={"managed": False}).path == "spec.clientCA"


def test_a_hole_to_the_application_itself_is_refused() -> None:
    refused = refusal(isolation={"allowedPorts": [9090, 8080]})
    assert refused.path == "spec.isolation.allowedPorts"


@pytest.mark.parametrize("port", [0, 65_536, -1, 8443, 9902, "8080", 80.0, True, None])
def test_a_port_that_the_application_cannot_have_is_refused(port: object) -> None:
    assert refusal(workload={"port": port}).path == "spec.workload.port"


def test_a_bad_hostname_is_named_with_its_place() -> None:
    refused = refusal(hostnames=["api.example.com", "API.example.com"])
    assert refused.path == "spec.hostnames[1]"
    assert str(refused).startswith("spec.hostnames[1]: must be a lower-case DNS name")


@pytest.mark.parametrize(
    "hostname", ["api.example.com\n", "a\ud800b", "192.0.2.7", "*.*.example.com", "x" * 254]
)
def test_a_hostname_that_no_client_can_send_is_refused(hostname: str) -> None:
    assert refusal(hostnames=[hostname]).path == "spec.hostnames[0]"


def test_a_name_from_which_no_other_names_can_be_made_is_refused() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_host(body(name="a" * 53))
    assert refused.value.path == "metadata.name"
