"""Finds and runs helm; renders the chart without a cluster.

The pinned helm that ``hack/cluster build`` makes comes first, so that everybody renders the same bytes; a helm
on PATH is good enough where that was never built. It deliberately installs nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

#: Namespace and release of the plain manifests and of every example in the documentation.
RELEASE = "mtls-operator"
NAMESPACE = "mtls-system"


class HelmError(Exception):
    """helm is missing or refused something; the message says what to do."""


def find_helm(environ: Mapping[str, str]) -> Path:
    """Return the helm to use: ``HELM``, else the pinned one of the cache, else one on PATH.

    Raises:
        HelmError: there is none.
    """
    if chosen := environ.get("HELM"):
        return Path(chosen)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache")
    built = sorted(
        (cache / "mtls-operator" / "bin").glob("helm-*/helm"), key=lambda path: path.stat().st_mtime
    )
    if built:
        return built[-1]
    if on_path := shutil.which("helm", path=environ.get("PATH", "")):
        return Path(on_path)
    raise HelmError("helm is missing: run `.venv/bin/python hack/cluster build`, or set HELM to its path")


def run(helm: Path, *arguments: str) -> str:
    """Return what helm prints.

    Raises:
        HelmError: helm failed; the message is its own.
    """
    finished = subprocess.run([str(helm), *arguments], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise HelmError(
            f"helm {' '.join(arguments[:2])}: {finished.stderr.strip() or finished.stdout.strip()}"
        )
    return finished.stdout


def template(
    helm: Path, chart: Path, *arguments: str, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[dict[str, object]]:
    """Return the objects of the chart in helm's order, for the given further arguments (``--set ...``)."""
    text = run(helm, "template", release, str(chart), "--namespace", namespace, *arguments)
    return [document for document in yaml.safe_load_all(text) if document]
