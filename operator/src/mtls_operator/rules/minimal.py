"""The smallest deterministic automaton that accepts the same values (Hopcroft's algorithm)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

#: Cells of a table that are read in one unit of work.
_CELLS_PER_UNIT: Final = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """``rows[state][column]`` is the next state; every state can be reached from ``start``."""

    rows: list[list[int]]
    start: int
    final: frozenset[int]


def minimised(machine: Machine, most: int) -> tuple[Machine | None, int]:
    """Return the smallest equal machine, and how much work that was; None when it is more than ``most``.

    Its states are numbered in the order in which they are first met.
    """
    blocks, work = _blocks(machine, most)
    if blocks is None:
        return None, work
    block_of = [0] * len(machine.rows)
    for number, states in enumerate(blocks):
        for state in states:
            block_of[state] = number
    row_of_block = dict(zip(block_of, machine.rows, strict=True))
    numbers = {block_of[machine.start]: 0}
    order = [block_of[machine.start]]
    rows = []
    for block in order:
        row = []
        for target in row_of_block[block]:
            following = block_of[target]
            if following not in numbers:
                numbers[following] = len(numbers)
                order.append(following)
            row.append(numbers[following])
        rows.append(row)
    final = frozenset(numbers[block_of[state]] for state in machine.final if block_of[state] in numbers)
    return Machine(rows, 0, final), work


def _blocks(machine: Machine, most: int) -> tuple[list[set[int]] | None, int]:
    """Return the classes of states that no value tells apart."""
    work = len(machine.rows) * len(machine.rows[0]) // _CELLS_PER_UNIT
    before = _inverse(machine)
    everything = set(range(len(machine.rows)))
    blocks = [block for block in (set(machine.final), everything - machine.final) if block]
    block_of = {state: number for number, block in enumerate(blocks) for state in block}
    columns = range(len(machine.rows[0]))
    waiting = {(number, column) for number in range(len(blocks)) for column in columns}
    while waiting:
        if work > most:
            return None, work
        number, column = waiting.pop()
        touched: defaultdict[int, set[int]] = defaultdict(set)
        for target in blocks[number]:
            for state in before[column].get(target, ()):
                touched[block_of[state]].add(state)
        work += 1 + (len(blocks[number]) + sum(map(len, touched.values()))) // _CELLS_PER_UNIT
        for split, inside in touched.items():
            outside = len(blocks[split]) - len(inside)
            if not outside:
                continue
            blocks[split] -= inside
            blocks.append(inside)
            fresh = len(blocks) - 1
            work += len(columns)
            block_of.update(dict.fromkeys(inside, fresh))
            for each in columns:
                smaller = fresh if len(inside) <= outside else split
                waiting.add((fresh if (split, each) in waiting else smaller, each))
    return blocks, work


def _inverse(machine: Machine) -> list[dict[int, list[int]]]:
    """Return for each column the states that lead to a state."""
    before: list[dict[int, list[int]]] = [{} for _ in machine.rows[0]]
    for state, row in enumerate(machine.rows):
        for column, target in enumerate(row):
            before[column].setdefault(target, []).append(state)
    return before
