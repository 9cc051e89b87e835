"""The smallest deterministic automaton that accepts the same values (Hopcroft's algorithm)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """``rows[state][column]`` is the next state; every state can be reached from ``start``."""

    rows: list[list[int]]
    start: int
    final: frozenset[int]


def minimised(machine: Machine) -> Machine:
    """Return the smallest equal machine; its states are numbered in the order in which they are first met."""
    block_of = [0] * len(machine.rows)
    for number, states in enumerate(_blocks(machine)):
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
    return Machine(rows, 0, final)


def _blocks(machine: Machine) -> list[set[int]]:
    """Return the classes of states that no value tells apart."""
    before = _inverse(machine)
    everything = set(range(len(machine.rows)))
    blocks = [block for block in (set(machine.final), everything - machine.final) if block]
    block_of = {state: number for number, block in enumerate(blocks) for state in block}
    columns = range(len(machine.rows[0]))
    waiting = {(number, column) for number in range(len(blocks)) for column in columns}
    while waiting:
        number, column = waiting.pop()
        touched: defaultdict[int, set[int]] = defaultdict(set)
        for target in blocks[number]:
            for state in before[column].get(target, ()):
                touched[block_of[state]].add(state)
        for split, inside in touched.items():
            outside = len(blocks[split]) - len(inside)
            if not outside:
                continue
            blocks[split] -= inside
            blocks.append(inside)
            fresh = len(blocks) - 1
            block_of.update(dict.fromkeys(inside, fresh))
            for each in columns:
                smaller = fresh if len(inside) <= outside else split
                waiting.add((fresh if (split, each) in waiting else smaller, each))
    return blocks


def _inverse(machine: Machine) -> list[dict[int, list[int]]]:
    """Return for each column the states that lead to a state."""
    before: list[dict[int, list[int]]] = [{} for _ in machine.rows[0]]
    for state, row in enumerate(machine.rows):
        for column, target in enumerate(row):
            before[column].setdefault(target, []).append(state)
    return before
