"""Why an expression yields what it yields: parts with their values, and those that decide."""

from __future__ import annotations

import io
from typing import Any

import pytest

from mtls_operator.cli.rule.answer import _branch
from mtls_operator.cli.rule.because import reason_text, reasons, rows, value_text
from mtls_operator.cli.screen import Screen
from mtls_operator.rules import evaluate, parse, trace

REQUEST: dict[str, Any] = {"http.request.headers": {"x": ["a", "b"]}, "http.request.uri.path": "/p"}


def parts(text: str) -> list[tuple[str, str, bool]]:
    return [(row.text, value_text(row.value), row.looked_at) for row in rows(trace(parse(text), REQUEST))]


def why(text: str) -> list[str]:
    return [reason_text(each) for each in reasons(trace(parse(text), REQUEST))]


def test_every_part_has_its_value() -> None:
    assert parts('any(lower(http.request.headers["x"][*])[*] eq "b")') == [
        ("any(…)", "true", True),
        ('lower(http.request.headers["x"][*])[*] eq "b"', "[false, true]", True),
        ('lower(http.request.headers["x"][*])[*]', '["a", "b"]', True),
        ('lower(http.request.headers["x"][*])', '["a", "b"]', True),
        ('http.request.headers["x"][*]', '["a", "b"]', True),
        ('http.request.headers["x"]', '["a", "b"]', True),
        ("http.request.headers", '{"x": ["a", "b"]}', True),
    ]


def test_what_is_missing_is_called_missing() -> None:
    assert parts('http.request.headers["y"][0] ne "b"')[:2] == [
        ('http.request.headers["y"][0] ne "b"', "true", True),
        ('http.request.headers["y"][0]', "missing", True),
    ]


@pytest.mark.parametrize(
    ("text", "looked_at"),
    [
        ("ssl or not ssl", [True, True, False, False]),
        ("not ssl or ssl", [True, True, True, True]),
        ("not ssl and ssl", [True, True, True, False]),
        ("ssl and ssl and not ssl", [True, True, True, True, True]),
        ("ssl xor ssl", [True, True, True]),
        ("ssl or (ssl and ssl)", [True, True, False, False, False]),
    ],
)
def test_what_cannot_change_the_result_any_more_is_not_looked_at(text: str, looked_at: list[bool]) -> None:
    assert [each for _, _, each in parts(text)] == looked_at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssl", ["ssl is true"]),
        ("not ssl", ["ssl is true"]),
        ("ssl and true", ["ssl is true", "true is true"]),
        ("not ssl or true", ["true is true"]),
        ("not ssl or false", ["ssl is true", "false is false"]),
        ("not ssl and true", ["ssl is true"]),
        ("ssl xor false", ["ssl is true", "false is false"]),
        ("not (ssl and false)", ["false is false"]),
        ('http.request.uri.path eq "/p"', ['http.request.uri.path eq "/p" is true (it is "/p")']),
        ('any(http.request.headers["x"][*] eq "a")', ['any(http.request.headers["x"][*] eq "a") is true']),
    ],
)
def test_the_reasons_are_the_parts_that_decide(text: str, expected: list[str]) -> None:
    assert why(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'not (ssl or http.host eq "a") xor any(not http.request.headers["x"][*] eq "a")',
        'all(http.request.headers["y"][*] eq "a")',
    ],
)
def test_the_traced_value_is_that_of_the_reference(text: str) -> None:
    expression = parse(text)
    assert (trace(expression, REQUEST).value is True) is evaluate(expression, REQUEST)


def test_long_values_are_cut_and_say_so() -> None:
    assert value_text(b"x" * 1000).endswith("… (1000 bytes)")
    assert value_text([1] * 100).endswith("… 92 more]")


def test_values_of_others_cannot_steer_the_terminal() -> None:
    assert value_text(b"\x1b[2J") == r'"\x1b[2J"'


def test_the_deepest_expression_is_shown() -> None:
    text = "(" * 127 + "not ssl" + ")" * 127
    assert len(parts(text)) == 2
    deep = "not " * 128 + "ssl"
    assert len(parts(deep)) == 129


def test_a_terminal_without_unicode_gets_plain_lines() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert not Screen(out, out).draws
    shown = [_branch(row, draws=False) for row in rows(trace(parse("not ssl and ssl"), REQUEST))]
    assert shown == ["", "|- ", "|  `- ", "`- "]
