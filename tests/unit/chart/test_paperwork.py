"""Pages that have to keep up with the code: dependencies, reasons of conditions, promises, license."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from mtls_operator.api.reason import ConditionType, Reason

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
#: Reasons that say that all is well need no advice.
GOOD = {
    Reason.ACCEPTED,
    Reason.RESOLVED,
    Reason.PROGRAMMED,
    Reason.DEPLOYED,
    Reason.ENFORCED,
    Reason.ISSUED,
    Reason.READY,
}


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def distribution(requirement: str) -> str:
    """Return the name in a requirement such as ``httpx[http2]>=0.28``."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return match[0].lower()


def test_every_dependency_is_justified_and_none_is_that_is_gone() -> None:
    wanted = {
        distribution(requirement)
        for requirement in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"])
    }
    rows = [
        line.split("|")[1] for line in page("docs/dependencies.md").splitlines() if line.startswith("| `")
    ]
    justified = {name for row in rows for name in re.findall(r"`([a-z0-9._-]+)`", row) if name != "http2"}
    assert justified == wanted


def test_every_reason_that_something_is_not_well_has_advice() -> None:
    words = set(re.findall(r"`([A-Za-z]+)`", page("docs/troubleshooting.md")))
    assert {reason.value for reason in Reason if reason not in GOOD} - words == set()


def test_no_advice_is_about_a_reason_that_is_gone() -> None:
    """In the tables of the kinds the second column is the reason."""
    cells = re.findall(
        r"^\| (?:`[A-Za-z]+` )?\| ([^|]+) \|", page("docs/troubleshooting.md"), flags=re.MULTILINE
    )
    named = {word for cell in cells for word in re.findall(r"`([A-Za-z]+)`", cell)}
    assert len(named) > len(GOOD)
    assert named - {reason.value for reason in Reason} == set()


def test_every_condition_is_explained() -> None:
    words = set(re.findall(r"`([A-Za-z]+)`", page("docs/troubleshooting.md")))
    assert {condition.value for condition in ConditionType} - words == set()


def test_every_promise_stands_in_the_threat_model() -> None:
    promises = re.findall(r"^\| (G\d) \|", page("docs/security.md"), flags=re.MULTILINE)
    assert promises == [f"G{number}" for number in range(1, 8)]


def test_every_promise_names_tests_that_exist() -> None:
    for row in re.findall(r"^\| G\d \|.*$", page("docs/security.md"), flags=re.MULTILINE):
        tests = re.findall(r"`(tests/[^`]+)`", row.split("|")[-2])
        assert tests, row
        assert [name for name in tests if not (ROOT / name).exists()] == []


PAGES = sorted(
    str(file.relative_to(ROOT))
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("charts/*/*.md"))
)


def anchors(name: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page(name), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_between_the_pages_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page(name)):
        file = (ROOT / name).parent / target if target else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(str(file.resolve().relative_to(ROOT))), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_pages_name_only_targets_that_make_knows(name: str) -> None:
    known = set(re.findall(r"^([a-z0-9-]+):", page("Makefile"), flags=re.MULTILINE))
    named = {
        word for words in re.findall(r"\bmake ((?:[a-z0-9]+-?)+)`", page(name)) for word in words.split()
    }
    assert named - known == set()


def test_the_license_is_the_one_that_the_package_names() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = page("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert text.rstrip().endswith("limitations under the License.")


def test_hooks_download_nothing() -> None:
    hooks = yaml.safe_load(page(".pre-commit-config.yaml"))["repos"]
    assert {repository["repo"] for repository in hooks} == {"local"}
    assert {hook["language"] for repository in hooks for hook in repository["hooks"]} <= {"system", "fail"}


def test_the_package_does_not_hide_pythons_own_operator() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
