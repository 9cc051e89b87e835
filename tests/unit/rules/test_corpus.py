"""Every case of the corpus: what an expression means for a request, or what is wrong with it and where.

A valid case has ``result`` for ``request``; an invalid one has the code and the bytes of its error.
"""

from typing import Any

import pytest
from tests.unit.rules.machine import Machine, corpus

from mtls_operator.rules import GENERATED_LIMITS, RuleError, evaluate, parse, to_lua

CASES = corpus()
VALID = [pytest.param(case, id=case["id"]) for case in CASES if "result" in case]
INVALID = [pytest.param(case, id=case["id"]) for case in CASES if "error" in case]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES) >= 500


@pytest.mark.parametrize("case", VALID)
def test_a_valid_expression_yields_its_result(case: dict[str, Any]) -> None:
    assert evaluate(parse(case["expr"]), case.get("request", {})) is case["result"]


@pytest.mark.parametrize("case", VALID)
def test_generated_lua_yields_the_same_result(case: dict[str, Any], machine: Machine) -> None:
    code = to_lua(parse(case["expr"]))
    assert machine.run(code, case.get("request", {})) is case["result"]


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_expression_is_refused_at_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(RuleError) as caught:
        parse(case["expr"])
    assert (caught.value.code, [caught.value.span.start, caught.value.span.end]) == (
        case["error"],
        case["span"],
    )


@pytest.mark.parametrize("case", VALID)
def test_the_preview_means_the_same(case: dict[str, Any]) -> None:
    expression = parse(case["expr"])
    again = parse(expression.preview, limits=GENERATED_LIMITS)
    assert again.preview == expression.preview
    assert evaluate(again, case.get("request", {})) is case["result"]
