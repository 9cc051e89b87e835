"""The CustomResourceDefinitions travel with the chart and stay when it goes."""

from __future__ import annotations

from pathlib import Path

import yaml
from chart_rendering import Render, Rendered

from mtls_operator.api import names

ROOT = Path(__file__).resolve().parents[3]
KIND = "CustomResourceDefinition"


def test_the_three_kinds_are_installed_and_upgraded_with_the_chart(chart: Rendered) -> None:
    plurals = (names.HOST_PLURAL, names.CERTIFICATE_PLURAL, names.RULE_PLURAL)
    assert chart.names(KIND) == {f"{plural}.{names.GROUP}" for plural in plurals}


def test_uninstalling_keeps_the_definitions_and_with_them_every_object(chart: Rendered) -> None:
    for definition in chart.of_kind(KIND):
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_rendering_changes_nothing_in_a_definition_but_its_metadata(chart: Rendered) -> None:
    for source in sorted((ROOT / "crds").glob("*.yaml")):
        original = yaml.safe_load(source.read_text("utf-8"))
        rendered = chart.one(KIND, original["metadata"]["name"])
        assert rendered["spec"] == original["spec"]
        assert original["metadata"]["labels"].items() <= rendered["metadata"]["labels"].items()


def test_definitions_can_be_left_to_somebody_else(render: Render) -> None:
    assert render("--set", "crds.install=false").of_kind(KIND) == []
