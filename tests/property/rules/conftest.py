"""Hypothesis settings and the machine for the properties of the rules language.

``pairs`` is the profile of the central property (the generated code agrees with the reference), ``rules`` that of the
others.
"""

import pytest
from hypothesis import HealthCheck, settings
from tests.support.depth import TIMES
from tests.unit.rules.machine import Machine

for _name, _examples in (("pairs", 2_000), ("rules", 300)):
    settings.register_profile(
        _name,
        max_examples=_examples * TIMES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()
