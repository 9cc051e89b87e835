"""Epochs: the order of generated scripts, across restarts, deleted objects and restored backups.

A counter kept in an object would start again when that object is lost, and everything newer would lose against the
files that proxies hold; so an epoch is a time that never goes backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime


def next_epoch(seen: Iterable[int | None], *, now: datetime) -> int:
    """Return an epoch above every one that was seen: Unix time in milliseconds, or one more than the highest."""
    highest = max((epoch for epoch in seen if epoch is not None), default=0)
    return max(highest + 1, int(now.timestamp() * 1000))
