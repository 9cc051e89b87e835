"""Renders the chart with helm, once for each set of arguments."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CHART = ROOT / "charts/mtls-operator"
sys.path[:0] = [str(HERE), str(ROOT / "hack/manifests")]

import helm  # noqa: E402 - a script of hack/manifests, found by the line above
from chart_rendering import Render, Rendered  # noqa: E402 - beside this file, found by the line above


@pytest.fixture(scope="session")
def helm_binary() -> Path:
    return helm.find_helm(os.environ)


@pytest.fixture(scope="session")
def render(helm_binary: Path) -> Render:
    """Return a function that renders the chart with further arguments for helm."""

    @cache
    def rendered(*arguments: str, namespace: str = helm.NAMESPACE, release: str = helm.RELEASE) -> Rendered:
        documents = helm.template(helm_binary, CHART, *arguments, namespace=namespace, release=release)
        return Rendered(tuple(documents))

    return rendered


@pytest.fixture
def chart(render: Render) -> Rendered:
    """The chart with its default values."""
    return render()
