"""Operators: which one comes next, which types it fits, and what stands on its right."""

from __future__ import annotations

from typing import Final

from mtls_operator.rules import literals, strings
from mtls_operator.rules.automaton import Budget
from mtls_operator.rules.cursor import IDENTIFIER, Cursor
from mtls_operator.rules.diagnostics import Code
from mtls_operator.rules.names import refuse_dynamic
from mtls_operator.rules.tree import Connective, Operand, Operator
from mtls_operator.rules.types import Kind

LIST_OPERATOR: Final = "$"

_SYMBOL_CHARACTERS: Final = frozenset("=!<>~&|^")
_CONNECTIVES: Final = {"&&": Connective.AND, "^^": Connective.XOR, "||": Connective.OR}
_BY_SYMBOL: Final = {
    "==": Operator.EQ,
    "!=": Operator.NE,
    ">=": Operator.GE,
    "<=": Operator.LE,
    ">": Operator.GT,
    "<": Operator.LT,
    "~": Operator.MATCHES,
}
_BY_WORD: Final = {operator.value: operator for operator in Operator}
_ORDER: Final = frozenset(
    {Operator.EQ, Operator.NE, Operator.GE, Operator.LE, Operator.GT, Operator.LT, Operator.IN}
)
_STRINGS: Final = frozenset(
    {Operator.CONTAINS, Operator.MATCHES, Operator.WILDCARD, Operator.STRICT_WILDCARD}
)

#: The operators that each kind of scalar has.
RELATIONS: Final = {
    Kind.BOOL: frozenset[Operator](),
    Kind.INT: _ORDER,
    Kind.BYTES: _ORDER | _STRINGS,
    Kind.IP: _ORDER,
}


def take_not(cursor: Cursor) -> bool:
    """Step over a negation if it comes next."""
    if cursor.looking_at("!") and not cursor.looking_at("!="):
        return cursor.take("!")
    return cursor.take_word("not")


def take_connective(cursor: Cursor) -> Connective | None:
    """Skip blanks, then step over a logical operator if it comes next."""
    cursor.skip_blanks()
    for symbol, connective in _CONNECTIVES.items():
        if cursor.take(symbol):
            return connective
    return next((connective for connective in Connective if cursor.take_word(connective.value)), None)


def peek_relation(cursor: Cursor) -> str | None:
    """Return the relation that comes next as it is written, None when there is none."""
    word = cursor.word()
    if word:
        if word == "strict" and cursor.looking_at("strict wildcard"):
            following = cursor.position + len("strict wildcard")
            return "strict wildcard" if not cursor.run(IDENTIFIER, following) else None
        return word if word in _BY_WORD or word == "bitwise_and" else None
    symbol = cursor.run(_SYMBOL_CHARACTERS)
    return symbol if symbol in _BY_SYMBOL or symbol == "&" else None


def take_relation(cursor: Cursor) -> Operator:
    """Step over the relation that comes next; there must be one."""
    text = peek_relation(cursor)
    start = cursor.position
    if text is None:
        raise cursor.error(Code.EXPECTED_OPERATOR, "an operator is expected here")
    cursor.position += len(text)
    operator = _BY_SYMBOL.get(text) or _BY_WORD.get(text)
    if operator is None:
        raise cursor.error(
            Code.UNSUPPORTED_OP,
            f"the undocumented operator '{text}' is not supported",
            start,
            cursor.position,
        )
    return operator


def read_operand(cursor: Cursor, operator: Operator, kind: Kind, budget: Budget) -> Operand:
    """Read the right side of an operator that fits the kind."""
    if operator is Operator.IN:
        return literals.operand_set(cursor, kind)
    refuse_dynamic(cursor, kind)
    if operator is Operator.MATCHES:
        return strings.regex(cursor, budget)
    if operator in {Operator.WILDCARD, Operator.STRICT_WILDCARD}:
        return strings.wildcard(cursor)
    if kind is Kind.BYTES:
        return strings.string(cursor)
    return literals.int_literal(cursor) if kind is Kind.INT else literals.ip_literal(cursor)
