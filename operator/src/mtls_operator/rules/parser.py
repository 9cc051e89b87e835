"""Text to typed tree: names are resolved and types are checked while reading, the first mistake ends it.

Grammar and precedence are those of Cloudflare's engine: comparison, then ``not``, ``and``, ``xor``, ``or``.
Parentheses and ``not`` are read without recursion, so that only function calls and quantifiers use Python's
stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from mtls_operator.rules import names
from mtls_operator.rules.cursor import Cursor
from mtls_operator.rules.diagnostics import Code, Lint
from mtls_operator.rules.lists import Shapes
from mtls_operator.rules.relations import peek_relation, take_connective, take_not
from mtls_operator.rules.tree import Comparison, Connective, Logical, Node, Not, is_boolean, result_type
from mtls_operator.rules.types import BOOL
from mtls_operator.rules.values import Limits, Values


@dataclass(slots=True)
class _Group:
    """What has been read of one parenthesis: the chains of each strength, and each ``not`` still open.

    ``bare`` are chains without parentheses of their own.
    """

    opened: int
    ors: list[Node] = field(default_factory=list)
    xors: list[Node] = field(default_factory=list)
    ands: list[Node] = field(default_factory=list)
    nots: list[int] = field(default_factory=list)
    bare: list[Node] = field(default_factory=list)

    def first(self) -> Node | None:
        for chain in (self.ors, self.xors, self.ands):
            if chain:
                return chain[0]
        return None


def parse_tree(source: str, limits: Limits, lists: Shapes | None) -> tuple[Node, tuple[Lint, ...]]:
    """Return the tree of a whole expression, and warnings about how it is written.

    Raises :class:`~mtls_operator.rules.diagnostics.RuleError`.
    """
    cursor = Cursor(source)
    if cursor.end - cursor.position > limits.characters:
        raise cursor.error(Code.TOO_LONG, f"the expression is longer than {limits.characters} characters")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise cursor.error(
            Code.BAD_TEXT, "the text is not valid Unicode", error.start, error.start + 1
        ) from error
    tree = _Parser(cursor, limits, lists).whole()
    return tree, tuple(cursor.notes)


class _Parser:
    """The state of one parse."""

    __slots__ = ("cursor", "values")

    def __init__(self, cursor: Cursor, limits: Limits, lists: Shapes | None) -> None:
        self.cursor = cursor
        self.values = Values(cursor, limits, lists, self.logical)

    def whole(self) -> Node:
        cursor = self.cursor
        start = cursor.position
        node = self.logical()
        if result_type(node) != BOOL:
            raise cursor.error(
                Code.TYPE_MISMATCH,
                f"the expression must be a Boolean, this is {names.article(str(result_type(node)))}",
                start,
                hint="reduce it with any(…) or all(…)",
            )
        cursor.skip_blanks()
        if cursor.char:
            self.trailing(node)
        return node

    def trailing(self, node: Node) -> NoReturn:
        cursor = self.cursor
        relation = peek_relation(cursor)
        if relation is not None and is_boolean(node):
            raise cursor.error(
                Code.TRAILING,
                "nothing can be compared with a Boolean",
                hint="a Boolean stands alone: x, or: not x",
            )
        raise cursor.error(
            Code.TRAILING, "the expression is complete before this", hint=names.operator_hint(cursor)
        )

    def logical(self) -> Node:
        groups = [_Group(opened=self.cursor.position)]
        while True:
            self.cursor.skip_blanks()
            position = self.cursor.position
            if take_not(self.cursor):
                self.values.enter(position)
                groups[-1].nots.append(position)
            elif self.cursor.take("("):
                self.values.enter(position)
                groups.append(_Group(opened=position))
            else:
                finished = self.after_operand(groups, self.operand())
                if finished is not None:
                    return finished

    def after_operand(self, groups: list[_Group], node: Node) -> Node | None:
        """File an operand, close groups as parentheses do; return the tree when the outermost is complete."""
        while True:
            group = groups[-1]
            self.add(group, node)
            before = self.cursor.position
            connective = take_connective(self.cursor)
            if connective is not None:
                self.reduce(group, connective)
                return None
            self.reduce(group, Connective.OR)
            closed = self.chain(group, Connective.OR, group.ors)
            if len(groups) == 1:
                self.cursor.position = before
                return closed
            self.close_parenthesis(group, closed)
            groups.pop()
            self.values.leave()
            node = closed

    def add(self, group: _Group, node: Node) -> None:
        end = self.cursor.position
        for position in reversed(group.nots):
            node = Not(node, self.cursor.span(position, end))
            self.values.leave()
        group.nots.clear()
        first = group.first()
        if first is not None and result_type(first) != result_type(node):
            self.mismatch(first, node)
        group.ands.append(node)

    def mismatch(self, first: Node, node: Node) -> NoReturn:
        this, before = (names.article(str(result_type(each))) for each in (node, first))
        raise names.error_at(
            self.cursor,
            Code.TYPE_MISMATCH,
            f"this is {this}, but the operand before it is {before}",
            names.joined(node.span, self.cursor.span(self.cursor.end, self.cursor.end)),
        )

    def reduce(self, group: _Group, connective: Connective) -> None:
        """Close the chains that bind more strongly than the operator just read."""
        if connective is Connective.AND:
            return
        group.xors.append(self.chain(group, Connective.AND, group.ands))
        group.ands = []
        if connective is Connective.OR:
            group.ors.append(self.chain(group, Connective.XOR, group.xors))
            group.xors = []

    def chain(self, group: _Group, connective: Connective, operands: list[Node]) -> Node:
        if len(operands) == 1:
            return operands[0]
        for operand in operands:
            if isinstance(operand, Logical) and any(operand is bare for bare in group.bare):
                stronger, weaker = operand.connective.value, connective.value
                message = (
                    f"'{stronger}' binds more strongly than '{weaker}': say with parentheses what is meant"
                )
                self.cursor.notes.append(Lint("mixed_without_parentheses", message, operand.span))
        span = names.joined(operands[0].span, operands[-1].span)
        chain = Logical(connective, tuple(operands), span)
        group.bare.append(chain)
        return chain

    def close_parenthesis(self, group: _Group, inner: Node) -> None:
        cursor = self.cursor
        cursor.skip_blanks()
        if cursor.take(")"):
            return
        if peek_relation(cursor) is not None and is_boolean(inner):
            self.trailing(inner)
        line, column = names.place(cursor, group.opened)
        hint = names.operator_hint(cursor) or f"the parenthesis opened at line {line}, column {column}"
        raise cursor.error(Code.EXPECTED_LITERAL, "')' is expected here", hint=hint)

    def operand(self) -> Node:
        """Read a quantifier or a comparison; a value alone must be Boolean."""
        node = self.values.unit()
        if is_boolean(node) or isinstance(node, Comparison):
            return node
        cursor = self.cursor
        cursor.skip_blanks()
        raise cursor.error(
            Code.EXPECTED_OPERATOR,
            f"an operator is expected after this {result_type(node)}",
            hint=names.operator_hint(cursor),
        )
