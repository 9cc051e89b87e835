"""Reconciles the status of one MTLSRule, from what became of it on each host."""

from __future__ import annotations

from dataclasses import dataclass

from mtls_operator.api import names
from mtls_operator.api.conditions import condition_status, conditions_of, status_differs
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.rule import Rule
from mtls_operator.cluster import Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.host import HostReconciler
from mtls_operator.controller.host_state import HostState
from mtls_operator.controller.observed import Broken
from mtls_operator.plan.hostrules import BrokenRule, Standing
from mtls_operator.plan.rule import OnHost, RuleView, status_of


def _decides_nowhere(rule: Rule | BrokenRule, state: HostState) -> bool:
    """Say whether a rule is disabled, and no proxy runs that could still follow an earlier version."""
    no_pods = state.rollout is not None and state.rollout.reason is Reason.NO_PODS
    return no_pods and isinstance(rule, Rule) and not rule.enabled


def _message(state: HostState | None, host: Host | Broken) -> str:
    if isinstance(host, Broken):
        return f"MTLSHost {host.meta.name} cannot be read: see its conditions."
    if state is None or state.rollout is None:
        return "The host has not been looked at yet."
    if state.programmed is None and state.rollout.reason is None and not state.rules_deployed:
        return "Waiting for its proxies to acknowledge the present rules."
    return state.programmed.message if state.programmed is not None else state.rollout.message


@dataclass(slots=True)
class RuleReconciler:
    """The one writer of a rule's status."""

    context: Context
    hosts: HostReconciler

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring the status of a rule up to date; return in how many seconds to look again."""
        world = self.context.world
        rule = world.rules.get(namespace, name)
        if rule is None or rule.meta.deleting:
            return None
        await self.hosts.compiling.compile(rule, world.lists_of(namespace))
        previous = world.rule_statuses.get((namespace, name), {})
        existing = world.hosts.of(namespace)
        if condition_status(previous, ConditionType.DEPLOYED) is True and any(
            self.hosts.joining(namespace, host)
            for host in existing
            if not rule.host_names or host in rule.host_names
        ):
            return 1.0
        missing = [host for host in rule.host_names if host not in existing]
        view = RuleView(
            rule=rule,
            previous=previous,
            hosts=self._on_hosts(rule),
            missing=missing,
            lists=world.lists_of(namespace),
            now=self.context.now(),
        )
        status = status_of(view)
        if not status_differs(previous, status):
            return None
        body = {"metadata": {"namespace": namespace, "name": name}, "status": status}
        await self.context.patch_status(Kind.RULE, body, previous)
        self._announce(rule, previous, status)
        return None

    def _on_hosts(self, rule: Rule | BrokenRule) -> list[OnHost]:
        found = []
        for host, seen_host in self.context.world.hosts.of(rule.meta.namespace).items():
            state = self.hosts.states.get((rule.meta.namespace, host))
            outcomes = state.rules.outcomes if state is not None and state.rules is not None else ()
            outcome = next((seen for seen in outcomes if seen.name == rule.meta.name), None)
            same = (
                outcome is not None
                and outcome.uid == rule.meta.uid
                and outcome.generation == rule.meta.generation
            )
            standing = outcome.standing if outcome is not None else Standing.NONE
            stays = same and standing is Standing.LAST_GOOD  # broken in the edit that moved it
            if rule.host_names and host not in rule.host_names and not stays:
                if state is not None and state.follows(rule.meta):
                    left = OnHost(host, Standing.NONE, 0, False, _message(state, seen_host), leaving=True)
                    found.append(left)
                continue
            deployed = (
                state is not None
                and not isinstance(seen_host, Broken)
                and same
                and standing is not Standing.NONE
                and state.has_written(rule.meta.name)
                and (state.rules_deployed or _decides_nowhere(rule, state))
            )
            found.append(OnHost(host, standing, rule.meta.generation, deployed, _message(state, seen_host)))
        return found

    def _announce(self, rule: Rule | BrokenRule, before: object, after: dict[str, object]) -> None:
        """Post an Event when a rule stops or starts to be acceptable."""
        was = condition_status(before, ConditionType.ACCEPTED) if isinstance(before, dict) else None
        accepted = condition_status(after, ConditionType.ACCEPTED)
        if accepted == was or (was is None and accepted):
            return
        message = next(
            str(condition["message"])
            for condition in conditions_of(after)
            if condition["type"] == ConditionType.ACCEPTED.value
        )
        self.context.recorder.record(
            names.RULE_KIND,
            rule.meta,
            reason="Accepted" if accepted else "InvalidExpression",
            message=message,
            warning=not accepted,
        )
