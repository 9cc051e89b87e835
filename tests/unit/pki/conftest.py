from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mtls_operator.pki import (
    Authority,
    Issued,
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    make_serial,
    new_authority,
)

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)

Issue = Callable[..., Issued]
OpenSsl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return new_authority("Shop CA", now=NOW - 10 * DAY, lifetime=3650 * DAY, entropy=bytes(range(16)))


@pytest.fixture(scope="session")
def other_authority() -> Authority:
    """A CA of the same name with another key: what an attacker can make."""
    return new_authority("Shop CA", now=NOW - 10 * DAY, lifetime=3650 * DAY, entropy=bytes(range(16)))


@pytest.fixture(scope="session")
def issue(authority: Authority) -> Issue:
    """Issue a client certificate: everything has a default, each test names what matters to it."""

    def build(  # noqa: PLR0917 - called by keyword
        subject: Subject = Subject(common_name="gateway-7"),  # noqa: B008 - frozen
        sans: SubjectAltNames = SubjectAltNames(),  # noqa: B008 - frozen
        key: KeySpec = KeySpec(),  # noqa: B008 - frozen
        validity: timedelta = 365 * DAY,
        serial: int | None = None,
        now: datetime = NOW,
        by: Authority = authority,
    ) -> Issued:
        number = make_serial(7, b"\x2a" * 15) if serial is None else serial
        return issue_client(
            by, subject=subject, sans=sans, key=key, validity=validity, serial=number, now=now
        )

    return build


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSsl:
    """Run the ``openssl`` command; texts given by name become files: ``leaf=pem`` makes the file ``leaf``."""

    def run(*arguments: str, **files: str | bytes) -> subprocess.CompletedProcess[str]:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
        )

    return run
