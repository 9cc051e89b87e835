"""The status of one MTLSRule: what it means, and on which hosts it is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mtls_operator.api.conditions import Condition, conditions_of, merge_conditions, ready
from mtls_operator.api.meta import Meta
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.rule import Rule
from mtls_operator.plan.hostrules import BrokenRule, Standing, compile_rule
from mtls_operator.plan.lists import Lists
from mtls_operator.rules import RuleError

#: The schema takes 65 536 characters; the longest simple form expands to more.
_PREVIEW = 65_000


@dataclass(frozen=True, slots=True)
class OnHost:
    """A rule on one host that exists: which version is in force there, and whether every proxy has it.

    ``leaving``: it does not apply to the host any more, but proxies there may still follow it.
    """

    host: str
    standing: Standing
    generation: int
    deployed: bool
    message: str
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class RuleView:
    """Everything that a rule's status rests on; ``missing`` are hosts that it names and that do not exist.

    ``lists`` are the named lists of its namespace.
    """

    rule: Rule | BrokenRule
    previous: Mapping[str, Any]
    hosts: Sequence[OnHost]
    missing: Sequence[str]
    lists: Lists
    now: datetime


def status_of(view: RuleView) -> dict[str, Any]:
    """Return the whole status of a rule."""
    meta = view.rule.meta
    left = sorted((on for on in view.hosts if on.leaving), key=lambda on: on.host)
    view = replace(view, hosts=[on for on in view.hosts if not on.leaving])
    accepted, preview, warnings = _accepted(view)
    deployed = _deployed(view, meta, compiles=accepted.status is True)
    if left and not view.missing:
        deployed = _still_elsewhere(meta, left)
    conditions = [accepted, deployed]
    conditions.append(
        ready(conditions, [ConditionType.ACCEPTED, ConditionType.DEPLOYED], message=deployed.message)
    )
    hosts = sorted(view.hosts, key=lambda on: on.host)
    status: dict[str, Any] = {
        "warnings": warnings,
        "hosts": [{"name": on.host, "deployed": on.deployed} for on in hosts],
        "hostSummary": f"{sum(on.deployed for on in hosts)}/{len(hosts)}",
        "conditions": merge_conditions(conditions_of(view.previous), conditions, now=view.now),
    }
    if preview:
        status["expression"] = preview if len(preview) <= _PREVIEW else f"{preview[:_PREVIEW]} ..."
    return status


def _accepted(view: RuleView) -> tuple[Condition, str, list[str]]:
    meta = view.rule.meta
    if isinstance(view.rule, BrokenRule):
        return _refused(meta, Reason.INVALID_SPEC, view.rule.error, view.hosts), "", []
    try:
        expression, _ = compile_rule(view.rule, view.lists)
    except RuleError as error:
        return _refused(meta, Reason.INVALID_EXPRESSION, error.display(), view.hosts), "", []
    condition = Condition(
        ConditionType.ACCEPTED, True, Reason.ACCEPTED, "The expression compiles.", meta.generation
    )
    return condition, expression.preview, [warning.message for warning in expression.warnings]


def _refused(meta: Meta, reason: Reason, error: str, hosts: Sequence[OnHost]) -> Condition:
    former = any(on.standing is not Standing.NONE for on in hosts)
    consequence = (
        "The last good version stays in force." if former else "It has never compiled and blocks nothing."
    )
    return Condition(ConditionType.ACCEPTED, False, reason, f"{error}\n{consequence}", meta.generation)


def _still_elsewhere(meta: Meta, left: Sequence[OnHost]) -> Condition:
    """Return what a rule says that proxies of a host may still follow although it has left that host."""
    named = ", ".join(on.host for on in left)
    message = f"Perhaps still in force on {named}, to which it applies no more: {left[0].message}"
    return Condition(ConditionType.DEPLOYED, False, Reason.HOST_NOT_READY, message, meta.generation)


def _deployed(view: RuleView, meta: Meta, *, compiles: bool) -> Condition:
    def condition(reason: Reason, message: str, *, status: bool) -> Condition:
        return Condition(ConditionType.DEPLOYED, status, reason, message, meta.generation)

    if view.missing:
        named = ", ".join(sorted(view.missing))
        return condition(
            Reason.HOST_NOT_FOUND,
            f"There is no MTLSHost {named} in this namespace: create it, or mend spec.hostRefs.",
            status=False,
        )
    if not view.hosts:
        return condition(Reason.NO_HOSTS, "The namespace has no MTLSHost yet: create one.", status=False)
    late = sorted(on.host for on in view.hosts if not on.deployed)
    stale = any(on.standing is not Standing.CURRENT for on in view.hosts)
    never = not compiles and all(on.standing is Standing.NONE for on in view.hosts)
    disabled = isinstance(view.rule, Rule) and not view.rule.enabled
    if disabled and (never or not (late or stale)):
        return condition(Reason.DISABLED, "The rule is disabled and decides nothing.", status=True)
    if never:
        return condition(
            Reason.RULE_NEVER_COMPILED,
            "No version of it has ever compiled, so none is in force: see condition Accepted.",
            status=False,
        )
    if late:
        first = next(on for on in view.hosts if on.host == late[0])
        what = "Not yet disabled" if disabled else "Not in force"
        return condition(Reason.HOST_NOT_READY, f"{what} on {', '.join(late)}: {first.message}", status=False)
    if stale:
        return condition(
            Reason.LAST_GOOD_IN_FORCE,
            "The last good version is in force, not this one: see condition Accepted.",
            status=False,
        )
    return condition(
        Reason.DEPLOYED,
        f"In force on every proxy of host {', '.join(sorted(on.host for on in view.hosts))}.",
        status=True,
    )
