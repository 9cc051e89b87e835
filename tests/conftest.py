"""Settings of every test: hypothesis tries ten times as many examples in ``make test-long``."""

from hypothesis import HealthCheck, settings
from tests.support.depth import TIMES

# No example has a time limit: how fast a machine is says nothing about the code. benchmarks/ measures.
settings.register_profile(
    "tests", max_examples=100 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")
