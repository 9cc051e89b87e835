"""One flag for every golden file: ``pytest tests/golden --update-golden`` writes what it would compare."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    # The default is for runs from above this folder, which do not register the flag.
    return bool(request.config.getoption("--update-golden", default=False))
