from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine says about clusters or settings takes part."""
    for variable in list(os.environ):
        if variable.startswith(("MTLS_", "KUBE")):
            monkeypatch.delenv(variable)
