"""Which rules apply to a host, and in which order: by priority, then by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support import builders

from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.plan.host_status import SHOWN_RULES
from mtls_operator.plan.hostrules import HostRules, rules_for


def rule(name: str = "admin", **spec: Any) -> Rule:
    return parse_rule(builders.rule(name, **spec))


def order(rules: HostRules) -> list[str]:
    return [script.name for script in rules.scripts]


def test_a_lower_priority_is_evaluated_first() -> None:
    rules = [rule("a", priority=2000), rule("b", priority=0), rule("c", priority=1_000_000), rule("d")]
    assert order(rules_for("api", rules, {}, {})) == ["b", "d", "a", "c"]


def test_rules_of_equal_priority_are_evaluated_in_the_order_of_their_names() -> None:
    rules = [rule(name, priority=7) for name in ("b", "a.b", "a-b", "a", "10", "9", "aa")]
    assert order(rules_for("api", rules, {}, {})) == ["10", "9", "a", "a-b", "a.b", "aa", "b"]


@given(st.data())
def test_the_order_does_not_depend_on_the_order_of_arrival(data: st.DataObject) -> None:
    rules = [rule(f"r{number}", priority=number % 3) for number in range(9)]
    shuffled = data.draw(st.permutations(rules))
    assert order(rules_for("api", shuffled, {}, {})) == order(rules_for("api", rules, {}, {}))


def test_the_action_does_not_change_the_order() -> None:
    rules = [rule("c", action="Block"), rule("b", action="Skip"), rule("a", action="Log")]
    assert order(rules_for("api", rules, {}, {})) == ["a", "b", "c"]


def test_a_rule_that_is_disabled_is_not_evaluated() -> None:
    rules = [rule("off", enabled=False), rule("on")]
    assert order(rules_for("api", rules, {}, {})) == ["on"]


def test_a_skip_of_one_host_is_not_among_the_rules_of_another() -> None:
    rules = [
        rule("everywhere"),
        rule("skip", action="Skip", priority=0, hostRefs=[{"name": "api"}], match={}),
    ]
    assert order(rules_for("api", rules, {}, {})) == ["skip", "everywhere"]
    assert order(rules_for("shop", rules, {}, {})) == ["everywhere"]


@pytest.mark.parametrize(
    ("response", "own"),
    [
        (None, (403, None, None)),
        ({}, (403, None, None)),
        ({"statusCode": 401}, (401, None, None)),
        ({"contentType": "application/json"}, (403, None, None)),
        ({"body": ""}, (403, "application/json", "")),
        ({"statusCode": 404, "contentType": "text/plain", "body": "no"}, (404, "text/plain", "no")),
    ],
)
def test_only_a_body_makes_an_answer_a_rules_own(
    response: dict[str, object] | None, own: tuple[int, str | None, str | None]
) -> None:
    spec = {} if response is None else {"response": response}
    (script,) = rules_for("api", [rule(**spec)], {}, {}).scripts
    assert (script.status, script.content_type, script.body) == own


@pytest.mark.parametrize("action", ["Log", "Skip"])
def test_what_answers_nothing_has_no_answer(action: str) -> None:
    (script,) = rules_for("api", [rule(action=action)], {}, {}).scripts
    assert (script.status, script.content_type, script.body) == (None, None, None)


def test_a_status_shows_as_many_rules_as_the_schema_holds() -> None:
    definition = yaml.safe_load((Path(__file__).parents[3] / "crds" / "mtlshosts.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"]["properties"]["rules"]["maxItems"] == SHOWN_RULES
