"""The tree of a regular expression: sets of bytes, assertions, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Assertion(Enum):
    """A condition on a place between two bytes; it takes none."""

    START = "the beginning of the value"
    END = "the end of the value"
    LINE_START = "the beginning of a line"
    LINE_END = "the end of a line"
    WORD_EDGE = "between a word byte and another or none"
    NO_WORD_EDGE = "anywhere else"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One byte out of a set; the empty set never matches."""

    members: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other; no part is the empty text."""

    parts: tuple[RegexNode, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any of the branches."""

    branches: tuple[RegexNode, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """A part ``low`` to ``high`` times; None is without end."""

    part: RegexNode
    low: int
    high: int | None


RegexNode: TypeAlias = OneOf | Assertion | Sequence | Alternatives | Repetition
