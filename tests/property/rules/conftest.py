"""Hypothesis settings and the machine for the properties of the rules language.

``MTLS_RULES_EXAMPLES`` sets the number of examples for each property (default 300).
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from tests.unit.rules.machine import Machine

settings.register_profile(
    "rules",
    max_examples=int(os.environ.get("MTLS_RULES_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()
