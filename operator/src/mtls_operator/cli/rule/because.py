"""Why an expression yields what it yields: the truth of its parts, and the few that decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from mtls_operator.rules import Traced
from mtls_operator.rules.functions import Result
from mtls_operator.rules.printer import print_tree, quote
from mtls_operator.rules.tree import (
    Comparison,
    Connective,
    Field,
    Literal,
    Logical,
    Not,
    Quantifier,
    is_boolean,
    result_type,
)
from mtls_operator.rules.types import BOOL

_MOST_CHARACTERS: Final = 120
_MOST_MEMBERS: Final = 8


@dataclass(frozen=True, slots=True)
class Row:
    """A part of an expression: its place in the tree (True where more siblings follow), text and value.

    ``looked_at`` is False for what cannot change the result any more: the proxy does not evaluate it.
    """

    follows: tuple[bool, ...]
    text: str
    value: Result
    boolean: bool
    looked_at: bool


def rows(root: Traced) -> Iterator[Row]:
    """Yield the parts of an expression, each before what is below it; literals stand in the text of their parents."""
    pending: list[tuple[Traced, tuple[bool, ...], bool]] = [(root, (), True)]
    while pending:
        traced, follows, looked_at = pending.pop()
        shown = [each for each in traced.below if not isinstance(each.node, Literal)]
        yield Row(follows, _text(traced), traced.value, is_scalar(traced), looked_at)
        seen = _looked_at(traced)
        below = [
            (each, (*follows, position < len(shown) - 1), looked_at and position < seen)
            for position, each in enumerate(shown)
        ]
        pending.extend(reversed(below))


def is_scalar(traced: Traced) -> bool:
    """Say whether a part is true or false, and not a text, number, array or map."""
    return is_boolean(traced.node) and result_type(traced.node) == BOOL


def reasons(traced: Traced) -> list[Traced]:
    """Return the parts that decide: change all of them and the result may change, change others and it does not."""
    node, value = traced.node, traced.value is True
    if isinstance(node, Not) and is_scalar(traced):
        return reasons(traced.below[0])
    if not isinstance(node, Logical) or not is_scalar(traced):
        return [traced]
    if node.connective is Connective.XOR or value == (node.connective is Connective.AND):
        return [reason for each in traced.below for reason in reasons(each)]
    return reasons(next(each for each in traced.below if (each.value is True) == value))


def reason_text(traced: Traced) -> str:
    """Return a part with its truth, and of a comparison also what was compared."""
    truth = "true" if traced.value is True else "false"
    text = f"{print_tree(traced.node)} is {truth}"
    if isinstance(traced.node, Comparison):
        text += f" (it is {value_text(traced.below[0].value)})"
    return text


def value_text(value: Result) -> str:
    """Return a value in the form of the language, long ones cut."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        text = quote(value)
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}… ({len(value)} bytes)"
    if isinstance(value, int | IPv4Address | IPv6Address):
        return str(value)
    if isinstance(value, list):
        return _members([value_text(member) for member in value], "[]")
    return _members([f"{quote(key)}: {value_text(member)}" for key, member in value.items()], "{}")


def _members(members: list[str], brackets: str) -> str:
    shown = members[:_MOST_MEMBERS]
    more = [f"… {len(members) - len(shown)} more"] if len(members) > len(shown) else []
    return brackets[0] + ", ".join([*shown, *more]) + brackets[1]


def _text(traced: Traced) -> str:
    match traced.node:
        case Not():
            return "not"
        case Logical(connective=connective):
            return connective.value
        case Quantifier(quantity=quantity):
            return f"{quantity.value}(…)"
        case Field(name=name):
            return name
        case node:
            return print_tree(node)


def _looked_at(traced: Traced) -> int:
    """Return how many of the parts below are evaluated, in order."""
    node = traced.node
    if isinstance(node, Logical) and is_scalar(traced) and node.connective is not Connective.XOR:
        decisive = node.connective is Connective.OR
        for position, each in enumerate(traced.below):
            if (each.value is True) == decisive:
                return position + 1
    return len(traced.below)
