from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mtls_operator.pki import Authority, new_authority

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return new_authority("Shop CA", now=NOW, lifetime=timedelta(days=3650), entropy=bytes(16))
