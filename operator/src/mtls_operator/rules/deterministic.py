"""The subset construction: from a nondeterministic automaton to a table with one next state for each byte.

A state of the table is a set of states, and what stands before them where that still matters. Bytes that nothing
tells apart share a column. The search is unanchored: it may begin at any byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mtls_operator.rules.minimal import Machine
from mtls_operator.rules.nondeterministic import ACCEPTED, Graph, Reach, Side
from mtls_operator.rules.regex import NEWLINE, WORD
from mtls_operator.rules.regex_tree import Assertion

_BYTES: Final = 256
_CHUNK: Final = 8

#: A set of states, and what stands before them; None stands for a match.
_Subset = tuple[int, Side | None] | None


class Subsets:
    """Makes the table of a graph, state by state."""

    __slots__ = (
        "_asserting",
        "_bits",
        "_followed",
        "_inside",
        "_sides",
        "_spend",
        "_starts",
        "_steps",
        "columns",
        "graph",
        "reach",
    )

    def __init__(self, graph: Graph, spend: Callable[[int], None]) -> None:
        self.graph = graph
        self.reach = Reach(graph)
        self._spend = spend
        self.columns, representatives = _byte_classes(graph)
        self._sides = [_side(graph, byte) for byte in representatives]
        self._bits = self.reach.bits
        self._asserting = {
            self._bits[state]: state for state, each in enumerate(graph.assertions) if each is not None
        }
        self._inside = [0] * len(representatives)
        for state, members in enumerate(graph.members):
            if members:
                spend(1 + len(representatives) // _CHUNK)
                for column, byte in enumerate(representatives):
                    if byte in members:
                        self._inside[column] |= self._bits[state]
        # Each by what stands before: what a byte leads to, and where a match can begin behind it.
        self._steps = {side: self._targets(side) for side in set(self._sides)}
        self._starts = {side: self.reach.between(side, None)[graph.start] for side in self._steps}
        self._followed: dict[tuple[int, Side], _Subset] = {}

    def machine(self, bound: Callable[[int, int], None]) -> Machine:
        """Return the table; ``bound`` is told its states and columns as they become more."""
        accepted: _Subset = None
        numbers: dict[_Subset, int] = {accepted: 0}
        width = len(self._sides)
        rows: list[list[int]] = [[0] * width]
        order: list[tuple[int, Side | None]] = []
        final = {0}

        def number(subset: _Subset) -> int:
            if subset not in numbers:
                numbers[subset] = len(numbers)
                if subset is not None:
                    order.append(subset)
                bound(len(numbers), width)
            return numbers[subset]

        start = number(self._closed(self.reach.between(Side.NOTHING, None)[self.graph.start], Side.NOTHING))
        for subset in order:
            self._spend(2 * width + len(self._steps))
            decided = {side: self._decided(subset, side) for side in self._steps}
            rows.append(
                [number(self._next(decided[side], column)) for column, side in enumerate(self._sides)]
            )
            if self._decided(subset, Side.NOTHING) is None:
                final.add(numbers[subset])
        return Machine(rows, start, frozenset(final))

    def _next(self, states: int | None, column: int) -> _Subset:
        """Return where a byte of this column leads."""
        if states is None:
            return None
        key = (states & self._inside[column], self._sides[column])
        if key not in self._followed:
            self._followed[key] = self._follow(*key)
        return self._followed[key]

    def _follow(self, states: int, side: Side) -> _Subset:
        reached = self._starts[side]
        steps = self._steps[side]
        data = states.to_bytes((states.bit_length() + _CHUNK - 1) // _CHUNK, "little")
        self._spend(4 + len(data) // _CHUNK)
        for place, byte in enumerate(data):
            if byte:
                reached |= steps[place].get(byte) or self._joined(steps[place], byte)
        return self._closed(reached, side)

    def _joined(self, step: dict[int, int], byte: int) -> int:
        """Join what the states of one chunk reach, and keep it."""
        self._spend(2)
        joined = 0
        for bit in range(_CHUNK):
            if byte >> bit & 1:
                joined |= step[1 << bit]
        step[byte] = joined
        return joined

    def _targets(self, side: Side) -> list[dict[int, int]]:
        """Return what each state reaches by a byte, before the next one is known: by chunk of states, and bit."""
        sets = self.reach.between(side, None)
        chunks = max(self._bits).bit_length() // _CHUNK + 1
        steps: list[dict[int, int]] = [{1 << bit: 0 for bit in range(_CHUNK)} for _ in range(chunks)]
        for state, members in enumerate(self.graph.members):
            if members:
                place, bit = divmod(self._bits[state].bit_length() - 1, _CHUNK)
                steps[place][1 << bit] = sets[self.graph.targets[state]]
        return steps

    def _closed(self, states: int, before: Side) -> _Subset:
        if states & ACCEPTED:
            return None
        return states, before if any(states & bit for bit in self._asserting) else None

    def _decided(self, subset: tuple[int, Side | None], following: Side) -> int | None:
        """Return the states when it is known what follows; None when that is a match."""
        states, before = subset
        if before is None:
            return states
        sets = self.reach.between(before, following)
        decided = states
        self._spend(2 + len(self._asserting) // _CHUNK)
        for bit, state in self._asserting.items():
            if states & bit:
                decided = decided & ~bit | sets[state]
        return None if decided & ACCEPTED else decided


def _side(graph: Graph, byte: int) -> Side:
    """Return what a byte is to the assertions of a graph; what none of them asks for is OTHER."""
    asked = set(graph.assertions)
    if byte == NEWLINE and not asked.isdisjoint({Assertion.LINE_START, Assertion.LINE_END}):
        return Side.NEWLINE
    if byte in WORD and not asked.isdisjoint({Assertion.WORD_EDGE, Assertion.NO_WORD_EDGE}):
        return Side.WORD
    return Side.OTHER


def _byte_classes(graph: Graph) -> tuple[list[int], list[int]]:
    """Return the column of each byte, and one byte of each column; bytes that nothing tells apart share one."""
    asked = set(graph.assertions)
    classes = [frozenset(range(_BYTES))]
    sets = {members for members in graph.members if members is not None}
    if not asked.isdisjoint({Assertion.LINE_START, Assertion.LINE_END}):
        sets.add(frozenset({NEWLINE}))
    if not asked.isdisjoint({Assertion.WORD_EDGE, Assertion.NO_WORD_EDGE}):
        sets.add(WORD)
    for members in sets:
        graph.spend(_CHUNK + 2 * len(classes))
        parts = ((each & members, each - members) for each in classes)
        classes = [part for pair in parts for part in pair if part]
    classes.sort(key=min)
    columns = [0] * _BYTES
    for column, each in enumerate(classes):
        for byte in each:
            columns[byte] = column
    return columns, [min(each) for each in classes]
