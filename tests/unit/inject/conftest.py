from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtls_operator.inject import Injection, InjectSettings, inject

Pod = dict[str, Any]


def labelled_pod(*, host: object = "api", app: Pod | None = None, **spec: Any) -> Pod:
    """A pod of one application container; what the test is about is in ``app`` or ``spec``."""
    container = {"name": "app", "image": "shop/api"} | (app or {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api-1", "labels": {"mtls-operator.dev/host": host}},
        "spec": {"containers": [container]} | spec,
    }


def injected(pod: Pod, *, entropy: bytes = b"one", **settings: Any) -> Injection:
    chosen = InjectSettings(**({"image": "proxy:1", "version": "1.0.0"} | settings))
    return inject(pod, settings=chosen, namespace="shop", entropy=entropy)


@pytest.fixture
def pod() -> Callable[..., Pod]:
    return labelled_pod


@pytest.fixture
def inject_into() -> Callable[..., Injection]:
    return injected
