"""What an administrator can set: every value has words and a schema, and a mistake is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm
import jsonschema
import pytest
import values_table
import yaml

CHART = Path(__file__).resolve().parents[3] / "charts/mtls-operator"
TEXT = (CHART / "values.yaml").read_text("utf-8")
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

#: Maps whose keys belong to the user or to Kubernetes.
OPEN = {"global", "nodeSelector", "podAnnotations", "podLabels", "labels", "requests", "limits"}


def with_value(path: str, value: object) -> dict[str, Any]:
    """Return the default values with one of them changed or added."""
    values = copy.deepcopy(VALUES)
    *parents, last = path.split(".")
    place = values
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return values


def objects_of(schema: Mapping[str, Any], path: str = "values") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every object schema with properties, wherever it stands."""
    if "properties" in schema:
        yield path, schema
    for key in ("properties", "definitions"):
        for name, child in schema.get(key, {}).items():
            yield from objects_of(child, f"{path}.{name}")
    if isinstance(schema.get("items"), Mapping):
        yield from objects_of(schema["items"], f"{path}[]")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_default_values_fit_the_schema() -> None:
    assert [error.message for error in VALIDATOR.iter_errors(VALUES)] == []


def test_no_object_of_the_schema_takes_unknown_keys() -> None:
    for path, schema in objects_of(SCHEMA):
        assert schema.get("additionalProperties") is False, path


def test_every_key_of_the_schema_has_a_default() -> None:
    def missing(schema: Mapping[str, Any], values: object, path: str) -> Iterator[str]:
        for key, child in schema.get("properties", {}).items():
            if key in OPEN or not isinstance(values, Mapping):
                continue
            if key not in values:
                yield f"{path}.{key}"
            else:
                yield from missing(child, values[key], f"{path}.{key}")

    assert list(missing(SCHEMA, VALUES, "")) == []


def test_a_parent_chart_may_pass_its_globals() -> None:
    assert VALIDATOR.is_valid(with_value("global", {"anything": 1}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("unknown", 1),
        ("operator.replicas", 2),
        ("webhook.failurePolicy", "Ignore"),
        ("webhook.replicas", 0),
        ("webhook.replicas", "2"),
        ("webhook.timeoutSeconds", 31),
        ("image.repository", ""),
        ("image.repository", "registry.example/operator:tag"),
        ("image.repository", "Registry/operator"),
        ("image.tag", "0.1.0 --privileged"),
        ("image.tag", "0.1.0@sha256:short"),
        ("proxy.image.tag", "x' || true || '"),
        ("proxy.image.repository", "x' || true || '"),
        ("image.pullPolicy", "Sometimes"),
        ("clusterDomain", "cluster.local."),
        ("clusterDomain", "Cluster.local"),
        ("log.format", "xml"),
        ("log.level", "trace"),
        ("quota.maxCertificates", -1),
        ("quota.maxCertificates", "many"),
        ("quota.maxIssuedPerDay", 0),
        ("quota.maxIssuedPerDay", ""),
        ("rotation.reissueSeconds", 0),
        ("rotation.reissueSeconds", 2_592_001),
        ("proxy.concurrency", 0),
        ("proxy.concurrency", 65),
        ("proxy.resources.requests.cpu", 0),
        ("proxy.resources.requests.cpu", "1 core"),
        ("proxy.resources.requests.memory", 268435456),
        ("proxy.resources.limits.memory", ""),
        ("proxy.resources.limits.storage", "1Gi"),
        ("networkPolicy.apiServerPorts", []),
        ("networkPolicy.apiServerPorts", [0]),
        ("metrics.serviceMonitor.interval", "often"),
        ("crds.install", "false"),
        ("operator.podLabels", {"app.kubernetes.io/component": "webhook"}),
        ("webhook.podLabels", {"mtls-operator.dev/host": "api"}),
        ("operator.affinity", {"nodeAfinity": {}}),
        ("imagePullSecrets", ["name"]),
        ("proxy.metricsFrom", [{}]),
        ("crl.enabled", "yes"),
        ("crl.url", "https://crl.example.com"),
        ("crl.url", "crl.example.com"),
        ("crl.from", [{}]),
        ("crl.port", 80),
        ("proxy.metricsFrom", [{"podselector": {}}]),
        ("proxy.metricsFrom", [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]),
    ],
)
def test_a_mistake_is_refused(path: str, value: object) -> None:
    assert not VALIDATOR.is_valid(with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.tag", f"0.1.0@sha256:{'a' * 64}"),
        ("image.repository", "localhost:5000/team/mtls_operator"),
        ("proxy.resources.limits.cpu", "500m"),
        ("proxy.resources.limits.cpu", 0.5),
        ("operator.resources", {}),
        ("quota.maxCertificates", 0),
        ("quota.maxCertificates", 500),
        ("quota.maxIssuedPerDay", 10_000_000),
        ("operator.tolerations", [{"operator": "Exists"}]),
        ("networkPolicy.metricsFrom", [{"namespaceSelector": {}}]),
        ("crl.url", "http://crl.example.com:8080/mtls"),
        ("crl.from", [{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        (
            "proxy.metricsFrom",
            [{"namespaceSelector": {}, "podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}],
        ),
    ],
)
def test_what_administrators_need_is_accepted(path: str, value: object) -> None:
    assert VALIDATOR.is_valid(with_value(path, value))


def test_helm_refuses_a_mistake_too(helm_binary: Path) -> None:
    with pytest.raises(helm.HelmError, match="failurePolicy"):
        helm.template(helm_binary, CHART, "--set", "webhook.failurePolicy=Ignore")


def test_helm_finds_nothing_to_complain_about(helm_binary: Path) -> None:
    assert "0 chart(s) failed" in helm.run(helm_binary, "lint", "--strict", str(CHART))


def test_every_value_has_words() -> None:
    paths = {row.path for row in values_table.rows(TEXT)}
    assert ("webhook", "timeoutSeconds") in paths
    assert all(row.meaning.endswith((".", ":")) for row in values_table.rows(TEXT))


def test_a_value_without_words_is_an_error() -> None:
    with pytest.raises(values_table.UndocumentedValueError, match=r"b\.d"):
        values_table.rows("# Words.\na: 1\nb:\n  # Words.\n  c: 1\n  d: 2\n")


def test_a_comment_above_a_group_documents_everything_below() -> None:
    (row,) = values_table.rows("# Words,\n# and more.\na:\n  b: 1\n  c: [x]\n")
    assert row == values_table.Row(("a",), {"b": 1, "c": ["x"]}, "Words, and more.")


def test_a_comment_that_an_empty_line_sets_off_documents_nothing() -> None:
    with pytest.raises(values_table.UndocumentedValueError):
        values_table.rows("# About the file.\n\na: 1\n")


def test_the_table_cannot_be_broken_by_a_bar() -> None:
    assert r"a \| b" in values_table.table('# This: a | b.\nx: "|"\n')
