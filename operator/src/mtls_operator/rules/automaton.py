"""Regular expressions as deterministic automata over bytes: one step per byte of the value, whatever it holds.

The tree becomes a nondeterministic automaton (Thompson's construction), that one a deterministic one (subset
construction), which is then minimised (:mod:`mtls_operator.rules.minimal`). The search is unanchored: it may
begin at any byte. Conditions on what follows a place (the end of the value or of a line, the edge of a word) are
decided when the next byte is known, or that there is none.

Some patterns have no small deterministic automaton (``a.{30}b`` needs one state for each set of places where an
``a`` stood). So states, table and work are bounded, and :class:`TooComplexError` says that a pattern is beyond. Work is
counted, not measured: the same text has the same answer everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mtls_operator.rules.deterministic import Subsets
from mtls_operator.rules.minimal import Machine, minimised
from mtls_operator.rules.nondeterministic import Graph
from mtls_operator.rules.regex_tree import RegexNode

#: Entries of all transition tables of one expression, and states of one of them.
_MAX_CELLS: Final = 65_536
_MAX_STATES: Final = 2_048
#: Units of work, about half a microsecond each, for all tables of an expression: by its length, for each KiB begun.
WORK_PER_KIB: Final = 65_000
_KIB: Final = 1024
#: Cells that are read, joined and written in one unit.
_CELLS_PER_UNIT: Final = 3

_ADVICE: Final = " (those of an expression count together); make it shorter or less repetitive"


class TooComplexError(ValueError):
    """A pattern whose automaton is beyond the limits."""


@dataclass(slots=True)
class Budget:
    """What is left for the automata of one expression: entries of their tables, and work to make them."""

    work: int
    cells: int = _MAX_CELLS

    @classmethod
    def of(cls, characters: int) -> Budget:
        """Return the budget of an expression of this length."""
        return cls(WORK_PER_KIB * max(1, -(-characters // _KIB)))

    def spend(self, work: int) -> None:
        """Use up work."""
        self.work -= work
        if self.work < 0:
            raise TooComplexError(f"it takes too much work{_ADVICE}")

    def bound(self, states: int, columns: int) -> None:
        """Refuse a table that becomes too large."""
        if states > _MAX_STATES or states * columns > self.cells:
            raise TooComplexError(f"its table is too large{_ADVICE}")


@dataclass(frozen=True, slots=True)
class Automaton:
    """A deterministic automaton, the smallest one unless it would have taken too long to find.

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
    subsets = Subsets(Graph.of(tree, budget.spend), budget.spend)
    machine = subsets.machine(budget.bound)
    smallest, work = minimised(machine, budget.work // 2)
    budget.spend(work)
    automaton = _finished(smallest or machine, subsets.columns)
    cells = sum(len(row) for row in automaton.rows)
    budget.cells -= cells
    budget.spend(cells // _CELLS_PER_UNIT)
    return automaton


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
