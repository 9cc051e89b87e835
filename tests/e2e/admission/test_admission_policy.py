"""The admission policy on a real API server: a labelled pod exists with its sidecar or not at all.

The webhook leaves ``kube-system`` out, the policy does not: what is sent there meets the policy alone. Nothing is
created but two pods that no scheduler takes; the rest are dry runs.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.admission.cases import (
    LABELLED_NAME,
    PLAIN_NAME,
    Case,
    Kind,
    binding,
    cases,
    labelled_pod,
    patched,
    plain_pod,
)

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
Json = dict[str, Any]

NAMESPACE = "kube-system"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
RESOURCES = {
    Kind.CREATE: PODS,
    Kind.PLAIN: f"{PODS}/{PLAIN_NAME}",
    Kind.UPDATE: f"{PODS}/{LABELLED_NAME}",
    Kind.STATUS: f"{PODS}/{LABELLED_NAME}/status",
    Kind.DEBUG: f"{PODS}/{LABELLED_NAME}/ephemeralcontainers",
    Kind.BIND: f"{PODS}/{LABELLED_NAME}/binding",
}

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def proxy_image(operator: object, kubectl: Kubectl) -> str:
    """The image that the installed chart injects."""
    assert operator is not None
    path = "{.spec.template.spec.containers[0].env[?(@.name=='MTLS_PROXY_IMAGE')].value}"
    found = kubectl(
        "-n", "mtls-system", "get", "deploy", "mtls-operator-webhook", f"--output=jsonpath={path}"
    )
    assert found.stdout, found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def pods(
    kubectl: Kubectl, proxy_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Json]]:
    """The two pods as the API server stored them."""
    stored = {}
    folder = tmp_path_factory.mktemp("pods")
    for pod in (plain_pod(), labelled_pod(proxy_image)):
        name = pod["metadata"]["name"]
        kubectl("-n", NAMESPACE, "delete", "pod", name, "--ignore-not-found", "--force", "--grace-period=0")
        created = kubectl("create", "--raw", PODS, "-f", str(write(folder / f"{name}.json", pod)))
        assert created.returncode == 0, created.stderr
        stored[name] = json.loads(created.stdout)
    yield stored
    kubectl("-n", NAMESPACE, "delete", "pod", *stored, "--force", "--grace-period=0")


def write(path: Path, document: Json) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def sent(
    case: Case, *, kubectl: Kubectl, pods: dict[str, Json], proxy_image: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Send the request of a case as a dry run."""
    documents: dict[Kind, Json] = {
        Kind.CREATE: labelled_pod(proxy_image) | {"apiVersion": "v1"},
        Kind.PLAIN: pods[PLAIN_NAME],
        Kind.BIND: binding(),
    }
    document = patched(documents.get(case.kind, pods[LABELLED_NAME]), case.patch)
    if case.kind is Kind.CREATE:
        document["metadata"]["name"] = "admission-created"
    verb = "create" if case.kind in (Kind.CREATE, Kind.BIND) else "replace"
    file = write(folder / "request.json", document)
    return kubectl(verb, "--raw", f"{RESOURCES[case.kind]}?dryRun=All", "-f", str(file))


@pytest.mark.parametrize("case", cases("refused"), ids=lambda case: case.name)
def test_what_would_be_a_labelled_pod_without_its_sidecar_is_refused(
    case: Case, kubectl: Kubectl, pods: dict[str, Json], proxy_image: str, tmp_path: Path
) -> None:
    result = sent(case, kubectl=kubectl, pods=pods, proxy_image=proxy_image, folder=tmp_path)
    assert result.returncode != 0, result.stdout
    assert "ValidatingAdmissionPolicy 'mtls-operator-" in result.stderr
    assert case.error in " ".join(result.stderr.split())


@pytest.mark.parametrize("case", cases("accepted"), ids=lambda case: case.name)
def test_what_keeps_the_sidecar_whole_is_accepted(
    case: Case, kubectl: Kubectl, pods: dict[str, Json], proxy_image: str, tmp_path: Path
) -> None:
    result = sent(case, kubectl=kubectl, pods=pods, proxy_image=proxy_image, folder=tmp_path)
    assert result.returncode == 0, result.stderr
