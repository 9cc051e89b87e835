"""Tree to Lua: an expression over the facts of one request, for LuaJIT inside the proxy.

The generated text refers to three names of its surroundings:

``f``
    the facts, indexed by field name; strings are byte strings, addresses 4 or 16 packed bytes (IPv4-mapped
    ones unmapped), integers numbers, arrays and maps tables; never nil.
``rt``
    the functions of ``runtime.lua``, ``functions.lua`` and ``json.lua`` (:data:`RUNTIME` is a chunk that returns them).
``K``
    the rule's constants, ``K[1]`` the first: sets, patterns, and parts that are cut out because LuaJIT refuses
    to read an expression of more than 200 nested levels. A constant needs nothing of a request, so it can be
    built when the script loads; named lists are unpacked by ``rt`` then.

A missing value is nil. A stream (after ``[*]``) is a table without holes, or nil when its array is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from mtls_operator.rules.guards import OPEN, Guard, guard_of
from mtls_operator.rules.lists import NamedList
from mtls_operator.rules.lua_lists import list_table
from mtls_operator.rules.lua_relations import relation, takes_missing
from mtls_operator.rules.lua_text import lua_bool, lua_literal, lua_set, lua_string
from mtls_operator.rules.tree import (
    AnyNode,
    Call,
    Comparison,
    Connective,
    Each,
    Field,
    Index,
    ListReference,
    Literal,
    Logical,
    Not,
    Quantifier,
    fold,
    result_type,
    unpacked,
)
from mtls_operator.rules.types import BOOL, BOOL_ARRAY, Container


def _runtime() -> str:
    texts = [
        resources.files("mtls_operator.rules").joinpath(name).read_text("utf-8").rstrip()
        for name in ("runtime.lua", "functions.lua", "json.lua")
    ]
    added = "".join(f";\n(function(...)\n{text}\nend)(rt)" for text in texts[1:])
    return f"local rt = (function()\n{texts[0]}\nend)(){added}\nreturn rt\n"


RUNTIME: Final = _runtime()

#: A part of this height becomes a function; each level takes at most three of LuaJIT's 200.
_MAX_HEIGHT: Final = 24
_CONSTANT_FIELDS: Final = frozenset({"true", "false"})
_CONNECTIVES: Final = {Connective.AND: "and", Connective.OR: "or", Connective.XOR: "~="}
_ZIPS: Final = {Connective.AND: "rt.each_and", Connective.OR: "rt.each_or", Connective.XOR: "rt.each_xor"}


@dataclass(frozen=True, slots=True)
class LuaCode:
    """A rule for the proxy: Lua expressions to bind as ``K[1]``, ``K[2]``, …, and the one that uses them.

    Where ``guard`` does not hold the expression is false and need not be asked.

    A constant that is a named list stands as a reference, until :meth:`bound` puts what it holds in its place.
    """

    constants: tuple[str | ListReference, ...]
    expression: str
    guard: Guard = OPEN

    def bound(self, lists: Mapping[str, NamedList]) -> tuple[str, ...]:
        """Return the constants with what the lists hold now; each one that is used must be there."""
        return tuple(
            constant if isinstance(constant, str) else list_table(lists[constant.name], constant.kind)
            for constant in self.constants
        )


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    height: int


def compile_tree(root: AnyNode) -> LuaCode:
    """Return the code of a tree of supported nodes; it yields true or false."""
    compiler = _Compiler()
    part = fold(root, compiler.part)
    return LuaCode(tuple(compiler.constants), _truth(root, part.text), guard_of(root))


def _truth(node: AnyNode, text: str) -> str:
    """Return a scalar Boolean that cannot be nil: a missing one counts as false."""
    missing = isinstance(node, Call | Index) and result_type(node) == BOOL
    return f"({text} == true)" if missing else text


class _Compiler:
    """The constants collected while a tree is folded."""

    __slots__ = ("constants",)

    def __init__(self) -> None:
        self.constants: dict[str | ListReference, str] = {}

    def constant(self, constant: str | ListReference) -> str:
        return self.constants.setdefault(constant, f"K[{len(self.constants) + 1}]")

    def part(self, node: AnyNode, parts: list[_Part]) -> _Part:
        inner = [self.cut(part) for part in parts]
        height = 1 + max((part.height for part in inner), default=0)
        texts = [part.text for part in inner]
        match node:
            case Field():
                text = node.name if node.name in _CONSTANT_FIELDS else f"f[{lua_string(node.name.encode())}]"
            case Literal():
                text = lua_literal(node.value)
            case Index():
                text = _index(node, texts[0])
            case Call():
                text = self.call(node, texts)
            case Comparison():
                text = self.comparison(node, texts[0])
            case Not():
                array = result_type(node) == BOOL_ARRAY
                text = f"rt.each_not({texts[0]})" if array else f"(not {_truth(node.operand, texts[0])})"
            case Logical():
                text = _logical(node, texts)
            case Quantifier():
                text = f"rt.{node.quantity.value}({texts[0]})"
        return _Part(text, height)

    def cut(self, part: _Part) -> _Part:
        if part.height < _MAX_HEIGHT:
            return part
        return _Part(self.constant(f"function(f,rt,K) return {part.text} end") + "(f,rt,K)", 1)

    def comparison(self, node: Comparison, value: str) -> str:
        stream = unpacked(node.value)
        if not stream and (isinstance(node.value, Field) or takes_missing(node)):
            return relation(node, value, self.constant)
        test = self.constant(f"function(v,rt,K) return {relation(node, 'v', self.constant)} end")
        return f"rt.{'each' if stream else 'present'}({value}, {test}, rt, K)"

    def call(self, node: Call, texts: list[str]) -> str:
        name = f"rt.{node.function}"
        arguments = texts
        match node.function:
            case "concat" if _joins_arrays(node):
                name = "rt.concat_arrays"
            case "url_decode":
                options = node.arguments[1] if len(node.arguments) > 1 else None
                letters = options.value if isinstance(options, Literal) else b""
                flags = [
                    lua_bool(isinstance(letters, bytes) and letter in letters) for letter in (b"r", b"u")
                ]
                arguments = [texts[0], *flags]
            case "remove_bytes":
                removed = node.arguments[1]
                if isinstance(removed, Literal) and isinstance(removed.value, bytes):
                    unwanted = lua_set(bytes([byte]) for byte in removed.value)
                    arguments = [texts[0], self.constant(unwanted)]
        if node.mapped:
            return f"rt.map({', '.join([name, *arguments])})"
        return f"{name}({', '.join(arguments)})"


def _joins_arrays(node: Call) -> bool:
    first = node.arguments[0]
    return isinstance(first, Field | Index | Call) and not first.type.scalar


def _index(node: Index, container: str) -> str:
    mapping = node.value.type.outer is Container.MAP
    if isinstance(node.key, Each):
        if unpacked(node.value):
            return f"rt.flattened({container}, {lua_bool(mapping)})"
        return f"rt.in_order({container})" if mapping else container
    key = lua_string(node.key) if isinstance(node.key, bytes) else str(node.key + 1)
    return f"rt.{'each_at' if unpacked(node.value) else 'at'}({container}, {key})"


def _logical(node: Logical, texts: list[str]) -> str:
    if result_type(node) == BOOL_ARRAY:
        return f"{_ZIPS[node.connective]}({len(texts)}, {{{', '.join(texts)}}})"
    operands = [_truth(each, text) for each, text in zip(node.operands, texts, strict=True)]
    return "(" + f" {_CONNECTIVES[node.connective]} ".join(operands) + ")"
