"""Which helm renders the chart: the pinned one first, so that everybody writes the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import helm
import pytest


def program(path: Path, *, age_seconds: int = 0) -> Path:
    """Make a file that can be executed."""
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    os.utime(path, (1_000_000 - age_seconds,) * 2)
    return path


def test_the_one_that_was_asked_for_wins(tmp_path: Path) -> None:
    program(tmp_path / "mtls-operator/bin/helm-1/helm")
    assert helm.find_helm({"HELM": "/mine", "XDG_CACHE_HOME": str(tmp_path)}) == Path("/mine")


def test_the_newest_pinned_one_comes_before_path(tmp_path: Path) -> None:
    program(tmp_path / "mtls-operator/bin/helm-2/helm", age_seconds=60)
    pinned = program(tmp_path / "mtls-operator/bin/helm-1/helm")
    program(tmp_path / "path/helm")
    environ = {"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path / "path")}
    assert helm.find_helm(environ) == pinned


def test_a_build_that_is_not_complete_does_not_count(tmp_path: Path) -> None:
    program(tmp_path / "mtls-operator/bin/.helm-abc/helm")
    with pytest.raises(helm.HelmError):
        helm.find_helm({"XDG_CACHE_HOME": str(tmp_path)})


def test_the_cache_is_in_the_home_folder_by_default(tmp_path: Path) -> None:
    pinned = program(tmp_path / ".cache/mtls-operator/bin/helm-1/helm")
    assert helm.find_helm({"HOME": str(tmp_path)}) == pinned


def test_one_on_path_is_good_enough(tmp_path: Path) -> None:
    found = program(tmp_path / "path/helm")
    assert helm.find_helm({"HOME": str(tmp_path), "PATH": str(tmp_path / "path")}) == found


def test_without_any_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(helm.HelmError, match="hack/cluster build"):
        helm.find_helm({"HOME": str(tmp_path), "PATH": ""})


def test_a_failing_helm_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(helm.HelmError, match="helm template x"):
        helm.run(program(tmp_path / "bin/helm"), "template", "x", "y")
