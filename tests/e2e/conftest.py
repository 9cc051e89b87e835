"""Fixtures of the end-to-end tests: the chart of this checkout, and a namespace for each test."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from tests.support.cluster import ROOT, Api
from tests.support.cluster import api as api  # noqa: PLC0414 - a fixture
from tests.support.cluster import kubectl as kubectl  # noqa: PLC0414 - a fixture
from tests.support.tenant import Tenant


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here as needing a cluster."""
    for item in items:
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def operator(api: Api) -> Api:
    """Install the chart with the images of this checkout, and return a client of its API server."""
    done = subprocess.run(
        [sys.executable, "hack/demo", "install"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return api


@pytest.fixture
def make_tenant(operator: Api) -> Iterator[Callable[[], Tenant]]:
    """Make namespaces that go away with the test."""
    made: list[str] = []

    def make(name: str | None = None) -> Tenant:
        tenant = Tenant(operator, name or f"t-{uuid.uuid4().hex[:8]}")
        tenant.create_namespace()
        made.append(tenant.namespace)
        return tenant

    yield make
    for namespace in made:
        operator.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def tenant(make_tenant: Callable[[], Tenant]) -> Tenant:
    """Return an empty namespace."""
    return make_tenant()


@pytest.fixture
def shop(tenant: Tenant) -> Tenant:
    """Return a namespace in the state of the quickstart: two pods, two certificates, /admin protected, all Ready."""
    tenant.host()
    tenant.rule("admin")
    tenant.certificate("good")
    tenant.certificate("bad")
    tenant.deploy()
    tenant.wait_pods(2, within=90)
    tenant.wait_ready("mtlshosts", "api")
    tenant.wait_ready("mtlsrules", "admin")
    tenant.wait_ready("clientcertificates", "good")
    tenant.wait_ready("clientcertificates", "bad")
    return tenant
