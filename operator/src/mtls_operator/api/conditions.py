"""Conditions as Kubernetes wants them: written only when they change, timed by changes of their status alone.

Nobody sets ``Ready`` by hand: it is computed from the conditions that it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.timestamp import format_timestamp

_TRANSITION: Final = "lastTransitionTime"
#: Kubernetes refuses longer messages (meta/v1 Condition).
MESSAGE_LENGTH: Final = 32_768


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object, without the time: that follows from what was written before.

    ``status`` None is "Unknown". ``message`` is one sentence that says what to do.
    """

    type: ConditionType
    status: bool | None
    reason: Reason
    message: str
    observed_generation: int


class MakeCondition(Protocol):
    """Makes a condition of the generation that is being looked at."""

    def __call__(self, kind: ConditionType, reason: Reason, message: str, *, status: bool) -> Condition:
        """Return the condition."""


def conditions_for(generation: int) -> MakeCondition:
    """Return what makes the conditions of one generation of an object."""

    def condition(kind: ConditionType, reason: Reason, message: str, *, status: bool) -> Condition:
        return Condition(kind, status, reason, message, generation)

    return condition


def status_text(status: bool | None) -> str:  # noqa: FBT001 - the status is what the function is about
    """Return ``True``, ``False`` or ``Unknown`` as Kubernetes spells them."""
    return "Unknown" if status is None else str(status)


def merge_conditions(
    previous: Sequence[Mapping[str, object]], wanted: Sequence[Condition], *, now: datetime
) -> list[dict[str, object]]:
    """Return the conditions to write, in the order wanted.

    A condition keeps its ``lastTransitionTime`` while its status is the same. Types that are not wanted any
    more disappear: each status has one writer.
    """
    before = {condition.get("type"): condition for condition in previous}
    return [_document(condition, before.get(condition.type.value), now=now) for condition in wanted]


def ready(
    conditions: Sequence[Condition],
    required: Sequence[ConditionType],
    *,
    message: str = "Everything is in force.",
) -> Condition:
    """Compute ``Ready``: True when every required condition is True.

    Otherwise the first required one that is not True gives status, reason and message; one that is missing is
    Unknown. The observed generation is the lowest of those it rests on.
    """
    by_type = {condition.type: condition for condition in conditions}
    relied_on = [by_type[wanted] for wanted in required if wanted in by_type]
    generation = min((condition.observed_generation for condition in relied_on), default=0)
    for wanted in required:
        condition = by_type.get(wanted)
        if condition is None:
            return Condition(
                ConditionType.READY, None, Reason.PENDING, f"{wanted.value} is not known yet.", generation
            )
        if condition.status is not True:
            return Condition(
                ConditionType.READY, condition.status, condition.reason, condition.message, generation
            )
    return Condition(ConditionType.READY, True, Reason.READY, message, generation)


def conditions_of(status: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    """Return the conditions in a status as it was written, without anything that is none."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list | tuple):
        return ()
    return tuple(condition for condition in conditions if isinstance(condition, Mapping))


def condition_status(status: Mapping[str, object], wanted: ConditionType) -> bool | None:
    """Return what a condition of a written status says; None when it is Unknown or missing."""
    for condition in conditions_of(status):
        if condition.get("type") == wanted.value:
            return {"True": True, "False": False}.get(str(condition.get("status")))
    return None


def status_differs(previous: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Say whether two statuses differ in more than the times of their conditions (guarantee G6).

    A field that is null counts as missing. Moments that are facts, like ``notAfter``, are compared.
    """
    return _comparable(previous) != _comparable(wanted)


def _document(
    condition: Condition, before: Mapping[str, object] | None, *, now: datetime
) -> dict[str, object]:
    status = status_text(condition.status)
    since = None
    if before is not None and before.get("status") == status:
        since = before.get(_TRANSITION)
    return {
        "type": condition.type.value,
        "status": status,
        "reason": condition.reason.value,
        "message": condition.message[:MESSAGE_LENGTH],
        "observedGeneration": condition.observed_generation,
        _TRANSITION: since or format_timestamp(now),
    }


def _comparable(value: object) -> object:
    if isinstance(value, Mapping):
        return {
            key: _comparable(item) for key, item in value.items() if item is not None and key != _TRANSITION
        }
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return value
