"""Arguments of function calls: each is checked as soon as it has been read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mtls_operator.rules.cursor import Cursor
from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.names import article
from mtls_operator.rules.schema import FUNCTIONS, OF_ONE_TYPE, Accepts
from mtls_operator.rules.tree import Argument, Call, Field, Index, Literal, unpacked
from mtls_operator.rules.types import Type

_V4_BITS: Final = 32
_V6_BITS: Final = 128
_MAX_PARTS: Final = 128
#: Integers that the numbers of the proxy hold exactly.
_EXACT: Final = 2**53


def _bits(argument: Literal, most: int) -> str | None:
    number = argument.value
    return (
        None
        if isinstance(number, int) and 1 <= number <= most
        else f"a prefix length from 1 to {most} is expected"
    )


def _number(argument: Literal, least: int, most: int) -> str | None:
    number = argument.value
    fits = not isinstance(number, int) or least <= number <= most
    return None if fits else f"a number from {least} to {most} is expected"


def _decode_options(argument: Literal) -> str | None:
    options = argument.value
    known = isinstance(options, bytes) and set(options) <= set(b"ru")
    return None if known else "the options of url_decode are r and u"


#: What a literal argument must hold, by function and position.
_VALUES: Final[dict[tuple[str, int], Callable[[Literal], str | None]]] = {
    ("cidr", 1): lambda argument: _bits(argument, _V4_BITS),
    ("cidr", 2): lambda argument: _bits(argument, _V6_BITS),
    ("cidr6", 1): lambda argument: _bits(argument, _V6_BITS),
    ("split", 1): lambda argument: None if argument.value else "a separator of at least one byte is expected",
    ("split", 2): lambda argument: _number(argument, 1, _MAX_PARTS),
    ("url_decode", 1): _decode_options,
    **{
        ("coalesce", position): lambda argument: _number(argument, -_EXACT, _EXACT)
        for position in range(FUNCTIONS["coalesce"].most)
    },
}


def check_call(cursor: Cursor, name: str, arguments: Sequence[Argument], start: int) -> None:
    """Check the last of the arguments read so far; it ends where the cursor is."""
    position = len(arguments) - 1
    argument = arguments[position]
    parameters = FUNCTIONS[name].parameters
    parameter = parameters[min(position, len(parameters) - 1)]

    def error(code: Code, message: str) -> RuleError:
        return cursor.error(code, message, start, cursor.position)

    literal = isinstance(argument, Literal)
    if (literal and parameter.accepts is Accepts.FIELD) or (
        not literal and parameter.accepts is Accepts.LITERAL
    ):
        raise error(Code.ARG_KIND, f"{parameter.accepts.value} is expected here")
    if not isinstance(argument, Literal | Field | Index | Call):
        raise error(Code.ARG_TYPE, f"{name} takes no Boolean expression here")
    if position > 0 and unpacked(argument):
        raise error(Code.INVALID_MAP_EACH, "[*] can only stand in the first argument")
    expected = parameter.types
    if name in OF_ONE_TYPE and position > 0:
        expected = (_type(arguments[0]),)
    if name == "has_value" and position > 0:
        expected = (_type(arguments[0]).element(),)
    if argument.type not in expected:
        wanted = " or ".join(article(str(each)) for each in expected)
        raise error(Code.ARG_TYPE, f"{wanted} is expected here, this is {article(str(argument.type))}")
    check = _VALUES.get((name, position))
    if check is not None and isinstance(argument, Literal):
        complaint = check(argument)
        if complaint is not None:
            raise error(Code.ARG_VALUE, complaint)


def _type(argument: Argument) -> Type:
    if not isinstance(argument, Literal | Field | Index | Call):
        raise TypeError("checked before")
    return argument.type
