"""docs/operations.md keeps up with the code: metrics, log lines, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mtls_operator.controller.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "operator/src/mtls_operator"
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
FOLDERS = ("controller", "cluster", "push", "webhook")
LEVELS = {"info", "warning", "error", "exception"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    """Return the words in code type of the first column of every table."""
    rows = re.findall(r"^\| (`[^|]+) \|", text, flags=re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def logged(folder: str) -> Iterator[str]:
    """Return the events that a part of the code logs."""
    for file in sorted((SOURCES / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in LEVELS and ast.unparse(node.func.value) in {"log", "_log"}:
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant):
                        yield str(part.value)


def test_every_metric_is_explained_and_none_that_is_gone() -> None:
    families = text_string_to_metric_families(Metrics().text().decode())
    wanted = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    listed = {
        name for name in first_cells(section("Metrics")) if re.fullmatch(r"mtls_operator_[a-z_]+", name)
    }
    assert listed == wanted


def test_alerts_use_metrics_that_exist() -> None:
    names = set(re.findall(r"mtls_operator_[a-z_]+", section("Metrics")))
    text = Metrics().text().decode()
    assert {name for name in names if name.removesuffix("_total") not in text} == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_log_line_is_explained(folder: str) -> None:
    assert set(logged(folder)) - first_cells(section("Logs")) == set()


def test_no_log_line_is_explained_that_is_gone() -> None:
    known = {event for folder in FOLDERS for event in logged(folder)}
    assert first_cells(section("Logs")) - known == set()


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    anchors = {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^###? (.+)$", PAGE, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - anchors == set()


def test_the_readme_leads_to_it() -> None:
    assert "(docs/operations.md)" in (ROOT / "README.md").read_text("utf-8")
