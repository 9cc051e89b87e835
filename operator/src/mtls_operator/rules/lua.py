"""Tree to Lua: an expression over the facts of one request, for LuaJIT inside the proxy.

The generated text refers to three names of its surroundings:

``f``
    the facts, indexed by field name; strings are byte strings, addresses 4 or 16 packed bytes (IPv4-mapped
    ones unmapped), Booleans are Booleans; never nil.
``rt``
    the functions of ``runtime.lua`` (:data:`RUNTIME` is a chunk that returns them).
``K``
    the rule's constants, ``K[1]`` the first: sets, patterns, and parts that are cut out because LuaJIT refuses
    to read an expression of more than 200 nested levels. A constant needs nothing from its surroundings, so it
    can be built when the script loads.

Bytes that a user wrote reach the text only through :func:`lua_string`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Final

from mtls_operator.rules.automaton import Automaton
from mtls_operator.rules.tree import (
    Address,
    AnyNode,
    BytesSet,
    Comparison,
    Connective,
    Field,
    IpSet,
    Literal,
    Logical,
    Not,
    Operator,
    Pattern,
    Regex,
    fold,
)

RUNTIME: Final = resources.files("mtls_operator.rules").joinpath("runtime.lua").read_text("utf-8")

#: A part of this height becomes a function; each level takes at most three of LuaJIT's 200.
_MAX_HEIGHT: Final = 24
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _/.-")
_CONSTANT_FIELDS: Final = frozenset({"true", "false"})
_ORDER: Final = {
    Operator.EQ: "==",
    Operator.NE: "~=",
    Operator.GE: ">=",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.LT: "<",
}
_CONNECTIVES: Final = {Connective.AND: "and", Connective.OR: "or", Connective.XOR: "~="}


@dataclass(frozen=True, slots=True)
class LuaCode:
    """A rule for the proxy: Lua expressions to bind as ``K[1]``, ``K[2]``, …, and the one that uses them."""

    constants: tuple[str, ...]
    expression: str


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    height: int


class UnsupportedNodeError(Exception):
    """A node that the check for supported parts should have refused: a mistake of ours, never a user's."""


def lua_string(value: bytes) -> str:
    r"""Return the Lua string literal of these bytes; all but harmless characters are written as ``\ddd``."""
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in value) + '"'


def compile_tree(root: AnyNode) -> LuaCode:
    """Return the code of a tree of supported nodes."""
    compiler = _Compiler()
    part = fold(root, compiler.part)
    return LuaCode(tuple(compiler.constants), part.text)


class _Compiler:
    """The constants collected while a tree is folded."""

    __slots__ = ("constants",)

    def __init__(self) -> None:
        self.constants: list[str] = []

    def constant(self, text: str) -> str:
        if text not in self.constants:
            self.constants.append(text)
        return f"K[{self.constants.index(text) + 1}]"

    def part(self, node: AnyNode, parts: list[_Part]) -> _Part:
        inner = [self.cut(part) for part in parts]
        height = 1 + max((part.height for part in inner), default=0)
        texts = [part.text for part in inner]
        match node:
            case Field():
                text = node.name if node.name in _CONSTANT_FIELDS else f"f[{lua_string(node.name.encode())}]"
            case Not():
                text = f"(not {texts[0]})"
            case Logical():
                text = "(" + f" {_CONNECTIVES[node.connective]} ".join(texts) + ")"
            case Comparison():
                text = self.comparison(node, texts[0])
            case _:
                raise UnsupportedNodeError(type(node).__name__)
        return _Part(text, height)

    def cut(self, part: _Part) -> _Part:
        if part.height < _MAX_HEIGHT:
            return part
        return _Part(self.constant(f"function(f,rt,K) return {part.text} end") + "(f,rt,K)", 1)

    def comparison(self, node: Comparison, value: str) -> str:
        operand = node.operand
        match operand:
            case Literal(value=bytes() as needle) if node.operator is Operator.CONTAINS:
                return f"rt.contains({value}, {lua_string(needle)})"
            case Literal(value=bytes() as text):
                return f"({value} {_ORDER[node.operator]} {lua_string(text)})"
            case Literal(value=address) if not isinstance(address, bytes | int):
                return _address_comparison(node.operator, value, address)
            case BytesSet():
                members = sorted(set(operand.members))
                table = ",".join(f"[{lua_string(member)}]=true" for member in members)
                return f"({self.constant('{' + table + '}')}[{value}] == true)"
            case IpSet():
                return f"rt.in_ranges({value}, {self.constant(_ranges(operand))})"
            case Pattern():
                folded = node.operator is Operator.WILDCARD
                function = "rt.wildcard" if folded else "rt.strict_wildcard"
                pieces = [piece.lower() if folded else piece for piece in operand.pieces]
                return f"{function}({value}, {self.constant(_list(lua_string(piece) for piece in pieces))})"
            case Regex():
                return f"rt.accepts({value}, {self.constant(_automaton(operand.automaton))})"
            case _:
                raise UnsupportedNodeError(type(operand).__name__)


def _list(members: Iterable[str]) -> str:
    return "{" + ",".join(members) + "}"


def _automaton(automaton: Automaton) -> str:
    """Return the tables of an automaton: a state is the place of its row, 0 means match, -1 means no match."""
    columns = len(automaton.rows[0])
    free = itertools.count(1, columns)
    places: dict[int, int] = {}
    for state in range(len(automaton.rows)):
        if state == automaton.accepting:
            places[state] = 0
        elif state == automaton.dead:
            places[state] = -1
        else:
            places[state] = next(free)
    live = [state for state in places if places[state] > 0]
    following = [str(places[target]) for state in live for target in automaton.rows[state]]
    final = [f"[{places[state]}]=true" for state in live if state in automaton.final]
    entries = [
        f"start={places[automaton.start]}",
        "classes={[0]=" + ",".join(map(str, automaton.classes)) + "}",
        f"following={_list(following)}",
        f"final={_list(final)}",
    ]
    return _list(entries)


def _address_comparison(operator: Operator, value: str, address: Address) -> str:
    packed = address.packed
    comparison = f"{value} {_ORDER[operator]} {lua_string(packed)}"
    if operator in {Operator.EQ, Operator.NE}:
        return f"({comparison})"
    return f"(#{value} == {len(packed)} and {comparison})"


def _ranges(operand: IpSet) -> str:
    """Return the sorted, merged ranges of each family as ``{[4]={low,high,…},[16]={low,high,…}}``."""
    families = []
    for size, version in ((4, 4), (16, 6)):
        merged = _merged([(int(low), int(high)) for low, high in operand.ranges if low.version == version])
        ends = (lua_string(end.to_bytes(size, "big")) for pair in merged for end in pair)
        families.append(f"[{size}]={_list(ends)}")
    return _list(families)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
