"""Names in an expression, and the messages about names and operators that somebody got almost right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from mtls_operator.rules import foreign
from mtls_operator.rules.cursor import IDENTIFIER, Cursor
from mtls_operator.rules.diagnostics import Code, RuleError, Span
from mtls_operator.rules.lists import BrokenList, Shapes
from mtls_operator.rules.literals import at_address
from mtls_operator.rules.schema import (
    FIELDS,
    FUNCTIONS,
    suggestion,
)
from mtls_operator.rules.strings import at_string
from mtls_operator.rules.tree import Argument, ListReference, Literal, Node, Value
from mtls_operator.rules.types import Container, Kind, Type

_LIST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")
_MANAGED_LISTS: Final = "cf."
_LIST_HINT: Final = "it is a ConfigMap named {} with the label mtls-operator.dev/list"
_HINTS: Final = (
    ("===", "write == or eq"),
    ("=~", "write matches or ~"),
    ("!~", "write: not (x matches …)"),
    ("<>", "write != or ne"),
    ("=", "write == or eq"),
    ("&", "write && or and"),
    ("|", "write || or or"),
    ("^", "write ^^ or xor"),
)
_WORD_HINTS: Final = {
    "not": "write the negation first: not (x in {…})",
    "starts_with": "starts_with is a function: starts_with(x, …)",
    "ends_with": "ends_with is a function: ends_with(x, …)",
    "equals": "write eq or ==",
    "is": "write eq or ==",
    "like": "write wildcard",
    "between": "write: x in {low..high}",
    "strict": "exactly one space stands between strict and wildcard",
}
_OPERATOR_WORDS: Final = (
    "and",
    "or",
    "xor",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "contains",
    "matches",
)


def operator_hint(cursor: Cursor) -> str | None:
    """Return advice on what comes next, where an operator was expected."""
    word = cursor.word()
    if not word:
        return next((hint for text, hint in _HINTS if cursor.looking_at(text)), None)
    if word in _WORD_HINTS:
        return _WORD_HINTS[word]
    if word.lower() != word and (word.lower() in _OPERATOR_WORDS):
        return f"operators are written in lower case: {word.lower()}"
    glued = next((known for known in _OPERATOR_WORDS if word.startswith(known)), None)
    return f"a blank is missing after {glued}" if glued else None


def identifier(cursor: Cursor) -> str:
    """Read a dotted name, as long as possible."""
    start = cursor.position
    while True:
        word = cursor.word()
        if not word:
            literal = at_string(cursor) or cursor.looking_at("'")
            raise cursor.error(
                Code.EXPECTED_IDENTIFIER,
                "a field or function is expected here",
                hint="the field stands on the left, the literal on the right" if literal else None,
            )
        cursor.position += len(word)
        if not cursor.take("."):
            return cursor.source[start : cursor.position]


def field_type(cursor: Cursor, name: str, start: int, end: int, *, called: bool) -> Type:
    """Return the type of a field, or say what is wrong with the name."""
    if name in FIELDS:
        if called:
            raise cursor.error(Code.EXPECTED_OPERATOR, f"{name} is a field, not a function")
        return FIELDS[name]
    nearest = foreign.FUNCTIONS.get(name) or foreign.nearest_field(name)
    if nearest is not None:
        kind = "function" if name in foreign.FUNCTIONS else "field"
        message = f"the {kind} {name} is known, but not available in mTLS rules"
        raise cursor.error(Code.NOT_AVAILABLE, message, start, end, hint=nearest)
    kind = "function" if called else "field"
    raise cursor.error(Code.UNKNOWN_IDENTIFIER, f"there is no {kind} {name}", start, end, hint=_meant(name))


def _meant(name: str) -> str | None:
    glued = next((word for word in ("not", "and", "or", "xor") if name.startswith(word)), None)
    if glued and name[len(glued) :] in FIELDS:
        return f"a blank is missing after {glued}"
    close = suggestion(name)
    return f"did you mean {close}?" if close else None


def list_reference(cursor: Cursor, operator_at: int, kind: Kind, lists: Shapes | None) -> ListReference:
    """Read ``$name`` behind ``in``: a list that exists, can be read, and holds what is compared.

    ``lists`` None: nothing is known of them, and every name is taken.
    """
    dollar = cursor.position
    cursor.position += 1
    start = cursor.position
    name = cursor.run(_LIST_CHARACTERS)
    end = start + len(name)
    if not name or name.startswith(".") or name.endswith(".") or cursor.run(IDENTIFIER, end):
        raise cursor.error(
            Code.BAD_LIST_NAME,
            "a list name consists of lower-case letters, digits, '_' and inner dots",
            start,
        )
    cursor.position = end
    if lists is not None:
        _check_list(cursor, operator_at, name, kind, lists)
    return ListReference(name, kind, cursor.span(dollar))


def _check_list(cursor: Cursor, operator_at: int, name: str, kind: Kind, lists: Shapes) -> None:
    shape = lists.get(name)
    if isinstance(shape, BrokenList):
        raise cursor.error(Code.BAD_LIST, f"the list ${name}: {shape.error}", operator_at, cursor.position)
    if shape is kind:
        return
    if shape is not None:
        message = f"the list ${name} holds items of type {shape.value}, this is {article(kind.value)}"
        hint = None
    elif name.startswith(_MANAGED_LISTS):
        message, hint = f"the list ${name} is Cloudflare's own and not available in mTLS rules", None
    else:
        close = get_close_matches(name, sorted(lists), n=1, cutoff=0.75)
        message = f"there is no list ${name} in this namespace"
        hint = f"did you mean ${close[0]}?" if close else _LIST_HINT.format(name.replace("_", "-"))
    raise cursor.error(Code.UNSUPPORTED_OP, message, operator_at, cursor.position, hint=hint)


def refuse_dynamic(cursor: Cursor, kind: Kind) -> None:
    """Refuse a field or call on the right side of a comparison."""
    if at_string(cursor) or (kind is Kind.IP and at_address(cursor)) or not cursor.word():
        return
    start = cursor.position
    end = start + len(cursor.run(IDENTIFIER | frozenset(".")))
    if cursor.source[start:end] in FIELDS.keys() | FUNCTIONS.keys():
        raise cursor.error(
            Code.NOT_SUPPORTED, "not supported yet: a comparison with another field", start, end
        )


def container_hint(value: Value) -> str | None:
    """Return how to compare what is inside an array or a map."""
    if value.type.outer is Container.ARRAY:
        return "compare one element: x[0], or each: any(x[*] …)"
    return 'compare the values of one key: any(x["key"][*] …)' if value.type.outer is Container.MAP else None


def index_hint(outer: Container | None) -> str | None:
    """Return which index a value has."""
    hints = {
        Container.ARRAY: "an array is indexed by a number or *",
        Container.MAP: "a map is indexed by a quoted string or *",
    }
    return hints.get(outer) if outer is not None else None


def article(name: str) -> str:
    """Return a type's name with its article."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def joined(first: Span, last: Span) -> Span:
    """Return the span from the beginning of one to the end of another."""
    return Span(first.start, last.end)


def error_at(cursor: Cursor, code: Code, message: str, span: Span) -> RuleError:
    """Return an error about a node that has been read."""
    return RuleError(code, message, span=span, source=cursor.source)


def place(cursor: Cursor, position: int) -> tuple[int, int]:
    """Return line and column of a position."""
    before = cursor.source[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def node(argument: Argument) -> Node:
    """Return an argument that is known to be no literal."""
    if isinstance(argument, Literal):
        raise TypeError("a literal has no Boolean value")
    return argument


def is_unicode(data: bytes) -> bool:
    """Return whether bytes are valid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
