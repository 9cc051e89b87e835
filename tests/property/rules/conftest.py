"""Hypothesis settings and the machine for the properties of the rules language.

Two depths, chosen by ``MTLS_TEST_DEPTH``: ``standard`` in ``make test``, ``long`` in ``make test-long``. ``pairs`` is
the profile of the central property (the generated code agrees with the reference), ``rules`` that of the others.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from tests.unit.rules.machine import Machine

#: Examples of the central property, and of each other one.
DEPTHS = {"standard": (2_000, 300), "long": (20_000, 3_000)}

_pairs, _rules = DEPTHS[os.environ.get("MTLS_TEST_DEPTH", "standard")]
for _name, _examples in (("pairs", _pairs), ("rules", _rules)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()
