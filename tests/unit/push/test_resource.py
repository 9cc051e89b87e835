"""What may be published, and what is left to offer after proxies have answered."""

from __future__ import annotations

import pytest
from tests.unit.push.builders import ALL, HOST, rules

from mtls_operator.api import names
from mtls_operator.push import Scope, Script, ScriptRefused
from mtls_operator.push.resource import Slot, make_resource


def publishable(scope: Scope, script: Script, *, limit: int = 100) -> None:
    make_resource(scope, script, mark="m", order=1, limit=limit)


@pytest.mark.parametrize(
    ("scope", "script"),
    [
        pytest.param(HOST, Script(names.REVOCATION_FILTER, "v", ""), id="revocations of one host"),
        pytest.param(ALL, Script(names.RULES_FILTER, "v", ""), id="rules of a namespace"),
        pytest.param(HOST, Script("mtls-gate", "v", ""), id="an unknown filter"),
        pytest.param(HOST, Script(names.RULES_FILTER, "", ""), id="no version"),
        pytest.param(HOST, Script(names.RULES_FILTER, "v\n", ""), id="a version of two lines"),
        pytest.param(HOST, Script(names.RULES_FILTER, "v" * 129, ""), id="a long version"),
        pytest.param(HOST, Script(names.RULES_FILTER, "v", "a\0b"), id="a NUL, where Envoy cuts"),
        pytest.param(HOST, Script(names.RULES_FILTER, "v", "\ud800"), id="half a character"),
        pytest.param(HOST, Script(names.RULES_FILTER, "v", "x" * 101), id="too large"),
    ],
)
def test_a_script_that_cannot_be_sent_as_it_is_is_refused(scope: Scope, script: Script) -> None:
    with pytest.raises(ScriptRefused):
        publishable(scope, script)


def test_a_script_is_sent_whole_and_marked_at_its_end() -> None:
    resource = rules("v1")
    assert b"-- v1\n-- mark\n" in resource.attempt(0)
    assert resource.attempt(0) is resource.attempt(0)


def test_each_attempt_has_bytes_of_its_own_and_the_same_version() -> None:
    resource = rules("v1")
    assert b"-- v1\n-- mark.7\n" in resource.attempt(7)
    assert resource.attempt(7) != resource.attempt(8) != resource.attempt(0)


def slot(*versions: str) -> Slot:
    result = Slot(limit=8)
    for order, version in enumerate(versions, start=1):
        result.publish(rules(version, order))
    return result


def offered(found: Slot) -> list[str]:
    return [each.version for each in found.candidates()]


def test_the_newest_comes_first() -> None:
    assert offered(slot("v1", "v2", "v3")) == ["v3", "v2"]


def test_what_was_refused_is_not_offered() -> None:
    found = slot("v1", "v2")
    found.refuse(rules("v2", 2), "bad")
    assert offered(found) == ["v1"]
    assert found.refusal(rules("v2")) == "bad"


def test_what_was_refused_is_not_a_fall_back_either() -> None:
    found = slot("v1", "v2")
    found.refuse(rules("v2", 2), "bad")
    found.publish(rules("v3", 3))
    assert offered(found) == ["v3", "v1"]


def test_what_a_proxy_accepted_stays_a_fall_back_however_many_unanswered_ones_follow() -> None:
    found = slot("v1")
    found.acknowledge(rules("v1", 1))
    found.publish(rules("v2", 2))
    found.publish(rules("v3", 3))
    assert offered(found) == ["v3", "v2", "v1"]


def test_one_proxy_that_refuses_what_another_accepted_does_not_keep_it_from_the_rest() -> None:
    found = slot("v1", "v2")
    found.acknowledge(rules("v2", 2))
    found.refuse(rules("v2", 2), "I do not like revocations")
    assert offered(found)[0] == "v2"


def test_refused_bytes_are_recognised_under_another_version() -> None:
    found = slot("v1")
    script = Script(names.RULES_FILTER, "other", rules("v1").script.text)
    again = make_resource(HOST, script, mark="mark", order=2, limit=1000)
    found.refuse(rules("v1"), "bad")
    found.publish(again)
    assert offered(found) == []


def test_the_memory_of_verdicts_is_bounded() -> None:
    found = slot("v1")
    for number in range(100):
        found.refuse(rules(f"r{number}"), "bad")
    assert len(found.verdicts) == 8
