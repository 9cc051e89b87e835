"""What the status of an MTLSHost says: of its spec, of what that names, of what is in force on its proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mtls_operator.api.conditions import (
    Condition,
    MakeCondition,
    conditions_for,
    conditions_of,
    merge_conditions,
    ready,
)
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.rule import Rule
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.plan.host import Configuration
from mtls_operator.plan.hostrules import HostRules
from mtls_operator.plan.rollout import Rollout
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import Trust

#: What the schema lets ``status.rules`` hold; ``status.ruleCount`` counts all.
SHOWN_RULES = 1000
#: And ``status.clientCAs``.
SHOWN_CAS = 192
#: What it lets the texts of ``status.clientCAs`` be: whoever made the CA chose them.
SHOWN_SUBJECT = 2048
SHOWN_SKI = 128
#: Of the troubles of a host, the beginning says what to do first.
SHOWN_MESSAGE = 16_000


@dataclass(frozen=True, slots=True)
class HostView:
    """Everything that a host's status rests on.

    ``expiring`` says which certificate of the user's own ends soon, ``filling`` that the namespace's list fills up,
    ``notice`` what is to be done about the managed CA. ``holds_up`` is why the rotation of the CA waits for this host;
    empty: it has confirmed; None: nothing waits. ``notes`` are worth knowing about the CAs of the user's own.
    """

    host: Host
    conflict: str
    trusts: tuple[Trust, ...]
    troubles: tuple[Trouble, ...]
    configuration: Configuration | None
    programmed: Trouble | None
    rules: HostRules
    rollout: Rollout
    revocation_epoch: int
    recovered: int
    now: datetime
    damaged: tuple[str, ...] = ()
    paged: bool = False
    left_out: tuple[str, ...] = ()
    expiring: str = ""
    filling: str = ""
    holds_up: str | None = None
    notes: tuple[str, ...] = ()
    notice: Trouble | None = None
    #: Whether rules have changed since the configuration was written, and could not be taken up.
    outdated: bool = False


def status_of(view: HostView) -> dict[str, Any]:
    """Return the whole status of a host."""
    host, rollout = view.host, view.rollout
    status: dict[str, Any] = {
        "proxies": {
            "pods": rollout.pods,
            "injected": rollout.injected,
            "connected": rollout.connected,
            "current": rollout.current,
            "summary": f"{rollout.current}/{rollout.pods}",
        },
        "epoch": {
            "rules": view.configuration.epoch if view.configuration is not None else 0,
            "revocation": view.revocation_epoch,
        },
        "clientCAs": _client_cas(view.trusts),
        "rules": [
            {"name": rule.meta.name, "action": rule.action.value, "priority": rule.priority}
            for rule in _enabled(view.rules)[:SHOWN_RULES]
        ],
        "ruleCount": len(_enabled(view.rules)),
    }
    if view.programmed is not None and view.configuration is None:
        status |= _as_before(host.status, status)
    conditions = _conditions(view)
    status["conditions"] = merge_conditions(conditions_of(host.status), conditions, now=view.now)
    return status


def _as_before(before: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was in force before a restart, after which nothing could be written: proxies go on with that."""
    epoch = before.get("epoch")
    rules = epoch.get("rules", 0) if isinstance(epoch, Mapping) else 0
    return {
        "epoch": {**status["epoch"], "rules": rules},
        "clientCAs": before.get("clientCAs", []),
        "rules": before.get("rules", []),
        "ruleCount": before.get("ruleCount", 0),
    }


def _enabled(rules: HostRules) -> list[Rule]:
    return [rule for rule in rules.in_force if rule.enabled]


def _client_cas(trusts: Sequence[Trust]) -> list[dict[str, str]]:
    return [
        {
            "subject": trust.subject[:SHOWN_SUBJECT],
            "ski": trust.ski[:SHOWN_SKI],
            "notAfter": format_timestamp(trust.not_after),
            "source": trust.source,
            "phase": trust.phase,
        }
        for trust in trusts[:SHOWN_CAS]
    ]


def _conditions(view: HostView) -> list[Condition]:
    condition = conditions_for(view.host.meta.generation)
    accepted = (
        condition(ConditionType.ACCEPTED, Reason.HOSTNAME_CONFLICT, view.conflict, status=False)
        if view.conflict
        else condition(ConditionType.ACCEPTED, Reason.ACCEPTED, "The spec is valid.", status=True)
    )
    resolved = _resolved(view, condition)
    programmed = (
        condition(ConditionType.PROGRAMMED, view.programmed.reason, view.programmed.message, status=False)
        if view.programmed is not None
        else condition(
            ConditionType.PROGRAMMED, Reason.PROGRAMMED, "The configuration is written.", status=True
        )
    )
    rollout = view.rollout
    deployed = condition(
        ConditionType.DEPLOYED,
        rollout.reason or Reason.DEPLOYED,
        rollout.message,
        status=rollout.reason is None,
    )
    enforced = _enforced(view, condition)
    needed = [
        ConditionType.ACCEPTED,
        ConditionType.RESOLVED_REFS,
        ConditionType.PROGRAMMED,
        ConditionType.DEPLOYED,
    ]
    if view.rules.never_compiled:
        needed.append(ConditionType.ENFORCED)
    conditions = [accepted, resolved, programmed, deployed, enforced]
    if view.holds_up is not None:
        conditions.append(confirmed_condition(condition, view.holds_up))
    return [*conditions, ready(conditions, needed, message="In force on every proxy.")]


def confirmed_condition(condition: MakeCondition, holds_up: str) -> Condition:
    """Return whether the rotation of the namespace's CA waits for a host, and why; only while one is under way."""
    message = (
        f"The rotation of the namespace's CA waits for this host: {holds_up}"
        if holds_up
        else "Every proxy of this host trusts the new CA."
    )
    return condition(ConditionType.CA_CONFIRMED, Reason.CA_ROTATION, message, status=not holds_up)


def _resolved(view: HostView, condition: MakeCondition) -> Condition:
    kind = ConditionType.RESOLVED_REFS
    if view.troubles:
        first = view.troubles[0]
        return condition(
            kind,
            first.reason,
            _shortened(" ".join(trouble.message for trouble in view.troubles)),
            status=False,
        )
    found = " ".join(["Everything that the spec names was found.", *view.notes])
    reason, message = next(_remarks(view), (Reason.RESOLVED, _shortened(found)))
    return condition(kind, reason, message, status=True)


def _remarks(view: HostView) -> Iterator[tuple[Reason, str]]:
    """Return what somebody should look at although everything is found, the gravest first."""
    if view.damaged:
        message = (
            f"The ledger has lines that cannot be read ({', '.join(view.damaged[:3])}): what they revoked stays "
            "revoked; restore the page from a backup, or remove the lines."
        )
        yield Reason.LEDGER_UNREADABLE, message
    if view.recovered:
        message = (
            f"{view.recovered} revocations were missing from the ledger and were recovered from the published "
            f"list: check the backups of the operator's namespace."
        )
        yield Reason.LEDGER_ROLLBACK, message
    if view.notice is not None:
        yield view.notice.reason, _shortened(view.notice.message)
    if view.left_out:
        message = (
            f"The list of revocations is too large for {' and '.join(view.left_out)}, even in pages: other gateways "
            "and people do not see the present one. The proxies have all of it. Use several namespaces."
        )
        yield Reason.LIST_TOO_LARGE, message
    if view.filling:
        yield Reason.LIST_NEARLY_FULL, view.filling
    if view.paged:
        message = (
            "The readable list of revocations does not fit into mtls-revocation: pages.json there names the ConfigMaps "
            "with its parts. The proxies have all of it."
        )
        yield Reason.LIST_IN_PAGES, message
    if view.expiring:
        yield Reason.SERVING_CERTIFICATE_EXPIRING, view.expiring


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_MESSAGE else f"{text[:SHOWN_MESSAGE]}…"


def _enforced(view: HostView, condition: MakeCondition) -> Condition:
    kind = ConditionType.ENFORCED
    if view.rules.never_compiled:
        named = ", ".join(view.rules.never_compiled)
        message = f"Rule {named} has never compiled and blocks nothing: mend or delete it."
        return condition(kind, Reason.RULE_NEVER_COMPILED, message, status=False)
    if not view.rules.blocks:
        message = "No enabled Block rule applies: everybody gets in. Create an MTLSRule."
        return condition(kind, Reason.NO_RULES, message, status=False)
    if view.configuration is None or view.rollout.reason is not None:
        message = f"Rules are set but not in force on every proxy: {view.rollout.message}"
        reason = view.rollout.reason or Reason.PENDING
        return condition(kind, reason, message, status=False)
    if view.outdated:
        message = "Rules have changed, and that could not be written: see condition Programmed."
        return condition(kind, Reason.PENDING, message, status=False)
    count = len(_enabled(view.rules))
    return condition(kind, Reason.ENFORCED, f"Rules in force: {count}.", status=True)
