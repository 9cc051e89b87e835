from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from tests.feature.harness import Lab
from tests.support.virtual_time import factories


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    return factories()


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
async def lab(log_lines: list[Any]) -> AsyncIterator[Lab]:
    """A cluster with the namespaces of the operator and of one tenant, and an operator that is not started yet."""
    laboratory = Lab(log_lines)
    yield laboratory
    await laboratory.close()
