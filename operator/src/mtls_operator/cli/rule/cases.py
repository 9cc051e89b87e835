"""Test cases of the language, one JSON object a line, and when an answer is the expected one.

``id``, ``expr``, ``request`` (fields of a request, see :mod:`mtls_operator.rules.request`) and ``result``; a case
that must be refused has ``error`` and ``span`` instead, the bytes that the error is about. ``uncertain`` cases may be
answered otherwise: so may those that need what only other settings offer (``features``, or ``nil_ne`` false).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mtls_operator.cli.errors import Unanswered
from mtls_operator.rules import RuleError


@dataclass(frozen=True, slots=True)
class Mistake:
    """That an expression is refused: the code, and the bytes of the text that are meant (None: not given)."""

    code: str
    span: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is expected is a result, or that the expression is refused."""

    name: str
    text: str
    request: Mapping[str, object]
    expected: bool | Mistake
    uncertain: bool


#: What came out instead of a result: the message of an engine that could not give one.
Answer: TypeAlias = "bool | RuleError | str"

#: Codes that say the same about a place: engines differ in what they expected there.
_SAME: Final = tuple(
    frozenset(codes.split())
    for codes in (
        # No literal of the right kind stands where one should: Cloudflare's engine reads bare text as hexadecimal
        # bytes or as a number, and says what is wrong with those.
        "parse_int parse_network short expected_separator expected_string expected_digit expected_ip expected_literal",
        # The same behind a run of symbols that no operator is, such as ===.
        "parse_int expected_operator",
        # Too much, too little, or an empty argument.
        "trailing expected_operator expected_literal expected_identifier arg_count",
        "unknown_identifier not_available expected_identifier",
        "arg_kind arg_type arg_value invalid_map_each",
        "type_mismatch unsupported_op arg_type",
        "invalid_index invalid_index_literal",
        "bad_escape parse_int short missing_quote raw_hashes bad_text",
        "parse_regex too_many_regex",
        "bad_range parse_network",
        "bad_list_name unsupported_op",
    )
)
#: Refusals of a whole form, whatever is wrong in it elsewhere.
_WHOLE: Final = frozenset({"not_supported", "not_available"})


def read_cases(text: str, *, file: str) -> list[Case]:
    """Return the cases of a file.

    Raises:
        Unanswered: a line is no case.
    """
    cases = []
    # Not splitlines(): a string of JSON may hold other line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                cases.append(_case(json.loads(line), number))
            except RecursionError as error:
                raise Unanswered(f"{file}, line {number}: nested too deeply") from error
            except ValueError as error:
                raise Unanswered(f"{file}, line {number}: {error}") from error
    if not cases:
        raise Unanswered(f"{file}: no cases")
    return cases


def _case(document: Any, number: int) -> Case:
    known = document if isinstance(document, dict) else {}
    text, request = known.get("expr"), known.get("request") or {}
    if not (isinstance(text, str) and isinstance(request, dict)):
        raise ValueError("a case is an object; its expr is a text, its request an object")  # noqa: TRY004 - of a line
    return Case(
        name=str(document.get("id", f"line {number}")),
        text=text,
        request=request,
        expected=_expected(document),
        uncertain=bool(document.get("uncertain") or document.get("features"))
        or document.get("nil_ne") is False,
    )


def _expected(document: Mapping[str, Any]) -> bool | Mistake:
    result, error, span = document.get("result"), document.get("error"), document.get("span")
    if isinstance(result, bool) and error is None:
        return result
    if result is None and isinstance(error, str):
        if span is None:
            return Mistake(error, None)
        if isinstance(span, list) and [type(end) for end in span] == [int, int]:
            return Mistake(error, (span[0], span[1]))
    raise ValueError("a case has either result (true or false), or error (a code) and span (two numbers)")


def fits(expected: bool | Mistake, answer: Answer) -> bool:  # noqa: FBT001 - the value itself, not a switch
    """Say whether an answer is the expected one: a refusal must mean the same and overlap the same bytes."""
    if isinstance(expected, bool):
        return answer is expected
    if not isinstance(answer, RuleError):
        return False
    code = answer.code.value
    same = code == expected.code or code in _WHOLE or any({code, expected.code} <= group for group in _SAME)
    return same and _overlaps(expected.span, (answer.span.start, answer.span.end))


def _overlaps(expected: tuple[int, int] | None, given: tuple[int, int]) -> bool:
    if expected is None:
        return True
    if expected[0] == expected[1] or given[0] == given[1]:
        return expected[0] <= given[1] and given[0] <= expected[1]
    return expected[0] < given[1] and given[0] < expected[1]


def shown(answer: Answer | Mistake) -> str:
    """Return an answer, or what was expected, in a few words."""
    if isinstance(answer, bool):
        return str(answer).lower()
    if isinstance(answer, Mistake):
        place = "" if answer.span is None else f" at bytes {answer.span[0]} to {answer.span[1]}"
        return f"refused, {answer.code}{place}"
    if isinstance(answer, RuleError):
        return f"refused, {answer.code.value} at bytes {answer.span.start} to {answer.span.end}: {answer.message}"
    return answer
