"""Fixtures of the integration tests."""

from tests.support.cluster import kubectl as kubectl  # noqa: PLC0414 - the fixture, for tests that need an API server
