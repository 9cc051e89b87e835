"""Where the cluster tool keeps things, and what a cached build is keyed by."""

from __future__ import annotations

from pathlib import Path

import pytest
from testcluster import binaries
from testcluster.errors import ClusterError
from testcluster.places import GO_SETS, places

HOME = {"HOME": "/home/u"}


def test_folders_follow_the_xdg_variables() -> None:
    found = places("mtls", environment={**HOME, "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"})
    assert (found.cache, found.state) == (Path("/c/mtls-operator"), Path("/s/mtls-operator/mtls"))


def test_a_relative_xdg_variable_is_ignored_as_its_specification_says() -> None:
    assert places("mtls", environment={**HOME, "XDG_CACHE_HOME": "c"}).cache == Path(
        "/home/u/.cache/mtls-operator"
    )


@pytest.mark.parametrize("name", ["", "..", "../../etc", "a/b", "-a", "A", "a" * 21, "a\n", "a b", ".hidden"])
def test_a_name_that_could_leave_the_state_folder_or_reach_a_shell_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        places(name, environment=HOME)


def test_without_a_home_nothing_is_guessed() -> None:
    with pytest.raises(ClusterError, match="HOME"):
        places("mtls", environment={})


def test_the_socket_folder_is_short_however_deep_the_state_folder_is() -> None:
    found = places("a" * 20, environment={"HOME": "/" + "x" * 200})
    assert len(str(found.run / "containerd.sock.ttrpc")) < 108


BASE = {"linker": "-s -w", "machine": "x86_64"}


def test_the_same_modules_and_flags_have_the_same_key() -> None:
    assert binaries.digest("m", "s", **BASE) == binaries.digest("m", "s", **BASE)


@pytest.mark.parametrize(
    "other",
    [
        binaries.digest("m2", "s", **BASE),
        binaries.digest("m", "s2", **BASE),
        binaries.digest("m", "s", linker="-s", machine="x86_64"),
        binaries.digest("m", "s", linker="-s -w", machine="aarch64"),
        binaries.digest("ms", "", **BASE),
    ],
    ids=["module", "sums", "flags", "machine", "border between parts"],
)
def test_another_input_has_another_key(other: str) -> None:
    assert other != binaries.digest("m", "s", **BASE)


@pytest.mark.parametrize("one", binaries.SETS, ids=lambda one: one.name)
def test_each_set_is_pinned_by_committed_files_that_name_its_programs(one: binaries.BinarySet) -> None:
    folder = GO_SETS / one.name
    tools = (folder / "tools.go").read_text()
    assert (folder / "go.sum").stat().st_size > 0
    assert all(f'_ "{package}"' in tools for package in one.programs.values())


def test_the_version_stamp_is_the_pinned_version_of_kubernetes() -> None:
    pinned = (GO_SETS / "kubernetes" / "go.mod").read_text()
    kubernetes = next(one for one in binaries.SETS if one.name == "kubernetes")
    stamps = [stamp.split("=")[1] for stamp in kubernetes.stamp if ".gitVersion=" in stamp]
    assert stamps
    assert all(f"require k8s.io/kubernetes {version}\n" in pinned for version in stamps)


def test_a_program_that_no_set_has_is_an_error() -> None:
    with pytest.raises(ClusterError, match="nonesuch"):
        binaries.program("nonesuch", cache=Path("/c"))
