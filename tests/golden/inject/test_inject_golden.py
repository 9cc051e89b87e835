"""Pods beside this file: ``<case>.in.yaml`` goes in; ``<case>.out.yaml`` comes out, or why it was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtls_operator.inject import InjectRefused, InjectSettings, has_sidecar, inject

HERE = Path(__file__).parent
CASES = sorted(path.name.removesuffix(".in.yaml") for path in HERE.glob("*.in.yaml"))
SETTINGS = InjectSettings(image="mtls-operator.dev/proxy:test", version="0.0.0-golden")


def outcome(pod: dict[str, Any]) -> dict[str, Any]:
    try:
        injection = inject(pod, settings=SETTINGS, namespace="shop", entropy=b"golden")
    except InjectRefused as error:
        return {"refused": str(error)}
    return {"changed": injection.changed, "reason": injection.reason, "pod": injection.pod}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_a_pod_comes_out_as_its_golden_file_says(case: str, update_golden: bool) -> None:  # noqa: FBT001
    golden = HERE / f"{case}.out.yaml"
    result = outcome(load(HERE / f"{case}.in.yaml"))
    if update_golden:
        golden.write_text(yaml.safe_dump(result, sort_keys=True, width=110), encoding="utf-8")
    assert result == load(golden)


def test_every_output_has_an_input() -> None:
    outputs = {path.name.removesuffix(".out.yaml") for path in HERE.glob("*.out.yaml")}
    assert outputs == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_what_was_injected_is_recognised_as_injected(case: str) -> None:
    result = load(HERE / f"{case}.out.yaml")
    labelled = "pod" in result and "mtls-operator.dev/host" in result["pod"]["metadata"].get("labels", {})
    assert has_sidecar(result.get("pod", {})) is labelled
