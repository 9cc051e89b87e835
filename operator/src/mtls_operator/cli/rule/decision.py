"""What the rules of a host do to a request: the order, the readings of a path and the ends of the rules script.

The same steps as ``envoy/lua/rules.lua``, each with what it rests on. A test sends the same requests through the real
proxy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.rule import Response, Rule, RuleAction
from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.rule.certificate import Worth
from mtls_operator.cli.rule.request import Described
from mtls_operator.plan.hostrules import HostRules, compile_rule
from mtls_operator.rules import Traced, trace

_PATH: Final = "http.request.uri.path"


class Outcome(Enum):
    """What becomes of a request."""

    REFUSED = "refused"
    LET_THROUGH = "let through"
    REDIRECTED = "redirected"
    ANSWERED = "answered by the proxy"


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was evaluated, for one reading of the path."""

    rule: Rule
    reading: str
    traced: Traced

    @property
    def matches(self) -> bool:
        """Whether the rule applies to the request."""
        return self.traced.value is True


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request, and why.

    ``rule`` decided, if any did; ``steps`` were evaluated in this order, ``not_reached`` were not. ``location`` is
    where a redirect leads.
    """

    outcome: Outcome
    status: int
    why: str
    steps: tuple[Step, ...] = ()
    rule: Rule | None = None
    response: Response | None = None
    not_reached: tuple[Rule, ...] = ()
    location: str = ""


def decide(
    described: Described, worth: Worth, in_force: HostRules, hostnames: Sequence[str] | None
) -> Decision:
    """Return what becomes of a request; ``hostnames`` None: any host is ours.

    Raises:
        Unanswered: a rule reads something that is not known.
    """
    early = _before_rules(described, hostnames)
    if early is not None:
        return early
    ordered = _ordered(in_force)
    steps: list[Step] = []
    ended = _evaluate(in_force, described, worth, described.path.path, steps)
    if ended is None or ended.action is not RuleAction.BLOCK:
        for reading in described.path.readings:
            other = _evaluate(in_force, described, worth, reading, steps)
            if other is not None and other.action is RuleAction.BLOCK:
                ended = other
                break
    seen = {step.rule.meta.name for step in steps}
    return _decision(ended, tuple(steps), tuple(rule for rule in ordered if rule.meta.name not in seen))


def _ordered(in_force: HostRules) -> list[Rule]:
    return sorted((rule for rule in in_force.in_force if rule.enabled), key=lambda rule: rule.order)


def _before_rules(described: Described, hostnames: Sequence[str] | None) -> Decision | None:
    path = described.path
    if path.malformed:
        return Decision(Outcome.REFUSED, 400, "the path is malformed: not every reader agrees what it is")
    if path.redirect is not None:
        why = "an escaped slash or backslash: the client is sent to the path that it may mean"
        return Decision(Outcome.REDIRECTED, 307, why, location=path.redirect)
    if described.method != described.method.upper():
        return Decision(Outcome.REFUSED, 400, "the method is malformed: methods are in upper case")
    if path.path == names.READY_PATH:
        return Decision(Outcome.ANSWERED, 200, "this is the path of the readiness probe")
    if described.sni != described.host:
        why = f"the TLS server name {described.sni} is not the host {described.host}"
        return Decision(Outcome.REFUSED, 421, why)
    if hostnames is not None and not is_ours(described.host, hostnames):
        why = f"{described.host} is no hostname of the MTLSHost ({', '.join(hostnames)})"
        return Decision(Outcome.REFUSED, 421, why)
    return None


def is_ours(host: str, hostnames: Sequence[str]) -> bool:
    """Say whether a host is one of a host's names: an exact one, or a wildcard for exactly one label."""
    label, dot, parent = host.partition(".")
    return host in hostnames or (bool(label and dot) and f"*.{parent}" in hostnames)


def _evaluate(
    in_force: HostRules, described: Described, worth: Worth, reading: str, steps: list[Step]
) -> Rule | None:
    """Add a step for each rule until one ends the evaluation, and return that one."""
    request = {**worth.request, **described.fields}
    if reading != described.path.path:
        request[_PATH] = reading
    for rule in _ordered(in_force):
        lists = in_force.lists.get(rule.meta.name, {})
        expression, _ = compile_rule(rule, lists)
        _require_known(rule, expression.fields & (worth.unknown - described.fields.keys()), worth)
        step = Step(rule, reading, trace(expression, request, lists))
        steps.append(step)
        if step.matches and rule.action is not RuleAction.LOG:
            return rule
    return None


def _require_known(rule: Rule, unknown: frozenset[str], worth: Worth) -> None:
    if unknown:
        name = min(unknown)
        raise Unanswered(
            f"rule {rule.meta.name} reads {name}, which is not known of the certificate ({worth.title}): "
            f"give the certificate itself with --cert FILE, or say it with --field {name}=VALUE"
        )


def _decision(ended: Rule | None, steps: tuple[Step, ...], rest: tuple[Rule, ...]) -> Decision:
    if ended is None:
        why = "no rule that blocks or skips matches" if steps or rest else "there is no rule"
        return Decision(Outcome.LET_THROUGH, 200, why, steps, not_reached=rest)
    if ended.action is RuleAction.BLOCK:
        why = f"rule {ended.meta.name} matches, and blocks"
        return Decision(Outcome.REFUSED, ended.response.status_code, why, steps, ended, ended.response, rest)
    why = f"rule {ended.meta.name} matches, and skips the rules behind it"
    return Decision(Outcome.LET_THROUGH, 200, why, steps, ended, not_reached=rest)


def full_request(described: Described, worth: Worth) -> Mapping[str, object]:
    """Return every field that was given or follows from the certificate."""
    return {**worth.request, **described.fields}
