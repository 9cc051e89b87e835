"""``make test``: what runs, in which order, and what is left behind; no process is started here."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "hack" / "testing" / "__main__.py"


@dataclass(slots=True)
class Machine:
    """Takes the place of ``subprocess``: remembers commands and lets those fail that a test names."""

    failing: set[str] = field(default_factory=set)
    cluster_up: bool = False
    ran: list[str] = field(default_factory=list)
    interrupted_at: str = ""
    building: bool = False

    def run(self, command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        name = short(command)
        self.ran.append(name)
        if name == self.interrupted_at:
            raise KeyboardInterrupt
        code = int(name in self.failing)
        if name == "cluster status":
            code = 0 if self.cluster_up else 3
        return subprocess.CompletedProcess(command, code)

    def begin(self, command: Sequence[str], **_: Any) -> Build:
        self.ran.append(short(command))
        self.building = True
        return Build(self)


@dataclass(slots=True)
class Build:
    """The build of the cluster's binaries, which runs beside the first checks."""

    machine: Machine

    def wait(self) -> int:
        self.machine.building = False
        return int("cluster build" in self.machine.failing)

    def terminate(self) -> None:
        self.machine.building = False


def short(command: Sequence[str | Path]) -> str:
    """Return what a command does in two words."""
    words = [str(word) for word in command]
    if "hack/cluster" in words:
        return f"cluster {words[-1]}"
    if "hack/manifests/render.py" in words:
        return "render check"
    if "pytest" in words:
        return "pytest e2e" if words[-1] == "tests/e2e" else "pytest rest"
    return Path(words[0]).name + (f" {words[1]}" if len(words) > 1 else "")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    stand_in = Machine()
    monkeypatch.setattr(subprocess, "run", stand_in.run)
    monkeypatch.setattr(subprocess, "Popen", stand_in.begin)
    return stand_in


@pytest.fixture
def testing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_test", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_found_soonest_runs_first(machine: Machine, testing: ModuleType) -> None:
    assert testing.main() == 0
    assert machine.ran == [
        "cluster build",
        "ruff check",
        "ruff format",
        "lint-imports --no-cache",
        "mypy",
        "render check",
        "cluster status",
        "cluster up",
        "cluster images",
        "pytest rest",
        "pytest e2e",
        "cluster down",
    ]


@pytest.mark.parametrize(
    "stage",
    [
        "ruff check",
        "ruff format",
        "lint-imports --no-cache",
        "mypy",
        "render check",
        "pytest rest",
        "pytest e2e",
    ],
)
def test_a_stage_that_fails_fails_the_whole_and_the_others_run_all_the_same(
    machine: Machine, testing: ModuleType, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.failing = {stage}
    assert testing.main() == 1
    assert machine.ran[-3:] == ["pytest rest", "pytest e2e", "cluster down"]
    assert "FAILED" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("stage", ["cluster up", "cluster images"])
def test_without_a_cluster_no_test_runs_and_what_was_started_is_stopped(
    machine: Machine, testing: ModuleType, stage: str
) -> None:
    machine.failing = {stage}
    assert testing.main() == 1
    assert not {"pytest rest", "pytest e2e"} & set(machine.ran)
    assert machine.ran[-1] == "cluster down"


def test_a_cluster_that_cannot_be_built_ends_it(machine: Machine, testing: ModuleType) -> None:
    machine.failing = {"cluster build"}
    assert testing.main() == 1
    assert "cluster up" not in machine.ran


def test_a_cluster_that_was_up_before_is_left_up(machine: Machine, testing: ModuleType) -> None:
    machine.cluster_up = True
    assert testing.main() == 0
    assert "cluster down" not in machine.ran


def test_a_cluster_that_was_up_before_is_left_up_after_a_failure_too(
    machine: Machine, testing: ModuleType
) -> None:
    machine.cluster_up, machine.failing = True, {"pytest rest"}
    assert testing.main() == 1
    assert "cluster down" not in machine.ran


def test_an_interrupted_test_run_stops_the_cluster(machine: Machine, testing: ModuleType) -> None:
    machine.interrupted_at = "pytest rest"
    with pytest.raises(KeyboardInterrupt):
        testing.main()
    assert machine.ran[-1] == "cluster down"


def test_an_interruption_during_the_first_checks_stops_the_build(
    machine: Machine, testing: ModuleType
) -> None:
    machine.interrupted_at = "mypy"
    with pytest.raises(KeyboardInterrupt):
        testing.main()
    assert not machine.building
    assert "cluster up" not in machine.ran
