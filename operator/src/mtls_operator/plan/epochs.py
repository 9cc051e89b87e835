"""Epochs: the order of generated scripts, across restarts, deleted objects and restored backups.

A counter kept in an object would start again when that object is lost, and everything newer would lose against the
files that proxies hold; so an epoch is a time that never goes backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

_FARTHEST: Final = timedelta(days=3650)


def credible(epoch: int | None, *, now: datetime) -> int | None:
    """Return an epoch that we can have written, else None.

    Tenants can edit what proxies mount: an epoch of nought, or of the far future that leaves no room above it, must
    not stop us from publishing. Ten years are more than any clock is wrong by.
    """
    if epoch is None or not 0 < epoch <= _milliseconds(now + _FARTHEST):
        return None
    return epoch


def next_epoch(seen: Iterable[int | None], *, now: datetime) -> int:
    """Return an epoch above every one that was seen: Unix time in milliseconds, or one more than the highest."""
    believed = (credible(epoch, now=now) for epoch in seen)
    highest = max((epoch for epoch in believed if epoch is not None), default=0)
    return max(highest + 1, _milliseconds(now))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
