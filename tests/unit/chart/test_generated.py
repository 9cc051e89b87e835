"""What is generated is current, and drift is found in each of its forms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import plain
import pytest
import render as tool
import yaml
from chart_rendering import Rendered

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository that the tool accepts."""
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds/things.yaml").write_text("kind: CustomResourceDefinition\n")
    (tmp_path / tool.CRD_COPIES).mkdir(parents=True)
    (tmp_path / tool.CHART / "values.yaml").write_text("# Words.\na: 1\n")
    (tmp_path / tool.README).write_text(f"# Chart\n\n{tool.START}{tool.END}\nThe end.\n")
    return tmp_path


def wanted(root: Path) -> dict[Path, str | None]:
    return {**tool.copies_of_definitions(root), tool.README: tool.readme(root)}


@pytest.mark.usefixtures("helm_binary")
def test_everything_generated_is_current() -> None:
    command = [sys.executable, str(ROOT / "hack/manifests/render.py"), "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_generating_twice_writes_nothing_the_second_time(tree: Path) -> None:
    assert tool.write(tree, wanted(tree)) == [tool.README, tool.CRD_COPIES / "things.yaml"]
    assert tool.write(tree, wanted(tree)) == []


def test_a_changed_definition_is_found_and_named(tree: Path) -> None:
    tool.write(tree, wanted(tree))
    (tree / "crds/things.yaml").write_text("kind: Other\n")
    assert tool.differences(tree, wanted(tree)) == [tool.CRD_COPIES / "things.yaml"]


def test_a_copy_of_a_definition_that_is_gone_is_removed(tree: Path) -> None:
    left_over = tree / tool.CRD_COPIES / "old.yaml"
    left_over.write_text("kind: CustomResourceDefinition\n")
    assert tool.CRD_COPIES / "old.yaml" in tool.differences(tree, wanted(tree))
    tool.write(tree, wanted(tree))
    assert not left_over.exists()


def test_an_edited_table_is_found(tree: Path) -> None:
    tool.write(tree, wanted(tree))
    readme = tree / tool.README
    readme.write_text(readme.read_text().replace("Words.", "Other words."))
    assert tool.differences(tree, wanted(tree)) == [tool.README]


def test_what_stands_around_the_table_stays(tree: Path) -> None:
    tool.write(tree, wanted(tree))
    text = (tree / tool.README).read_text()
    assert text.startswith("# Chart\n")
    assert text.endswith("The end.\n")


def test_a_readme_without_a_place_for_the_table_is_an_error(tree: Path) -> None:
    (tree / tool.README).write_text("# Chart\n")
    with pytest.raises(tool.RenderError, match="lacks the two comments"):
        tool.readme(tree)


def test_a_repository_without_definitions_is_an_error(tree: Path) -> None:
    (tree / "crds/things.yaml").unlink()
    with pytest.raises(tool.RenderError, match="no definitions"):
        tool.copies_of_definitions(tree)


def test_plain_manifests_hold_the_chart_and_its_namespace(chart: Rendered) -> None:
    text = (ROOT / tool.MANIFEST).read_text("utf-8")
    documents = list(yaml.safe_load_all(text))
    kept = {(document["kind"], document["metadata"]["name"]) for document in documents}
    assert kept == {
        ("Namespace", "mtls-system"),
        *((document["kind"], document["metadata"]["name"]) for document in chart.documents),
    }


def test_plain_manifests_begin_with_what_the_rest_needs() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all((ROOT / tool.MANIFEST).read_text("utf-8"))]
    assert kinds[0] == "Namespace"
    assert set(kinds[1:4]) == {"CustomResourceDefinition"}


def test_plain_manifests_do_not_pretend_to_be_helms() -> None:
    lines = (ROOT / tool.MANIFEST).read_text("utf-8").splitlines()
    found = [line for line in lines if "helm" in line.lower() and not line.startswith("#")]
    assert found == []


def test_the_namespace_allows_restricted_pods_only() -> None:
    (namespace,) = yaml.safe_load_all(plain.install_manifest([], namespace="mtls-system"))
    labels = namespace["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
        "restricted"
    }


def test_plain_manifests_are_the_same_for_the_same_input() -> None:
    document: plain.Document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x", "labels": {"helm.sh/chart": "y"}},
    }
    first = plain.install_manifest([document], namespace="mtls-system")
    assert first == plain.install_manifest([document], namespace="mtls-system")
    assert document["metadata"]["labels"] == {"helm.sh/chart": "y"}, "the input is left as it was"
