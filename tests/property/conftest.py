"""Hypothesis tries ten times as many examples in ``make test-long``; a test with a number of its own multiplies it."""

from hypothesis import settings
from tests.support.depth import TIMES

settings.register_profile("depth", max_examples=100 * TIMES)
settings.load_profile("depth")
