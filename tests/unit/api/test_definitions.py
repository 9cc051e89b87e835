"""The definitions in crds/ and the parsers say the same: defaults, enumerations, limits, patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtls_operator.api import limits, names
from mtls_operator.api.certificate import (
    KEY_SIZES,
    CertificateState,
    DeletionPolicy,
    KeyAlgorithm,
    RenewalPolicy,
    RevocationReason,
    RotationPolicy,
    parse_certificate,
)
from mtls_operator.api.client_cas import WhenStale
from mtls_operator.api.duration import DURATION_PATTERN
from mtls_operator.api.fields import TextRule
from mtls_operator.api.host import AddressSource, ForwardedHeader, TlsVersion, WorkloadProtocol, parse_host
from mtls_operator.api.keystore import KeystoreProfile
from mtls_operator.api.rule import RuleAction, parse_rule

CRDS = Path(__file__).parents[3] / "crds"
DEFINITIONS: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))
}


def schema(plural: str, path: str = "") -> Any:
    node = DEFINITIONS[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in filter(None, path.split(".")):
        node = node["items"] if step == "[]" else node["properties"][step]
    return node


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from nodes(node["items"], f"{path}.[]")


def defaulted(node: dict[str, Any], value: Any) -> Any:
    """Apply a schema's defaults as the API server does."""
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = deepcopy(child["default"])
            if name in value:
                value[name] = defaulted(child, value[name])
    if isinstance(value, list):
        return [defaulted(node.get("items", {}), item) for item in value]
    return value


def test_there_is_one_definition_for_each_kind() -> None:
    kinds = {plural: definition["spec"]["names"]["kind"] for plural, definition in DEFINITIONS.items()}
    assert kinds == {
        names.HOST_PLURAL: names.HOST_KIND,
        names.CERTIFICATE_PLURAL: names.CERTIFICATE_KIND,
        names.RULE_PLURAL: names.RULE_KIND,
    }


@pytest.mark.parametrize(
    ("plural", "short"), [("mtlshosts", "mh"), ("clientcertificates", "cc"), ("mtlsrules", "mr")]
)
def test_a_definition_has_the_names_and_the_status_that_users_rely_on(plural: str, short: str) -> None:
    definition = DEFINITIONS[plural]
    version = definition["spec"]["versions"][0]
    assert definition["metadata"]["name"] == f"{plural}.{names.GROUP}"
    assert definition["spec"]["group"] == names.GROUP
    assert definition["spec"]["scope"] == "Namespaced"
    assert definition["spec"]["names"]["shortNames"] == [short]
    assert definition["spec"]["names"]["categories"] == ["mtls"]
    assert version["name"] == names.VERSION
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("plural", "shown", "wide"),
    [
        (
            "mtlshosts",
            ["Hostnames", "Ready", "Proxies", "Rules", "Age"],
            ["Enforced", "Version", "Message"],
        ),
        ("clientcertificates", ["State", "Serial", "Expires", "Age"], ["Subject", "Fingerprint", "Renews"]),
        ("mtlsrules", ["Action", "Priority", "Hosts", "Ready", "Age"], ["Expression"]),
    ],
)
def test_kubectl_get_shows_these_columns(plural: str, shown: list[str], wide: list[str]) -> None:
    columns = DEFINITIONS[plural]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == shown
    assert [column["name"] for column in columns if column.get("priority") == 1] == wide


MINIMAL: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("mtlshosts", parse_host, {"hostnames": ["api.example.com"], "workload": {"port": 8080}}),
    ("clientcertificates", parse_certificate, {"subject": {"commonName": "gateway-7"}}),
    ("mtlsrules", parse_rule, {"match": {}, "response": {}}),
    ("mtlsrules", parse_rule, {"expression": "ssl"}),
]


@pytest.mark.parametrize(("plural", "parse", "spec"), MINIMAL)
def test_the_parser_has_the_defaults_of_the_schema(
    plural: str, parse: Callable[[Any], Any], spec: dict[str, Any]
) -> None:
    body = {"metadata": {"namespace": "shop", "name": "x"}, "spec": deepcopy(spec)}
    stored = defaulted(schema(plural), deepcopy(body))
    assert stored != body
    assert parse(stored) == parse(body)


@pytest.mark.parametrize(
    ("plural", "path", "enum"),
    [
        ("mtlshosts", "spec.workload.protocol", WorkloadProtocol),
        ("mtlshosts", "spec.tls.minVersion", TlsVersion),
        ("mtlshosts", "spec.forwardedHeaders.[]", ForwardedHeader),
        ("mtlshosts", "spec.clientAddress.from", AddressSource),
        ("mtlshosts", "spec.clientCAs.crls.[].whenStale", WhenStale),
        ("mtlshosts", "status.rules.[].action", RuleAction),
        ("clientcertificates", "spec.privateKey.algorithm", KeyAlgorithm),
        ("clientcertificates", "spec.privateKey.rotationPolicy", RotationPolicy),
        ("clientcertificates", "spec.renewal.policy", RenewalPolicy),
        ("clientcertificates", "spec.keystore.pkcs12.profile", KeystoreProfile),
        ("clientcertificates", "spec.revocationReason", RevocationReason),
        ("clientcertificates", "spec.deletionPolicy", DeletionPolicy),
        ("clientcertificates", "status.state", CertificateState),
        ("mtlsrules", "spec.action", RuleAction),
    ],
)
def test_an_enumeration_has_the_same_members(plural: str, path: str, enum: type[StrEnum]) -> None:
    assert schema(plural, path)["enum"] == [member.value for member in enum]


@pytest.mark.parametrize(
    ("plural", "path", "rule"),
    [
        ("mtlshosts", "spec.hostnames.[]", limits.HOSTNAME),
        ("mtlshosts", "spec.tls.secretName", limits.SECRET_NAME),
        ("mtlshosts", "spec.clientCAs.managedFrom.[].namespace", limits.NAMESPACE),
        ("mtlshosts", "spec.clientCAs.trusted.[].configMapRef.name", limits.CONFIG_MAP_NAME),
        ("mtlshosts", "spec.clientCAs.trusted.[].secretRef.name", limits.SECRET_NAME),
        ("mtlshosts", "spec.clientCAs.crls.[].configMapRef.name", limits.CONFIG_MAP_NAME),
        ("mtlshosts", "spec.clientCAs.crls.[].secretRef.name", limits.SECRET_NAME),
        ("clientcertificates", "spec.subject.commonName", limits.SHORT_NAME),
        ("clientcertificates", "spec.subject.organizations.[]", limits.SHORT_NAME),
        ("clientcertificates", "spec.subject.organizationalUnits.[]", limits.SHORT_NAME),
        ("clientcertificates", "spec.subject.countries.[]", limits.COUNTRY),
        ("clientcertificates", "spec.subject.localities.[]", limits.LONG_NAME),
        ("clientcertificates", "spec.subject.provinces.[]", limits.LONG_NAME),
        ("clientcertificates", "spec.dnsNames.[]", limits.CLIENT_DNS_NAME),
        ("clientcertificates", "spec.uris.[]", limits.URI),
        ("clientcertificates", "spec.emails.[]", limits.EMAIL),
        ("clientcertificates", "spec.secretName", limits.SECRET_NAME),
        ("clientcertificates", "spec.keystore.pkcs12.passwordSecretRef.name", limits.SECRET_NAME),
        ("clientcertificates", "spec.keystore.pkcs12.passwordSecretRef.key", limits.SECRET_KEY),
        ("mtlsrules", "spec.match.paths.[]", limits.PATH),
        ("mtlsrules", "spec.match.pathPrefixes.[]", limits.PATH_PREFIX),
        ("mtlsrules", "spec.match.hostnames.[]", limits.EXACT_HOSTNAME),
        ("mtlsrules", "spec.response.contentType", limits.CONTENT_TYPE),
    ],
)
def test_a_text_has_the_same_pattern_length_and_wording(plural: str, path: str, rule: TextRule) -> None:
    node = schema(plural, path)
    validation = node["x-kubernetes-validations"][0]
    wanted = f"self.matches(r'{rule.pattern}')"
    if rule.refused:
        wanted += f" && !self.matches(r'{rule.refused}')"
    assert validation["rule"] == wanted
    assert validation["message"].endswith(f"must be {rule.wanted}")
    assert node["maxLength"] == rule.max_length


DATA_KEY = {"pattern": limits.DATA_KEY.pattern, "maxLength": limits.DATA_KEY.max_length}


def test_a_reference_to_a_host_is_as_long_as_a_host_name_can_be() -> None:
    node = schema("mtlsrules", "spec.hostRefs.[].name")
    assert node["maxLength"] == limits.HOST_NAME_LENGTH
    assert node["x-kubernetes-validations"][0]["rule"] == f"self.matches(r'{limits.OBJECT_NAME.pattern}')"
    assert f"<= {limits.HOST_NAME_LENGTH}" in schema("mtlshosts")["x-kubernetes-validations"][0]["rule"]


@pytest.mark.parametrize(
    ("plural", "path", "expected"),
    [
        ("mtlshosts", "spec.hostnames", {"minItems": 1, "maxItems": limits.HOSTNAMES}),
        ("mtlshosts", "spec.workload.port", {"minimum": limits.MIN_PORT, "maximum": limits.MAX_PORT}),
        ("mtlshosts", "spec.isolation.allowedPorts", {"maxItems": limits.ALLOWED_PORTS}),
        (
            "mtlshosts",
            "spec.isolation.allowedPorts.[]",
            {"minimum": limits.MIN_PORT, "maximum": limits.MAX_PORT},
        ),
        ("mtlshosts", "spec.clientCAs.managedFrom", {"maxItems": limits.GRANTERS}),
        ("mtlshosts", "spec.clientCAs.trusted", {"maxItems": limits.CA_SOURCES}),
        ("mtlshosts", "spec.clientCAs.crls", {"maxItems": limits.CA_SOURCES}),
        ("mtlshosts", "spec.clientCAs.trusted.[].configMapRef.key", DATA_KEY),
        ("mtlshosts", "spec.clientCAs.trusted.[].secretRef.key", DATA_KEY),
        ("mtlshosts", "spec.clientCAs.crls.[].configMapRef.key", DATA_KEY),
        ("mtlshosts", "spec.clientCAs.crls.[].secretRef.key", DATA_KEY),
        ("clientcertificates", "spec.subject.organizations", {"maxItems": limits.SUBJECT_VALUES}),
        ("clientcertificates", "spec.subject.organizationalUnits", {"maxItems": limits.SUBJECT_VALUES}),
        ("clientcertificates", "spec.subject.countries", {"maxItems": limits.SUBJECT_VALUES}),
        ("clientcertificates", "spec.subject.localities", {"maxItems": limits.SUBJECT_VALUES}),
        ("clientcertificates", "spec.subject.provinces", {"maxItems": limits.SUBJECT_VALUES}),
        ("clientcertificates", "spec.dnsNames", {"maxItems": limits.ALTERNATIVE_NAMES}),
        ("clientcertificates", "spec.uris", {"maxItems": limits.ALTERNATIVE_NAMES}),
        ("clientcertificates", "spec.emails", {"maxItems": limits.ALTERNATIVE_NAMES}),
        ("clientcertificates", "spec.ipAddresses", {"maxItems": limits.ALTERNATIVE_NAMES}),
        ("clientcertificates", "spec.ipAddresses.[]", {"maxLength": limits.IP_ADDRESS.max_length}),
        ("clientcertificates", "spec.request", {"minLength": 1, "maxLength": limits.REQUEST.max_length}),
        ("mtlsrules", "spec.hostRefs", {"maxItems": limits.HOST_REFS}),
        ("mtlsrules", "spec.match.paths", {"maxItems": limits.MATCH_ITEMS}),
        ("mtlsrules", "spec.match.pathPrefixes", {"maxItems": limits.MATCH_ITEMS}),
        ("mtlsrules", "spec.match.hostnames", {"maxItems": limits.MATCH_ITEMS}),
        ("mtlsrules", "spec.expression", {"minLength": 1, "maxLength": limits.EXPRESSION_LENGTH}),
        (
            "mtlsrules",
            "spec.response.statusCode",
            {"minimum": limits.MIN_STATUS, "maximum": limits.MAX_STATUS},
        ),
        ("mtlsrules", "spec.response.body", {"maxLength": limits.BODY_BYTES}),
        ("mtlsrules", "spec.priority", {"minimum": 0, "maximum": limits.MAX_PRIORITY}),
    ],
)
def test_a_bound_is_the_same(plural: str, path: str, expected: dict[str, int]) -> None:
    node = schema(plural, path)
    assert {key: node.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("plural", "path"), [("mtlshosts", "spec.connections.maxAge"), ("clientcertificates", "spec.validity")]
)
def test_a_duration_has_the_pattern_that_the_parser_reads(plural: str, path: str) -> None:
    node = schema(plural, path)
    assert node["minLength"] == len("0s")
    assert all(DURATION_PATTERN in rule["rule"] for rule in node["x-kubernetes-validations"])


def test_a_private_key_in_the_place_of_a_request_is_refused_by_both() -> None:
    (rule,) = schema("clientcertificates", "spec.request")["x-kubernetes-validations"]
    assert rule["rule"] == f"!self.contains('{limits.REQUEST.refused}')"
    assert rule["message"] == f"request must be {limits.REQUEST.wanted}"


def test_the_name_of_an_object_with_a_request_has_the_same_bound() -> None:
    rules = [rule["rule"] for rule in schema("clientcertificates")["x-kubernetes-validations"]]
    wanted = f"!has(self.spec.request) || self.metadata.name.size() <= {limits.REQUEST_NAME_LENGTH}"
    assert wanted in rules


def test_the_ports_of_the_proxy_are_reserved_in_both_places() -> None:
    reserved = str(sorted(limits.RESERVED_PORTS))
    for path in ("spec.workload.port", "spec.isolation.allowedPorts"):
        assert reserved in schema("mtlshosts", path)["x-kubernetes-validations"][0]["rule"]


def test_the_key_sizes_are_the_same_in_both_places() -> None:
    rule = schema("clientcertificates", "spec.privateKey")["x-kubernetes-validations"][0]["rule"]
    assert all(str(list(sizes)) in rule for sizes in KEY_SIZES.values())


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_every_text_and_list_has_a_bound_so_that_rules_have_a_bounded_cost(plural: str) -> None:
    bound = {"string": {"maxLength", "enum", "format"}, "array": {"maxItems"}}
    unbounded = [
        path
        for section in ("spec", "status")
        for path, node in nodes(schema(plural, section), section)
        if node["type"] in bound and not bound[node["type"]] & set(node)
    ]
    assert unbounded == []


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_every_rule_has_a_message_that_names_its_field(plural: str) -> None:
    for path, node in nodes(schema(plural)):
        field = path.removesuffix(".[]").rpartition(".")[2]
        for rule in node.get("x-kubernetes-validations", ()):
            assert "\n" not in rule["message"]
            subject = rule.get("fieldPath", "").rpartition(".")[2] or field
            assert subject in rule["message"] or path in ("", "spec", "spec.subject"), (path, rule)


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_every_field_is_explained(plural: str) -> None:
    """What ``kubectl explain`` shows; elements of lists are explained by their list."""
    silent = [
        path
        for section in ("spec", "status")
        for path, node in nodes(schema(plural, section), section)
        if "description" not in node and not path.endswith("[]")
    ]
    assert silent == []
