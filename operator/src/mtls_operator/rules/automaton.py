"""Regular expressions as deterministic automata over bytes: one step per byte of the value, whatever it holds.

The tree becomes a nondeterministic automaton (Thompson's construction), that one a deterministic one (subset
construction), which is then minimised (:mod:`mtls_operator.rules.minimal`). The search is unanchored: it may
begin at any byte. Conditions on what follows a place (the end of the value or of a line, the edge of a word) are
decided when the next byte is known, or that there is none.

Some patterns have no small deterministic automaton (``a.{30}b`` needs one state for each set of places where an
``a`` stood). So states, table and work are bounded, and :class:`TooComplexError` says that a pattern is beyond.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mtls_operator.rules.minimal import Machine, minimised
from mtls_operator.rules.regex import NEWLINE, WORD
from mtls_operator.rules.regex_tree import (
    Alternatives,
    Assertion,
    OneOf,
    RegexNode,
    Repetition,
    Sequence,
)

#: Entries of all transition tables of one expression, and states of one of them.
_MAX_CELLS: Final = 65_536
_MAX_STATES: Final = 2_048
#: Visits of nondeterministic states while all tables of one expression are made: about half a second.
_MAX_WORK: Final = 600_000

_ADVICE: Final = " (those of an expression count together); make it shorter or less repetitive"
_BYTES: Final = 256


class TooComplexError(ValueError):
    """A pattern whose automaton is beyond the limits."""


class _Side(Enum):
    """What stands on one side of a place."""

    NOTHING = "nothing"
    WORD = "word"
    NEWLINE = "newline"
    OTHER = "other"


@dataclass(slots=True)
class Budget:
    """What is left for the automata of one expression: entries of their tables, and work to make them."""

    cells: int = _MAX_CELLS
    work: int = _MAX_WORK

    def spend(self, work: int) -> None:
        """Use up work."""
        self.work -= work
        if self.work < 0:
            raise TooComplexError(f"it takes too much work{_ADVICE}")


@dataclass(frozen=True, slots=True)
class Automaton:
    """A minimal deterministic automaton.

    ``classes``: the column of each byte. ``rows``: for each state the next one by column. ``accepting``: a
    state that, once reached, decides for a match; None when there is none. ``dead``: the same for no match.
    ``final``: states in which the end of the value is a match.
    """

    classes: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    start: int
    final: frozenset[int]
    accepting: int | None
    dead: int | None

    def matches(self, value: bytes) -> bool:
        """Return whether some part of the value matches, in one step per byte."""
        state = self.start
        for byte in value:
            if state in {self.accepting, self.dead}:
                break
            state = self.rows[state][self.classes[byte]]
        return state in self.final


def compile_automaton(tree: RegexNode, budget: Budget) -> Automaton:
    """Return the automaton of a tree, and take what it needs from the budget.

    Raises:
        TooComplexError: it would be too large, or take too long to make.
    """
    automaton = _Subsets(_Graph.of(tree), budget).automaton()
    budget.cells -= sum(len(row) for row in automaton.rows)
    return automaton


# The nondeterministic automaton.


@dataclass(slots=True)
class _Graph:
    """States by number: where a byte leads to, where an assertion leads to, and where nothing is needed."""

    members: list[frozenset[int] | None] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    assertions: list[Assertion | None] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    start: int = 0
    end: int = 0

    @classmethod
    def of(cls, tree: RegexNode) -> _Graph:
        graph = cls()
        graph.start = graph.state()
        graph.end = graph.add(tree, graph.start)
        return graph

    def state(self) -> int:
        self.members.append(None)
        self.targets.append(-1)
        self.assertions.append(None)
        self.free.append([])
        return len(self.free) - 1

    def add(self, node: RegexNode, start: int) -> int:
        """Add a part that begins in a state; return the state in which it ends."""
        match node:
            case OneOf():
                self.members[start], self.targets[start] = node.members, self.state()
                return self.targets[start]
            case Assertion():
                self.assertions[start], self.targets[start] = node, self.state()
                return self.targets[start]
            case Sequence():
                for part in node.parts:
                    start = self.add(part, self.after(start))
                return start
            case Alternatives():
                end = self.state()
                for branch in node.branches:
                    self.free[self.add(branch, self.after(start))].append(end)
                return end
            case Repetition():
                return self.repeat(node, start)

    def after(self, state: int) -> int:
        """Return a fresh state that needs nothing to be reached."""
        fresh = self.state()
        self.free[state].append(fresh)
        return fresh

    def repeat(self, node: Repetition, start: int) -> int:
        for _ in range(node.low):
            start = self.add(node.part, self.after(start))
        if node.high is None:
            loop = self.after(start)
            self.free[self.add(node.part, self.after(loop))].append(loop)
            return self.after(loop)
        end = self.state()
        for _ in range(node.high - node.low):
            self.free[start].append(end)
            start = self.add(node.part, self.after(start))
        self.free[start].append(end)
        return end


# The subset construction.

#: A set of nondeterministic states, and what stands before them where that still matters.
_Subset = tuple[frozenset[int], _Side | None]


class _Subsets:
    """Turns a graph into a table, state by state."""

    __slots__ = ("budget", "columns", "graph", "inside", "representatives", "seen", "sides")

    def __init__(self, graph: _Graph, budget: Budget) -> None:
        self.graph = graph
        self.budget = budget
        self.columns, self.representatives = _byte_classes(graph)
        self.sides = [_side(graph, byte) for byte in self.representatives]
        self.inside = [
            [column for column, byte in enumerate(self.representatives) if byte in members] if members else []
            for members in graph.members
        ]
        self.seen: dict[tuple[frozenset[int], _Side], _Subset | None] = {}

    def automaton(self) -> Automaton:
        """Make the table, and make it as small as possible."""
        accepted: _Subset | None = None
        numbers: dict[_Subset | None, int] = {accepted: 0}
        order: list[_Subset] = []
        rows: list[list[int]] = [[0] * len(self.representatives)]
        final = {0}

        def number(subset: _Subset | None) -> int:
            if subset not in numbers:
                numbers[subset] = len(numbers)
                if subset is not None:
                    order.append(subset)
                self.bound(len(numbers))
            return numbers[subset]

        start = number(self.closed(frozenset({self.graph.start}), _Side.NOTHING))
        for subset in order:
            rows.append([number(following) for following in self.row(subset)])
            if self.decided(subset, _Side.NOTHING) is None:
                final.add(numbers[subset])
        return _finished(minimised(Machine(rows, start, frozenset(final))), self.columns)

    def bound(self, states: int) -> None:
        if states > _MAX_STATES or states * len(self.representatives) > self.budget.cells:
            raise TooComplexError(f"its table is too large{_ADVICE}")

    def row(self, subset: _Subset) -> list[_Subset | None]:
        """Return the next subset by column, None for the one that accepts."""
        targets: list[set[int]] = [set() for _ in self.representatives]
        accepted: set[_Side] = set()
        expanded: dict[_Side, frozenset[int]] = {}
        for side in set(self.sides):
            states = self.decided(subset, side)
            if states is None:
                accepted.add(side)
            else:
                expanded[side] = states
        for side, states in expanded.items():
            for state in states:
                self.budget.spend(1 + len(self.inside[state]))
                for column in self.inside[state]:
                    if self.sides[column] is side:
                        targets[column].add(self.graph.targets[state])
        return [
            None if side in accepted else self.closed(frozenset({*targets[column], self.graph.start}), side)
            for column, side in enumerate(self.sides)
        ]

    def decided(self, subset: _Subset, following: _Side) -> frozenset[int] | None:
        """Return the states when it is known what follows; None when that is a match."""
        states, before = subset
        if before is None:
            return states
        return self.reached(states, before, following)

    def closed(self, states: frozenset[int], before: _Side) -> _Subset | None:
        """Return everything that these states reach before the next byte is known; None for a match."""
        key = (states, before)
        if key not in self.seen:
            reached = self.reached(states, before, None)
            open_ones = reached is not None and any(self.graph.assertions[state] for state in reached)
            self.seen[key] = None if reached is None else (reached, before if open_ones else None)
        return self.seen[key]

    def reached(self, states: Iterable[int], before: _Side, following: _Side | None) -> frozenset[int] | None:
        """Follow what needs no byte; keep the states that wait for one, or for what follows."""
        graph = self.graph
        pending = list(states)
        visited = set(pending)
        kept = set()
        while pending:
            state = pending.pop()
            self.budget.spend(1)
            if state == graph.end:
                return None
            nexts = graph.free[state]
            assertion = graph.assertions[state]
            if assertion is not None:
                holds = _holds(assertion, before, following)
                nexts = [graph.targets[state]] if holds else []
                if holds is None:
                    kept.add(state)
            elif graph.members[state]:
                kept.add(state)
            for each in nexts:
                if each not in visited:
                    visited.add(each)
                    pending.append(each)
        return frozenset(kept)


def _holds(assertion: Assertion, before: _Side, following: _Side | None) -> bool | None:
    """Return whether an assertion holds; None when that depends on what follows and it is not known."""
    if assertion is Assertion.START:
        return before is _Side.NOTHING
    if assertion is Assertion.LINE_START:
        return before in {_Side.NOTHING, _Side.NEWLINE}
    if following is None:
        return None
    if assertion is Assertion.END:
        return following is _Side.NOTHING
    if assertion is Assertion.LINE_END:
        return following in {_Side.NOTHING, _Side.NEWLINE}
    edge = (before is _Side.WORD) != (following is _Side.WORD)
    return edge is (assertion is Assertion.WORD_EDGE)


def _side(graph: _Graph, byte: int) -> _Side:
    """Return what a byte is to the assertions of a graph; what none of them asks for is OTHER."""
    asked = set(graph.assertions)
    if byte == NEWLINE and not asked.isdisjoint({Assertion.LINE_START, Assertion.LINE_END}):
        return _Side.NEWLINE
    if byte in WORD and not asked.isdisjoint({Assertion.WORD_EDGE, Assertion.NO_WORD_EDGE}):
        return _Side.WORD
    return _Side.OTHER


def _byte_classes(graph: _Graph) -> tuple[list[int], list[int]]:
    """Return the column of each byte, and one byte of each column; bytes that nothing tells apart share one."""
    sets = sorted({members for members in graph.members if members is not None}, key=sorted)
    signatures: dict[tuple[object, ...], int] = {}
    columns: list[int] = []
    representatives: list[int] = []
    for byte in range(_BYTES):
        signature = (_side(graph, byte), *(byte in members for members in sets))
        if signature not in signatures:
            signatures[signature] = len(signatures)
            representatives.append(byte)
        columns.append(signatures[signature])
    return columns, representatives


def _finished(machine: Machine, columns: list[int]) -> Automaton:
    """Join the columns that are equal now, and find the states that decide."""
    by_content: dict[tuple[int, ...], int] = {}
    joined = [
        by_content.setdefault(tuple(content), len(by_content)) for content in zip(*machine.rows, strict=True)
    ]
    rows = tuple(zip(*by_content, strict=True))
    stuck = [state for state, row in enumerate(rows) if set(row) == {state}]
    return Automaton(
        classes=tuple(joined[column] for column in columns),
        rows=rows,
        start=machine.start,
        final=machine.final,
        accepting=next((state for state in stuck if state in machine.final), None),
        dead=next((state for state in stuck if state not in machine.final), None),
    )
