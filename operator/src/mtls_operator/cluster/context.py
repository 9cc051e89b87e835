"""Which cluster and namespace a person means: the kubeconfig as kubectl reads it, or the pod's service account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import yaml
from kubernetes.aio import config as kubernetes_config

from mtls_operator.cluster.errors import NotConfiguredError

_DEFAULT: Final = "default"
_HOME: Final = "~/.kube/config"
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
#: What the library raises for files that are not there, not YAML, or no kubeconfig.
UNUSABLE: Final = (
    kubernetes_config.ConfigException,
    OSError,
    yaml.YAMLError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


def in_a_pod(*, kubeconfig: str | None, context: str | None) -> bool:
    """Say whether the service account of the pod is meant: there is one, and nobody names a kubeconfig."""
    named = kubeconfig or context or os.environ.get("KUBECONFIG")
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not named


def kubeconfig_files(kubeconfig: str | None) -> str:
    """Return the files of a kubeconfig as the library takes them: the one given, ``KUBECONFIG``, or the one at home.

    Raises:
        NotConfiguredError: none of them exists.
    """
    files = kubeconfig or os.environ.get("KUBECONFIG") or _HOME
    if not any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file):
        raise NotConfiguredError(f"no way to an API server: there is no kubeconfig {files}")
    return files


def namespace_of_context(*, kubeconfig: str | None = None, context: str | None = None) -> str:
    """Return the namespace of a context (None: the current one), in a pod that of its service account.

    Raises:
        NotConfiguredError: there is no such file or context.
    """
    try:
        if in_a_pod(kubeconfig=kubeconfig, context=context):
            return _OWN_NAMESPACE.read_text("ascii").strip() or _DEFAULT
        contexts, current = kubernetes_config.list_kube_config_contexts(  # type: ignore[no-untyped-call]  # no types here
            kubeconfig_files(kubeconfig)
        )
        known = [each for each in contexts if each["name"] == context] if context else [current]
        if not known:
            raise NotConfiguredError(
                f"no way to an API server: there is no context {context} in the kubeconfig"
            )
        return str((known[0].get("context") or {}).get("namespace") or _DEFAULT)
    except UNUSABLE as error:
        raise NotConfiguredError(f"no way to an API server: {error}") from error
