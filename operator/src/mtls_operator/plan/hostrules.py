"""The rules of one host: which apply, in which order, and which version of each is in force.

A rule that does not compile keeps its last good version (guarantee G2); a rule that never compiled blocks nothing,
and the host says so. Nothing here looks at other hosts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.meta import Meta
from mtls_operator.api.rule import Rule, RuleAction, parse_rule_spec, rule_spec_document
from mtls_operator.envoy import RuleScript
from mtls_operator.rules import (
    GENERATED_LIMITS,
    PRODUCT_LIMITS,
    Expression,
    Limits,
    LuaCode,
    RuleError,
    parse,
    simple_form,
    to_lua,
)


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """An MTLSRule that could not even be read."""

    meta: Meta
    host_names: tuple[str, ...]
    error: str


class Standing(Enum):
    """Which version of a rule is in force on a host."""

    CURRENT = "current"
    LAST_GOOD = "last good"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rule on one host; ``generation`` is that of the object that was looked at."""

    name: str
    uid: str
    generation: int
    standing: Standing
    error: str


@dataclass(frozen=True, slots=True)
class HostRules:
    """The rules in force on a host in evaluation order, and what became of each object."""

    in_force: tuple[Rule, ...]
    scripts: tuple[RuleScript, ...]
    outcomes: tuple[Outcome, ...]
    reads_certificate: bool
    blocks: bool
    never_compiled: tuple[str, ...]

    def last_good(self) -> str:
        """Return the document from which a restarted operator can compile the same rules again."""
        rules = {
            rule.meta.name: {"uid": rule.meta.uid, "spec": rule_spec_document(rule)} for rule in self.in_force
        }
        return json.dumps({"rules": rules}, sort_keys=True, separators=(",", ":")) + "\n"


def _anew(text: str, limits: Limits) -> tuple[Expression, LuaCode]:
    expression = parse(text, limits=limits)
    return expression, to_lua(expression)


@lru_cache(maxsize=4096)
def _compile(text: str, limits: Limits) -> tuple[Expression, LuaCode] | RuleError:
    """Return the mistake rather than raise it: what does not compile costs as much, and is looked at as often."""
    try:
        return _anew(text, limits)
    except RuleError as mistake:
        return mistake.with_traceback(None)


def compile_rule(rule: Rule) -> tuple[Expression, LuaCode]:
    """Parse and compile the expression of a rule; the same text is compiled once.

    The simple form may expand to more than what users may write.

    Raises:
        RuleError: with position, caret and hint.
    """
    compiled = _compile(effective_text(rule), _limits(rule))
    if isinstance(compiled, RuleError):
        raise compiled.with_traceback(None)
    return compiled


def try_rule(rule: Rule) -> Expression:
    """Compile a rule as ``compile_rule`` does, and keep nothing of it.

    For whoever is asked about rules that may never be stored: what is remembered of those would fill the memory.

    Raises:
        RuleError: with position, caret and hint.
    """
    return _anew(effective_text(rule), _limits(rule))[0]


def _limits(rule: Rule) -> Limits:
    return PRODUCT_LIMITS if rule.match is None else GENERATED_LIMITS


def effective_text(rule: Rule) -> str:
    """Return the expression of a rule: its own, or what its simple form stands for."""
    if rule.match is None:
        return rule.expression or ""
    return simple_form(
        paths=rule.match.paths,
        path_prefixes=rule.match.path_prefixes,
        hostnames=rule.match.hostnames,
        allow_revoked=rule.match.allow_revoked,
    )


def read_last_good(document: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return UID and spec by rule name from what ``HostRules.last_good`` wrote; nothing where it is damaged."""
    try:
        rules = json.loads(document)["rules"]
        return {str(name): (str(entry["uid"]), dict(entry["spec"])) for name, entry in rules.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def rules_for(
    host: str, objects: Iterable[Rule | BrokenRule], last_good: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> HostRules:
    """Compile the rules that apply to a host."""
    in_force: list[Rule] = []
    outcomes: list[Outcome] = []
    never_compiled: list[str] = []
    for item in objects:
        if item.host_names and host not in item.host_names:
            continue
        rule, outcome = _in_force(item, last_good)
        outcomes.append(outcome)
        if rule is not None:
            in_force.append(rule)
        elif _would_block(item):
            never_compiled.append(item.meta.name)
    in_force.sort(key=lambda rule: rule.order)
    enabled = [rule for rule in in_force if rule.enabled]
    compiled = [(rule, *compile_rule(rule)) for rule in enabled]
    return HostRules(
        in_force=tuple(in_force),
        scripts=tuple(_script(rule, lua) for rule, _, lua in compiled),
        outcomes=tuple(sorted(outcomes, key=lambda outcome: outcome.name)),
        reads_certificate=any(expression.reads_certificate for _, expression, _ in compiled),
        blocks=any(rule.action is RuleAction.BLOCK for rule in enabled),
        never_compiled=tuple(sorted(never_compiled)),
    )


def _in_force(
    item: Rule | BrokenRule, last_good: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> tuple[Rule | None, Outcome]:
    meta = item.meta
    if isinstance(item, BrokenRule):
        error = item.error
    else:
        try:
            compile_rule(item)
        except RuleError as mistake:
            error = mistake.display()
        else:
            return item, Outcome(meta.name, meta.uid, meta.generation, Standing.CURRENT, "")
    rule = _former(meta, last_good)
    standing = Standing.NONE if rule is None else Standing.LAST_GOOD
    return rule, Outcome(meta.name, meta.uid, meta.generation, standing, error)


def _former(meta: Meta, last_good: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Rule | None:
    uid, spec = last_good.get(meta.name, ("", {}))
    if uid != meta.uid or not spec:
        return None
    try:
        rule = parse_rule_spec(spec, meta=meta)
        compile_rule(rule)
    except (InvalidSpec, RuleError):
        return None
    return rule


def _would_block(item: Rule | BrokenRule) -> bool:
    return isinstance(item, BrokenRule) or (item.enabled and item.action is RuleAction.BLOCK)


_ACTIONS: Final[Mapping[RuleAction, Literal["block", "log", "skip"]]] = {
    RuleAction.BLOCK: "block",
    RuleAction.LOG: "log",
    RuleAction.SKIP: "skip",
}


def _script(rule: Rule, lua: LuaCode) -> RuleScript:
    blocks = rule.action is RuleAction.BLOCK
    own = blocks and rule.response.body is not None
    return RuleScript(
        name=rule.meta.name,
        action=_ACTIONS[rule.action],
        constants=lua.constants,
        expression=lua.expression,
        status=rule.response.status_code if blocks else None,
        content_type=rule.response.content_type if own else None,
        body=rule.response.body if own else None,
        paths=None if lua.guard.paths is None else tuple(sorted(lua.guard.paths)),
        prefixes=tuple(sorted(lua.guard.prefixes)),
        spares_good=lua.guard.spares_good,
    )
