"""Which cluster and namespace a person means."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mtls_operator.cluster import NotConfiguredError, connect, namespace_of_context

CONTEXTS = {"here": {"namespace": "shop"}, "there": {}, "elsewhere": {"namespace": "bank"}}


@pytest.fixture(autouse=True)
def _outside_of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", **context}}
            for name, context in CONTEXTS.items()
        ],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(document))
    return str(file)


@pytest.mark.parametrize(
    ("context", "namespace"), [(None, "shop"), ("there", "default"), ("elsewhere", "bank")]
)
def test_the_namespace_is_that_of_the_context(kubeconfig: str, context: str | None, namespace: str) -> None:
    assert namespace_of_context(kubeconfig=kubeconfig, context=context) == namespace


def test_the_variable_names_the_kubeconfig_also_several(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"/none:{kubeconfig}")
    assert namespace_of_context() == "shop"


def test_a_context_that_is_not_there_is_named(kubeconfig: str) -> None:
    with pytest.raises(NotConfiguredError, match="there is no context nowhere"):
        namespace_of_context(kubeconfig=kubeconfig, context="nowhere")


async def test_connecting_takes_the_same_context(kubeconfig: str) -> None:
    cluster = await connect(kubeconfig=kubeconfig, context="there")
    await cluster.close()
    with pytest.raises(NotConfiguredError):
        await connect(kubeconfig=kubeconfig, context="nowhere")


@pytest.mark.parametrize("content", [None, "", "x", "[]", "a: [", "current-context: x\n", "contexts: 1\n"])
async def test_a_file_that_is_no_kubeconfig_is_one_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "bad"
    if content is not None:
        file.write_text(content)
    with pytest.raises(NotConfiguredError, match="no way to an API server"):
        namespace_of_context(kubeconfig=str(file))
    with pytest.raises(NotConfiguredError, match="no way to an API server"):
        await connect(kubeconfig=str(file))


def test_without_any_kubeconfig_the_one_at_home_is_missed() -> None:
    with pytest.raises(NotConfiguredError, match=r"there is no kubeconfig ~/\.kube/config"):
        namespace_of_context()


def test_in_a_pod_the_service_account_decides_unless_a_kubeconfig_is_named(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert namespace_of_context(kubeconfig=kubeconfig) == "shop"
    with pytest.raises(NotConfiguredError, match="serviceaccount/namespace"):
        namespace_of_context()
