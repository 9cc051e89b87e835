"""Relations as Lua: one value, which is never nil, against one operand.

A relation is text that holds the value's text. What is large stands in constants, which the caller collects.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from mtls_operator.rules.automaton import Automaton
from mtls_operator.rules.lua_text import lua_list, lua_literal, lua_number, lua_set, lua_string
from mtls_operator.rules.ranges import merged
from mtls_operator.rules.tree import (
    BytesSet,
    Comparison,
    IntSet,
    IpSet,
    ListReference,
    Literal,
    Operator,
    Pattern,
    Regex,
)
from mtls_operator.rules.types import Kind

_SEARCHES: Final = {Kind.INT: "rt.within", Kind.IP: "rt.in_ranges"}
_ORDER: Final = {
    Operator.EQ: "==",
    Operator.NE: "~=",
    Operator.GE: ">=",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.LT: "<",
}


def takes_missing(node: Comparison) -> bool:
    """Return whether the text of a relation is right for nil as well: ``ne`` is true, the others are false."""
    if isinstance(node.operand, ListReference):
        return node.operand.kind is Kind.BYTES
    return node.operator in {Operator.EQ, Operator.NE} or isinstance(node.operand, BytesSet)


def relation(node: Comparison, value: str, constant: Callable[[str | ListReference], str]) -> str:
    """Return the text of a relation; ``constant`` takes a constant and returns its name."""
    operand = node.operand
    match operand:
        case Literal():
            return _literal(node.operator, value, operand)
        case BytesSet():
            return f"({constant(lua_set(operand.members))}[{value}] == true)"
        case IntSet():
            ends = (lua_number(end) for pair in merged(operand.ranges) for end in pair)
            return f"rt.within({value}, {constant(lua_list(ends))})"
        case IpSet():
            return f"rt.in_ranges({value}, {constant(_families(operand))})"
        case ListReference():
            name = constant(operand)
            return (
                f"({name}[{value}] == true)"
                if operand.kind is Kind.BYTES
                else f"{_SEARCHES[operand.kind]}({value}, {name})"
            )
        case Pattern():
            folded = node.operator is Operator.WILDCARD
            function = "rt.wildcard" if folded else "rt.strict_wildcard"
            pieces = [piece.lower() if folded else piece for piece in operand.pieces]
            return f"{function}({value}, {constant(lua_list(lua_string(piece) for piece in pieces))})"
        case Regex():
            return f"rt.accepts({value}, {constant(_tables(operand.automaton))})"


def _literal(operator: Operator, value: str, operand: Literal) -> str:
    literal = lua_literal(operand.value)
    if operator is Operator.CONTAINS:
        return f"rt.contains({value}, {literal})"
    comparison = f"{value} {_ORDER[operator]} {literal}"
    if isinstance(operand.value, bytes | int) or operator in {Operator.EQ, Operator.NE}:
        return f"({comparison})"
    return f"(#{value} == {len(operand.value.packed)} and {comparison})"


def _families(operand: IpSet) -> str:
    """Return the sorted, merged ranges of each family as ``{[4]={low,high,…},[16]={low,high,…}}``."""
    families = []
    for size, version in ((4, 4), (16, 6)):
        pairs = merged((int(low), int(high)) for low, high in operand.ranges if low.version == version)
        ends = (lua_string(end.to_bytes(size, "big")) for pair in pairs for end in pair)
        families.append(f"[{size}]={lua_list(ends)}")
    return lua_list(families)


def _tables(automaton: Automaton) -> str:
    """Return the tables of an automaton: a state is the place of its row, 0 means match, -1 means no match."""
    free = itertools.count(1, len(automaton.rows[0]))
    decided = {automaton.accepting: 0, automaton.dead: -1}
    places = [decided[state] if state in decided else next(free) for state in range(len(automaton.rows))]
    live = [state for state, place in enumerate(places) if place > 0]
    following = (str(places[target]) for state in live for target in automaton.rows[state])
    entries = [
        f"start={places[automaton.start]}",
        "classes={[0]=" + ",".join(map(str, automaton.classes)) + "}",
        f"following={lua_list(following)}",
        "final=" + lua_list(f"[{places[state]}]=true" for state in live if state in automaton.final),
    ]
    return lua_list(entries)
