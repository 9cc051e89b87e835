"""Inclusive ranges of integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the ranges in order, with those in one that overlap or touch."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def within(value: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether one of these ranges, in order and apart, has the value."""
    place = bisect_right(ranges, value, key=lambda pair: pair[0])
    return place > 0 and value <= ranges[place - 1][1]
