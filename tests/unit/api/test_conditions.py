"""Conditions: written when they change, timed by their status, summed up in Ready."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mtls_operator.api.conditions import (
    Condition,
    condition_status,
    conditions_of,
    merge_conditions,
    ready,
    status_differs,
    status_text,
)
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.pki.errors import Reason as PkiReason

NOW = datetime(2027, 1, 31, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def condition(
    type_: ConditionType = ConditionType.ACCEPTED,
    *,
    status: bool | None = True,
    reason: Reason = Reason.ACCEPTED,
    message: str = "Fine.",
    generation: int = 1,
) -> Condition:
    return Condition(type_, status, reason, message, generation)


def test_a_new_condition_is_timed_now() -> None:
    assert merge_conditions([], [condition()], now=NOW) == [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "Fine.",
            "observedGeneration": 1,
            "lastTransitionTime": "2027-01-31T08:00:00Z",
        }
    ]


def test_a_condition_keeps_its_time_while_its_status_stays_whatever_else_changes() -> None:
    before = merge_conditions([], [condition(status=False, reason=Reason.NO_PODS)], now=NOW)
    changed = condition(status=False, reason=Reason.PROXY_PENDING, message="2/3.", generation=2)
    (after,) = merge_conditions(before, [changed], now=LATER)
    assert after["lastTransitionTime"] == "2027-01-31T08:00:00Z"
    assert (after["reason"], after["message"], after["observedGeneration"]) == ("ProxyPending", "2/3.", 2)


def test_a_condition_is_timed_anew_when_its_status_changes() -> None:
    before = merge_conditions([], [condition(status=None)], now=NOW)
    (after,) = merge_conditions(before, [condition(status=False)], now=LATER)
    assert after["lastTransitionTime"] == "2027-01-31T08:05:00Z"


def test_conditions_come_in_the_order_wanted_and_those_not_wanted_disappear() -> None:
    before = merge_conditions([], [condition(ConditionType.ISSUED), condition(ConditionType.READY)], now=NOW)
    wanted = [condition(ConditionType.READY), condition(ConditionType.REVOKED)]
    assert [item["type"] for item in merge_conditions(before, wanted, now=LATER)] == ["Ready", "Revoked"]


def test_a_damaged_condition_is_replaced() -> None:
    damaged: list[dict[str, object]] = [{"status": "True"}, {"type": "Accepted", "status": "True"}]
    (after,) = merge_conditions(damaged, [condition()], now=NOW)
    assert after["lastTransitionTime"] == "2027-01-31T08:00:00Z"


def test_a_message_that_the_api_server_would_refuse_is_cut() -> None:
    (after,) = merge_conditions([], [condition(message="x" * 40_000)], now=NOW)
    assert after["message"] == "x" * 32_768


def test_a_second_look_at_an_unchanged_world_gives_the_same_conditions() -> None:
    wanted = [condition(), condition(ConditionType.DEPLOYED, status=None, reason=Reason.PENDING)]
    before = merge_conditions([], wanted, now=NOW)
    assert merge_conditions(before, wanted, now=LATER) == before


REQUIRED = (ConditionType.ACCEPTED, ConditionType.DEPLOYED)


def test_ready_is_true_when_everything_required_is() -> None:
    assert ready([condition(), condition(ConditionType.DEPLOYED, generation=2)], REQUIRED) == Condition(
        ConditionType.READY, True, Reason.READY, "Everything is in force.", 1
    )


def test_ready_says_what_the_first_condition_that_is_not_true_says() -> None:
    conditions = [
        condition(ConditionType.DEPLOYED, status=False, reason=Reason.NO_PODS, message="Start pods."),
        condition(status=None, reason=Reason.PENDING, message="Wait."),
    ]
    assert ready(conditions, REQUIRED) == Condition(ConditionType.READY, None, Reason.PENDING, "Wait.", 1)
    assert ready(conditions, REQUIRED[1:]) == Condition(
        ConditionType.READY, False, Reason.NO_PODS, "Start pods.", 1
    )


def test_ready_is_unknown_while_a_required_condition_is_missing() -> None:
    summary = ready([condition()], REQUIRED)
    assert (summary.status, summary.reason) == (None, Reason.PENDING)
    assert "Deployed" in summary.message


def test_ready_ignores_conditions_that_are_not_required() -> None:
    conditions = [condition(), condition(ConditionType.ENFORCED, status=False, reason=Reason.NO_RULES)]
    assert ready(conditions, REQUIRED[:1]).status is True


@pytest.mark.parametrize(("status", "text"), [(True, "True"), (False, "False"), (None, "Unknown")])
def test_a_status_is_spelled_as_kubernetes_does(status: bool | None, text: str) -> None:  # noqa: FBT001 - the table's column
    assert status_text(status) == text


def test_a_written_condition_can_be_asked_for() -> None:
    status: dict[str, object] = {"conditions": merge_conditions([], [condition(status=False)], now=NOW)}
    assert condition_status(status, ConditionType.ACCEPTED) is False
    assert condition_status(status, ConditionType.READY) is None


@pytest.mark.parametrize("conditions", [None, "x", [1, "y"]])
def test_a_status_without_conditions_has_none(conditions: object) -> None:
    assert conditions_of({"conditions": conditions}) == ()


def test_a_status_that_differs_only_in_the_times_of_conditions_is_not_written() -> None:
    first = {"state": "Active", "conditions": merge_conditions([], [condition()], now=NOW)}
    second = {"state": "Active", "conditions": merge_conditions([], [condition()], now=LATER)}
    assert not status_differs(first, second)


def test_a_missing_field_and_a_null_one_are_the_same() -> None:
    assert not status_differs({"state": "Active"}, {"state": "Active", "revokedAt": None})


@pytest.mark.parametrize(
    "wanted",
    [
        {"state": "Revoked", "notAfter": "2027-01-31T08:00:00Z"},
        {"state": "Active", "notAfter": "2028-01-31T08:00:00Z"},
        {"state": "Active"},
        {},
    ],
)
def test_a_status_that_differs_in_a_fact_is_written(wanted: dict[str, object]) -> None:
    assert status_differs({"state": "Active", "notAfter": "2027-01-31T08:00:00Z"}, wanted)


def test_reasons_and_types_are_words_that_the_schema_accepts() -> None:
    words = [*Reason, *ConditionType]
    assert all(word.value.isalnum() and word.value[0].isupper() and word.value.isascii() for word in words)


def test_every_reason_of_a_refused_certificate_is_one_that_conditions_know() -> None:
    assert {reason.value for reason in PkiReason} <= {reason.value for reason in Reason}
