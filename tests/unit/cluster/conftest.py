from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.unit.cluster.api_server import ApiServer, running

from mtls_operator.cluster import KubernetesCluster


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with running() as api:
        yield api


@pytest.fixture
async def cluster(server: ApiServer) -> AsyncIterator[KubernetesCluster]:
    client = server.cluster(token="t0ken", concurrency=2, timeout_seconds=5)
    yield client
    await client.close()
