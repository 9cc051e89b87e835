"""One LuaJIT for all tests of this folder."""

import pytest
from tests.unit.rules.machine import Machine


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()
