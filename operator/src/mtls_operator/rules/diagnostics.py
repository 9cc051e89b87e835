"""Where and why a rule is wrong: spans, errors with a caret, and warnings.

The codes follow the catalogue in ``docs/rules-language.md``; the first error ends the parse, as in
Cloudflare's engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What kind of mistake an error is about; stable, for tools."""

    ARG_COUNT = "arg_count"
    ARG_KIND = "arg_kind"
    ARG_TYPE = "arg_type"
    ARG_VALUE = "arg_value"
    BAD_ESCAPE = "bad_escape"
    BAD_LIST = "bad_list"
    BAD_LIST_NAME = "bad_list_name"
    BAD_RANGE = "bad_range"
    BAD_TEXT = "bad_text"
    EXPECTED_DIGIT = "expected_digit"
    EXPECTED_IDENTIFIER = "expected_identifier"
    EXPECTED_IP = "expected_ip"
    EXPECTED_LITERAL = "expected_literal"
    EXPECTED_OPERATOR = "expected_operator"
    EXPECTED_STRING = "expected_string"
    IMPOSSIBLE = "impossible"
    INVALID_INDEX = "invalid_index"
    INVALID_INDEX_LITERAL = "invalid_index_literal"
    INVALID_MAP_EACH = "invalid_map_each"
    MISSING_QUOTE = "missing_quote"
    NESTING = "nesting"
    NOT_AVAILABLE = "not_available"
    NOT_SUPPORTED = "not_supported"
    PARSE_INT = "parse_int"
    PARSE_NETWORK = "parse_network"
    PARSE_REGEX = "parse_regex"
    PARSE_WILDCARD = "parse_wildcard"
    RAW_HASHES = "raw_hashes"
    TOO_LONG = "too_long"
    TOO_MANY_REGEX = "too_many_regex"
    TRAILING = "trailing"
    TYPE_MISMATCH = "type_mismatch"
    UNKNOWN_IDENTIFIER = "unknown_identifier"
    UNSUPPORTED_OP = "unsupported_op"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text: bytes of its UTF-8 form, half open."""

    start: int
    end: int


class RuleError(Exception):
    """An expression that is not accepted: what is wrong, where, and what to write instead."""

    def __init__(self, code: Code, message: str, *, span: Span, source: str, hint: str | None = None) -> None:
        super().__init__(_printable(message))
        self.code = code
        self.message = _printable(message)
        self.hint = None if hint is None else _printable(hint)
        self.span = span
        self.source = source

    def line_column(self) -> tuple[int, int]:
        """Return line and column of the mistake, both from 1, the column in characters."""
        before = _decode(_encode(self.source)[: self.span.start])
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def display(self) -> str:
        """Return the message with its place, the source line, a caret line cut at its end, and the hint.

        Characters that a terminal would act upon are shown as a replacement character: the text may come
        from anybody.
        """
        line, column = self.line_column()
        shown = self.source.split("\n")[line - 1]
        marked = _decode(_encode(self.source)[self.span.start : self.span.end]).split("\n")[0]
        carets = "^" * max(1, min(len(marked), len(shown) - column + 1))
        lines = [
            f"line {line}, column {column}: {self.message}",
            _printable(shown),
            " " * (column - 1) + carets,
        ]
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(line.rstrip() for line in lines)

    def __str__(self) -> str:
        line, column = self.line_column()
        return f"line {line}, column {column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Lint:
    """A valid expression that probably does not mean what its author wanted."""

    code: str
    message: str
    span: Span


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _printable(text: str) -> str:
    return "".join(
        " " if char == "\t" else char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
