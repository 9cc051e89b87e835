"""``kubectl mtls rule corpus`` with the reference: which answers count, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.terminal import Ended, run

from mtls_operator.cli.rule.cases import Mistake, fits
from mtls_operator.rules import RuleError, parse

OURS = Path(__file__).parents[1] / "rules/corpus.jsonl"


def answered(folder: Path, *cases: dict[str, Any], form: str = "text") -> Ended:
    file = folder / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return run("rule", "corpus", str(file), "-o", form)


def error(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse(text)
    return caught.value


def test_our_own_corpus_passes() -> None:
    ended = run("rule", "corpus", str(OURS))
    count = len(OURS.read_text("utf-8").rstrip("\n").split("\n"))
    assert (ended.code, ended.out.splitlines()[-1]) == (0, f"{count} passed, 0 failed")


def test_a_difference_is_shown_and_fails(tmp_path: Path) -> None:
    ended = answered(tmp_path, {"id": "a", "expr": "ssl", "result": False}, {"expr": "ssl", "result": True})
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "FAILED a: ssl",
        "  expected false",
        "  got      true",
        "2 evaluated by the reference",
        "1 passed, 1 failed",
    ]


@pytest.mark.parametrize("mark", [{"uncertain": True}, {"features": ["dynamic_rhs"]}, {"nil_ne": False}])
def test_an_uncertain_difference_is_shown_and_does_not_fail(tmp_path: Path, mark: dict[str, Any]) -> None:
    ended = answered(tmp_path, {"id": "a", "expr": "ssl", "result": False, **mark})
    assert ended.code == 0
    assert ended.out.startswith("uncertain a: ssl\n")
    assert ended.out.endswith("1 uncertain differ, which is no failure\n0 passed, 0 failed\n")


def test_the_other_case_of_a_setting_that_we_have_is_certain(tmp_path: Path) -> None:
    assert answered(tmp_path, {"expr": "ssl", "result": False, "nil_ne": True}).code == 1


def test_an_expression_that_must_be_refused_and_is_not_fails(tmp_path: Path) -> None:
    ended = answered(tmp_path, {"expr": "ssl", "error": "trailing", "span": [0, 3]})
    assert ended.code == 1
    assert "expected refused, trailing at bytes 0 to 3\n  got      true" in ended.out


def test_an_expression_that_must_not_be_refused_and_is_fails(tmp_path: Path) -> None:
    ended = answered(tmp_path, {"expr": "ssll", "result": True})
    assert ended.code == 1
    assert "got      refused, unknown_identifier at bytes 0 to 4: " in ended.out


def test_a_request_that_is_none_fails(tmp_path: Path) -> None:
    ended = answered(tmp_path, {"expr": "ssl", "request": {"ssl": 1}, "result": True}, form="json")
    assert ended.code == 1
    assert ended.document["failed"][0]["got"] == "no request: ssl must be Boolean"


@pytest.mark.parametrize(
    ("expected", "text", "fitting"),
    [
        (Mistake("unknown_identifier", (0, 4)), "ssll", True),
        (Mistake("unknown_identifier", None), "ssll", True),
        (Mistake("unknown_identifier", (2, 9)), "ssll", True),
        (Mistake("unknown_identifier", (4, 9)), "ssll", False),
        (Mistake("unknown_identifier", (4, 4)), "ssll", True),
        (Mistake("unknown_identifier", (5, 5)), "ssll", False),
        (Mistake("parse_regex", (0, 4)), "ssll", False),
        (Mistake("parse_int", (13, 15)), "http.host eq 'a'", True),
        (Mistake("parse_int", (12, 14)), 'http.host === "a"', True),
        (Mistake("missing_quote", (12, 14)), 'http.host === "a"', False),
        (True, "ssll", False),
    ],
)
def test_a_refusal_fits_when_it_means_the_same_at_the_same_place(
    *, expected: bool | Mistake, text: str, fitting: bool
) -> None:
    assert fits(expected, error(text)) is fitting


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: "),
        ("[]", "line 1: a case is an object"),
        ('{"expr": 1, "result": true}', "line 1: a case is an object"),
        ('{"expr": "ssl"}', "line 1: a case has either result"),
        ('{"expr": "ssl", "result": true, "error": "x"}', "line 1: a case has either result"),
        ('{"expr": "ssl", "error": "x", "span": [true, 2]}', "line 1: a case has either result"),
        ('{"expr": "ssl", "result": true, "request": []}', "no answer"),
        ("", "no cases"),
        ("[" * 100_000, "line 1: nested too deeply"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(line)
    ended = run("rule", "corpus", str(file))
    if message == "no answer":
        assert ended.code == 0
        return
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert str(file) in ended.err


def test_line_ends_of_unicode_within_a_text_are_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text('{"expr": "http.host eq \\"a\u2028b\\"", "result": false}\n', "utf-8")
    assert run("rule", "corpus", str(file)).code == 0
