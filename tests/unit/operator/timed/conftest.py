from __future__ import annotations

from typing import Any

from tests.support.virtual_time import factories


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    return factories()
