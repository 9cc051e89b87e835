"""The clock of whoever runs a command."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return what time it is at the desk."""
    return datetime.now(UTC)
