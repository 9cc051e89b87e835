"""Values, comparisons and quantifiers: what stands between the logical operators.

Names are resolved and types are checked while reading. A function call or quantifier can hold a whole expression; the
reader of those comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mtls_operator.rules import literals, names, strings
from mtls_operator.rules.automaton import Budget
from mtls_operator.rules.calls import check_call
from mtls_operator.rules.cursor import Cursor
from mtls_operator.rules.diagnostics import Code
from mtls_operator.rules.lists import Shapes
from mtls_operator.rules.relations import (
    LIST_OPERATOR,
    RELATIONS,
    peek_relation,
    read_operand,
    take_connective,
    take_relation,
)
from mtls_operator.rules.schema import FUNCTIONS, OF_ONE_TYPE
from mtls_operator.rules.tree import (
    Argument,
    Call,
    Comparison,
    Each,
    Field,
    Index,
    Literal,
    Node,
    Operator,
    Quantifier,
    Quantity,
    Regex,
    Value,
    is_boolean,
    result_type,
    unpacked,
)
from mtls_operator.rules.types import BOOL_ARRAY, Container

_INDEX_MAX: Final = 2**32 - 1
_QUANTIFIERS: Final = {quantity.value: quantity for quantity in Quantity}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an expression may be: characters, levels of nesting, regular expressions."""

    characters: int
    nesting: int
    regexes: int


class Values:
    """Reads values from the cursor and keeps count of what is limited."""

    __slots__ = ("budget", "cursor", "depth", "limits", "lists", "logical", "regexes")

    def __init__(
        self, cursor: Cursor, limits: Limits, lists: Shapes | None, logical: Callable[[], Node]
    ) -> None:
        self.cursor = cursor
        self.lists = lists
        self.limits = limits
        self.logical = logical
        self.depth = 0
        self.regexes = 0
        self.budget = Budget.of(cursor.end - cursor.position)

    def enter(self, position: int) -> None:
        """Go one level deeper; the position is what opens it."""
        self.depth += 1
        if self.depth > self.limits.nesting:
            raise self.cursor.error(
                Code.NESTING, f"nested deeper than {self.limits.nesting} levels", position
            )

    def leave(self) -> None:
        """Come back from a level."""
        self.depth -= 1

    def unit(self) -> Node:
        """Read a quantifier, a comparison, or a value without a relation."""
        cursor = self.cursor
        start = cursor.position
        word = cursor.word()
        if word in _QUANTIFIERS and not cursor.source.startswith(".", start + len(word), cursor.end):
            cursor.position += len(word)
            return self.quantifier(_QUANTIFIERS[word], start)
        value = self.value()
        after = cursor.position
        cursor.skip_blanks()
        if is_boolean(value) or peek_relation(cursor) is None:
            cursor.position = after
            return value
        return self.comparison(value, start)

    def comparison(self, value: Value, start: int) -> Node:
        """Read the relation and the right side of a comparison."""
        cursor = self.cursor
        operator_at = cursor.position
        operator = take_relation(cursor)
        if operator not in RELATIONS[value.type.kind] or not value.type.scalar:
            end = cursor.position
            raise cursor.error(
                Code.UNSUPPORTED_OP,
                f"'{operator.value}' cannot be applied to {names.article(str(value.type))}",
                operator_at,
                end,
                hint=names.container_hint(value),
            )
        cursor.skip_blanks()
        if operator is Operator.IN and cursor.looking_at(LIST_OPERATOR):
            reference = names.list_reference(cursor, operator_at, value.type.kind, self.lists)
            return Comparison(value, operator, reference, cursor.span(start))
        operand = read_operand(cursor, operator, value.type.kind, self.budget)
        if isinstance(operand, Regex):
            self.count_regex()
        return Comparison(value, operator, operand, cursor.span(start))

    def count_regex(self) -> None:
        """Count one more regular expression."""
        self.regexes += 1
        if self.regexes > self.limits.regexes:
            raise self.cursor.error(
                Code.TOO_MANY_REGEX,
                f"more than {self.limits.regexes} regular expressions",
                len(self.cursor.source) - len(self.cursor.source.lstrip()),
            )

    def quantifier(self, quantity: Quantity, start: int) -> Node:
        """Read what follows any or all."""
        cursor = self.cursor
        self.enter(start)
        self.open_parenthesis(f"'(' is expected after {quantity.value}")
        cursor.skip_blanks()
        argument_at = cursor.position
        argument = self.argument()
        given = result_type(argument)
        if given != BOOL_ARRAY or (isinstance(argument, Index) and unpacked(argument)):
            hint = "compare its elements: any(x[*] eq …)" if not isinstance(argument, Literal) else None
            raise cursor.error(
                Code.TYPE_MISMATCH,
                f"{quantity.value} takes an array of Booleans, this is {names.article(str(given))}",
                argument_at,
                cursor.position,
                hint=hint,
            )
        cursor.skip_blanks()
        if not cursor.take(")"):
            before = cursor.position
            joined = take_connective(cursor) is not None
            cursor.position = before
            hint = f"put the whole argument in parentheses: {quantity.value}((… or …))" if joined else None
            raise cursor.error(Code.EXPECTED_LITERAL, "')' is expected here", hint=hint)
        self.leave()
        return Quantifier(quantity, names.node(argument), cursor.span(start))

    def value(self) -> Value:
        """Read a field or call with its indexes."""
        cursor = self.cursor
        start = cursor.position
        name = names.identifier(cursor)
        after = cursor.position
        cursor.skip_blanks()
        called = cursor.looking_at("(")
        value: Value
        if name in FUNCTIONS:
            value = self.call(name, start)
        else:
            field_type = names.field_type(cursor, name, start, after, called=called)
            cursor.position = after
            value = Field(name, field_type, cursor.span(start))
        while cursor.looking_at("["):
            value = self.index(value, start)
        return value

    def index(self, value: Value, start: int) -> Index:
        """Read one index."""
        cursor = self.cursor
        bracket = cursor.position
        cursor.position += 1
        cursor.skip_blanks()
        key = self.index_key()
        cursor.skip_blanks()
        if not cursor.take("]"):
            raise cursor.error(Code.EXPECTED_LITERAL, "']' is expected here")
        outer = value.type.outer
        fits = {
            Container.ARRAY: not isinstance(key, bytes),
            Container.MAP: not isinstance(key, int),
            None: False,
        }
        if not fits[outer]:
            raise cursor.error(
                Code.INVALID_INDEX,
                f"{names.article(str(value.type))} has no such index",
                bracket,
                cursor.position,
                hint=names.index_hint(outer),
            )
        return Index(value, key, value.type.element(), cursor.span(start))

    def index_key(self) -> int | bytes | Each:
        """Read what stands between the brackets."""
        cursor = self.cursor
        start = cursor.position
        if cursor.take("*"):
            return Each.EACH
        if cursor.looking_at('"'):
            key = strings.quoted_key(cursor)
            if not names.is_unicode(key):
                raise cursor.error(
                    Code.INVALID_INDEX_LITERAL, "a key must be valid UTF-8", start, cursor.position
                )
            return key
        if not cursor.char.isdecimal():
            raise cursor.error(
                Code.INVALID_INDEX_LITERAL,
                "an index is a quoted string, a number from 0 or *",
                hint="raw strings are not keys",
            )
        number = literals.integer(cursor)
        if number > _INDEX_MAX:
            raise cursor.error(
                Code.INVALID_INDEX_LITERAL, f"an index is at most {_INDEX_MAX}", start, cursor.position
            )
        return number

    def open_parenthesis(self, message: str) -> None:
        """Step over an opening parenthesis."""
        self.cursor.skip_blanks()
        if not self.cursor.take("("):
            raise self.cursor.error(Code.EXPECTED_LITERAL, message)

    def call(self, name: str, start: int) -> Call:
        """Read what follows the name of a function."""
        cursor = self.cursor
        self.enter(start)
        self.open_parenthesis(f"'(' is expected: {name} is a function")
        arguments: list[Argument] = []
        cursor.skip_blanks()
        while not cursor.looking_at(")"):
            if arguments:
                if not cursor.take(","):
                    raise cursor.error(Code.EXPECTED_LITERAL, "',' or ')' is expected here")
                cursor.skip_blanks()
                if cursor.looking_at(")"):
                    raise cursor.error(Code.TRAILING, "an argument is missing after the comma")
            if len(arguments) == FUNCTIONS[name].most:
                raise cursor.error(Code.ARG_COUNT, f"{name} takes at most {FUNCTIONS[name].most} arguments")
            argument_at = cursor.position
            arguments.append(self.argument())
            check_call(cursor, name, arguments, argument_at)
            cursor.skip_blanks()
        if len(arguments) < FUNCTIONS[name].required:
            raise cursor.error(Code.ARG_COUNT, f"{name} takes at least {FUNCTIONS[name].required} arguments")
        cursor.position += 1
        self.leave()
        mapped = unpacked(arguments[0])
        returns = FUNCTIONS[name].returns
        if name in OF_ONE_TYPE:
            returns = (
                arguments[0].type if isinstance(arguments[0], Literal | Field | Index | Call) else returns
            )
        return Call(
            name, tuple(arguments), mapped, returns.array() if mapped else returns, cursor.span(start)
        )

    def argument(self) -> Argument:
        """Read a literal, a value, a comparison, or what begins with ``(``, ``not`` or a quantifier."""
        cursor = self.cursor
        if strings.at_string(cursor):
            return strings.string(cursor)
        if literals.at_address(cursor):
            return literals.ip_literal(cursor)
        if cursor.char.isdecimal() or cursor.looking_at("-"):
            return literals.int_literal(cursor)
        if cursor.char in {")", ",", ""}:
            raise cursor.error(Code.EXPECTED_IDENTIFIER, "an argument is expected here")
        word = cursor.word()
        if cursor.char in {"(", "!"} or word == "not" or (word in _QUANTIFIERS):
            return self.logical()
        return self.unit()
