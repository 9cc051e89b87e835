"""Strings, wildcard patterns and regular expressions.

From Cloudflare's documentation on values. Its engine also reads bytes such as ``61:62`` where a string is expected;
that undocumented form is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mtls_operator.rules.automaton import Budget, TooComplexError, compile_automaton
from mtls_operator.rules.cursor import IDENTIFIER, Cursor
from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.regex import RegexError, normalise, parse_regex
from mtls_operator.rules.tree import Literal, Pattern, Regex
from mtls_operator.rules.types import BYTES

_MAX_HASHES: Final = 255
_MAX_OCTAL: Final = 0o377
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_OCTAL: Final = frozenset("01234567")
_STAR: Final = ord("*")
_BACKSLASH: Final = ord("\\")


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal: its bytes, and the characters between its quotes as they stand in the text."""

    value: bytes
    inner: str


def at_string(cursor: Cursor) -> bool:
    """Return whether a string literal begins here."""
    return cursor.looking_at('"') or cursor.looking_at('r"') or cursor.looking_at("r#")


def string(cursor: Cursor) -> Literal:
    """Read a quoted or raw string."""
    start = cursor.position
    text = text_literal(cursor)
    return Literal(text.value, BYTES, cursor.span(start))


def quoted_key(cursor: Cursor) -> bytes:
    """Read the quoted string between the brackets of a map access; raw strings are not allowed there."""
    return _quoted(cursor).value


def text_literal(cursor: Cursor) -> Text:
    """Read a quoted or raw string with its characters."""
    if cursor.looking_at('"'):
        return _quoted(cursor)
    if at_string(cursor):
        return _raw(cursor)
    end = cursor.token_end() if cursor.char else cursor.end
    token = cursor.source[cursor.position : end]
    hint = None
    if token[:2] == 'R"':
        hint = "a raw string begins with a lower-case r"
    elif token and token[0] in IDENTIFIER:
        hint = f'write "{token}"'
    elif token.startswith("'"):
        hint = "strings are written in double quotes"
    elif token.startswith(","):
        hint = "the elements of a set are separated by blanks, not by commas"
    raise cursor.error(Code.EXPECTED_STRING, "a quoted string is expected here", end=end, hint=hint)


def _quoted(cursor: Cursor) -> Text:
    cursor.position += 1
    start = cursor.position
    value = bytearray()
    while cursor.char != '"':
        if not cursor.char:
            raise cursor.error(Code.MISSING_QUOTE, "the closing quote is missing", start)
        if cursor.take("\\"):
            value += _escape(cursor)
        else:
            value += cursor.char.encode()
            cursor.position += 1
    inner = cursor.source[start : cursor.position]
    cursor.position += 1
    return Text(bytes(value), inner)


def _escape(cursor: Cursor) -> bytes:
    if cursor.looking_at('"') or cursor.looking_at("\\"):
        char = cursor.char
        cursor.position += 1
        return char.encode()
    if cursor.take("x"):
        return _digits(cursor, 2, _HEX, 16)
    if cursor.char in _OCTAL:
        return _digits(cursor, 3, _OCTAL, 8)
    end = min(cursor.position + 1, cursor.end)
    raise cursor.error(
        Code.BAD_ESCAPE,
        'only \\", \\\\, \\xHH and \\OOO are escapes in a string',
        end=end,
        hint='write \\\\ for a backslash, or a raw string: r"…"',
    )


def _digits(cursor: Cursor, count: int, allowed: frozenset[str], base: int) -> bytes:
    start = cursor.position
    end = min(start + count, cursor.end)
    digits = cursor.source[start:end]
    if len(digits) < count or not allowed.issuperset(digits) or int(digits, base) > _MAX_OCTAL:
        kind = "two hexadecimal digits" if base != 8 else "three octal digits up to 377"  # noqa: PLR2004 - the base itself
        raise cursor.error(Code.PARSE_INT, f"an escape needs {kind}", start, end)
    cursor.position = end
    return bytes([int(digits, base)])


def _raw(cursor: Cursor) -> Text:
    cursor.position += 1
    after_prefix = cursor.position
    hashes = cursor.run(frozenset("#"))
    if len(hashes) > _MAX_HASHES:
        raise cursor.error(Code.RAW_HASHES, f"a raw string has at most {_MAX_HASHES} hashes", after_prefix)
    cursor.position += len(hashes)
    if not cursor.take('"'):
        raise cursor.error(Code.EXPECTED_STRING, "a quote is expected after the hashes of a raw string")
    start = cursor.position
    end = cursor.source.find('"' + hashes, start, cursor.end)
    if end < 0:
        raise cursor.error(
            Code.MISSING_QUOTE, f"the raw string does not end: '\"{hashes}' is missing", after_prefix
        )
    cursor.position = end + 1 + len(hashes)
    inner = cursor.source[start:end]
    return Text(inner.encode(), inner)


def wildcard(cursor: Cursor) -> Pattern:
    r"""Read the right side of ``wildcard``; ``\*`` and ``\\`` are its escapes, after those of the string."""
    start = cursor.position
    text = text_literal(cursor).value
    pieces = [bytearray()]
    star = escaped = False
    for byte in text:
        if escaped and byte not in {_STAR, _BACKSLASH}:
            raise cursor.error(
                Code.PARSE_WILDCARD,
                "only \\* and \\\\ are escapes in a wildcard pattern",
                start,
                cursor.position,
            )
        if not escaped and byte == _STAR:
            if star:
                raise cursor.error(
                    Code.PARSE_WILDCARD, "two stars in a row mean no more than one", start, cursor.position
                )
            pieces.append(bytearray())
            star = True
            continue
        star = False
        escaped = not escaped and byte == _BACKSLASH
        if not escaped:
            pieces[-1].append(byte)
    if escaped:
        raise cursor.error(
            Code.PARSE_WILDCARD, "a wildcard pattern cannot end in a backslash", start, cursor.position
        )
    return Pattern(text, tuple(bytes(piece) for piece in pieces), cursor.span(start))


def regex(cursor: Cursor, budget: Budget) -> Regex:
    """Read the right side of ``matches``; between plain quotes a backslash belongs to the pattern."""
    start = cursor.position
    if cursor.looking_at('"'):
        pattern = _quoted_regex(cursor)
        first, last = start + 1, cursor.position - 1
    else:
        pattern = text_literal(cursor).inner
        first, last = start, cursor.position
    pattern = normalise(pattern)
    try:
        automaton = compile_automaton(parse_regex(pattern), budget)
    except (RegexError, TooComplexError) as error:
        raise RuleError(
            Code.PARSE_REGEX,
            f"regular expression: {error}",
            span=cursor.span(first, last),
            source=cursor.source,
        ) from error
    return Regex(pattern, automaton, cursor.span(start))


def _quoted_regex(cursor: Cursor) -> str:
    cursor.position += 1
    start = cursor.position
    in_class = False
    while cursor.char != '"' or in_class:
        if not cursor.char:
            hint = "an opening [ of a character class is never closed" if in_class else None
            raise cursor.error(Code.MISSING_QUOTE, "the closing quote is missing", start, hint=hint)
        if cursor.char == "\\" and cursor.position + 1 < cursor.end:
            cursor.position += 1
        elif cursor.char == "[":
            in_class = True
        elif cursor.char == "]":
            in_class = False
        cursor.position += 1
    pattern = cursor.source[start : cursor.position]
    cursor.position += 1
    return pattern
