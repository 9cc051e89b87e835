"""The typed tree of an expression.

Every node knows the bytes of the text that it came from; spans take no part in comparisons, so that an
expression and its printed form have equal trees. Chains of one operator are one node, and trees are walked
with :func:`fold`, which keeps its own stack: the deepest expression that the limits allow cannot exhaust
Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias, TypeVar

from mtls_operator.rules.automaton import Automaton
from mtls_operator.rules.diagnostics import Span
from mtls_operator.rules.types import BOOL, BOOL_ARRAY, Kind, Type

Result = TypeVar("Result")
Address: TypeAlias = IPv4Address | IPv6Address


class Operator(Enum):
    """A relation between a value and a literal, by its word form."""

    EQ = "eq"
    NE = "ne"
    GE = "ge"
    LE = "le"
    GT = "gt"
    LT = "lt"
    IN = "in"
    CONTAINS = "contains"
    MATCHES = "matches"
    WILDCARD = "wildcard"
    STRICT_WILDCARD = "strict wildcard"


class Connective(Enum):
    """A logical operator by its word form."""

    AND = "and"
    XOR = "xor"
    OR = "or"


class Quantity(Enum):
    """A quantifier over an array of Booleans."""

    ANY = "any"
    ALL = "all"


class Each(Enum):
    """The index ``[*]``."""

    EACH = "*"


@dataclass(frozen=True, slots=True)
class Field:
    """A named fact about the request."""

    name: str
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """``value[3]``, ``value["key"]`` or ``value[*]``; the type is that of one element."""

    value: Value
    key: int | bytes | Each
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; with ``[*]`` in its first argument it applies to each element and returns an array."""

    function: str
    arguments: tuple[Argument, ...]
    mapped: bool
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """One literal value."""

    value: bytes | int | Address
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class BytesSet:
    """``{"a" "b"}``, in the order of the text."""

    members: tuple[bytes, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class IntSet:
    """``{1 5..9}``: inclusive ranges in the order of the text."""

    ranges: tuple[tuple[int, int], ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class IpSet:
    """``{192.0.2.0/24 ::1}``: inclusive ranges, both ends of one family, in the order of the text."""

    ranges: tuple[tuple[Address, Address], ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ListReference:
    """``$name``: what a named list holds, by its kind; the list itself is no part of the expression."""

    name: str
    kind: Kind
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The right side of ``wildcard``: its text after string escapes, and the pieces between the stars."""

    text: bytes
    pieces: tuple[bytes, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Regex:
    """The right side of ``matches``: the pattern, and what it matches."""

    pattern: str
    automaton: Automaton = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value against one operand."""

    value: Value
    operator: Operator
    operand: Operand
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """Negation, element by element for arrays."""

    operand: Node
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """Two or more operands joined by one connective."""

    connective: Connective
    operands: tuple[Node, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Quantifier:
    """``any(…)`` or ``all(…)``."""

    quantity: Quantity
    operand: Node
    span: Span = field(compare=False)


Value: TypeAlias = Field | Index | Call
Operand: TypeAlias = Literal | BytesSet | IntSet | IpSet | ListReference | Pattern | Regex
Node: TypeAlias = Field | Index | Call | Comparison | Not | Logical | Quantifier
Argument: TypeAlias = Node | Literal
AnyNode: TypeAlias = Node | Literal


def unpacked(node: AnyNode) -> bool:
    """Return whether a value is a stream of elements, because of a ``[*]`` that no call has collected."""
    while isinstance(node, Index):
        if node.key is Each.EACH:
            return True
        node = node.value
    return False


def result_type(root: AnyNode) -> Type:
    """Return the type that a node yields; a stream counts as an array of its elements."""
    node = root
    while isinstance(node, Not | Logical):
        node = node.operand if isinstance(node, Not) else node.operands[0]
    if isinstance(node, Comparison):
        return BOOL_ARRAY if unpacked(node.value) else BOOL
    if isinstance(node, Quantifier):
        return BOOL
    return node.type.array() if unpacked(node) else node.type


def is_boolean(node: AnyNode) -> bool:
    """Return whether a node yields a Boolean or an array of them."""
    result = result_type(node)
    return result in {BOOL, BOOL_ARRAY} and result.kind is Kind.BOOL


def children(node: AnyNode) -> tuple[AnyNode, ...]:
    """Return the nodes directly below a node, in the order of the text."""
    match node:
        case Field() | Literal():
            return ()
        case Index() | Comparison():
            return (node.value,)
        case Call():
            return node.arguments
        case Logical():
            return node.operands
        case Not() | Quantifier():
            return (node.operand,)


def fold(root: AnyNode, combine: Callable[[AnyNode, list[Result]], Result]) -> Result:
    """Compute a result bottom-up: ``combine`` gets each node with the results of its children, in order."""
    pending: list[tuple[AnyNode, bool]] = [(root, False)]
    results: list[Result] = []
    while pending:
        node, expanded = pending.pop()
        below = children(node)
        if not expanded and below:
            pending.append((node, True))
            pending.extend((child, False) for child in reversed(below))
            continue
        start = len(results) - len(below)
        results[start:] = [combine(node, results[start:])]
    return results[0]


def walk(root: AnyNode) -> Iterator[AnyNode]:
    """Yield every node, parents before children, in the order of the text."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(children(node)))
