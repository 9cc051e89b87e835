"""The rules of one host: which apply, in which order, and which version of each is in force.

A rule that does not compile keeps its last good version (guarantee G2), with the named lists as they were; a rule that
never compiled blocks nothing, and the host says so. Nothing here looks at other hosts.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.meta import Meta
from mtls_operator.api.rule import Match, Rule, RuleAction, parse_rule_spec, rule_spec_document
from mtls_operator.envoy import Action, RuleScript
from mtls_operator.plan.lists import Lists, kind_label, list_kind
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import (
    GENERATED_LIMITS,
    PRODUCT_LIMITS,
    BrokenList,
    Expression,
    Kind,
    Limits,
    LuaCode,
    NamedList,
    RuleError,
    parse,
    read_list,
    simple_form,
    to_lua,
)

#: So many compiled expressions are remembered.
REMEMBERED: Final = 4096
#: Everything that a list's name can be in the text of an expression, and more: also inside of strings.
_LIST_NAME: Final = re.compile(r"\$([a-z0-9_.]+)")


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
class FormerRule:
    """A version of a rule that was in force: of which object, its spec, and the lists that it used."""

    uid: str
    spec: Mapping[str, Any]
    lists: Mapping[str, NamedList]

    @property
    def enabled(self) -> bool:
        """It decides something."""
        return self.spec.get("enabled") is not False


@dataclass(frozen=True, slots=True)
class HostRules:
    """The rules in force on a host in evaluation order, and what became of each object.

    ``lists`` are the named lists by rule and by name, with what they hold for that rule.
    """

    in_force: tuple[Rule, ...]
    scripts: tuple[RuleScript, ...]
    outcomes: tuple[Outcome, ...]
    reads_certificate: bool
    blocks: bool
    never_compiled: tuple[str, ...]
    lists: Mapping[str, Mapping[str, NamedList]]

    def former(self) -> dict[str, FormerRule]:
        """Return what is in force, for the time when it no longer compiles."""
        return {
            rule.meta.name: FormerRule(rule.meta.uid, rule_spec_document(rule), self.lists[rule.meta.name])
            for rule in self.in_force
        }

    def has(self, rule: str, other: HostRules) -> bool:
        """Say whether a rule stands here as it does in others: the same version, and what it was compiled to."""
        return self._of(rule) == other._of(rule)

    def _of(self, rule: str) -> tuple[list[Outcome], list[RuleScript]]:
        outcomes = [outcome for outcome in self.outcomes if outcome.name == rule]
        return outcomes, [script for script in self.scripts if script.name == rule]

    def last_good(self) -> str:
        """Return the document from which a restarted operator can compile the same rules again.

        What a list holds stands there once, whatever number of rules use it.
        """
        rules: dict[str, dict[str, Any]] = {}
        contents: dict[str, dict[str, str]] = {}
        for name, rule in self.former().items():
            rules[name] = {"uid": rule.uid, "spec": rule.spec}
            if rule.lists:
                rules[name]["lists"] = {used: named.digest for used, named in rule.lists.items()}
            for named in rule.lists.values():
                contents[named.digest] = {"type": kind_label(named.kind), "items": named.text}
        document = {"rules": rules, "lists": contents} if contents else {"rules": rules}
        return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


def _anew(
    text: str, limits: Limits, shapes: tuple[tuple[str, Kind | BrokenList], ...] | None
) -> tuple[Expression, LuaCode]:
    expression = parse(text, limits=limits, lists=None if shapes is None else dict(shapes))
    return expression, to_lua(expression)


@lru_cache(maxsize=REMEMBERED)
def _compile(
    text: str, limits: Limits, shapes: tuple[tuple[str, Kind | BrokenList], ...]
) -> tuple[Expression, LuaCode] | RuleError:
    """Return the mistake rather than raise it: what does not compile costs as much, and is looked at as often."""
    try:
        return _anew(text, limits, shapes)
    except RuleError as mistake:
        return mistake.with_traceback(None)


def compile_rule(rule: Rule, lists: Lists) -> tuple[Expression, LuaCode]:
    """Parse and compile the expression of a rule; the same text is compiled once, whatever its lists hold.

    The simple form may expand to more than what users may write.

    Raises:
        RuleError: with position, caret and hint.
    """
    text = effective_text(rule)
    compiled = _compile(text, _limits(rule), _shapes(text, lists))
    if isinstance(compiled, RuleError):
        raise compiled.with_traceback(None)
    return compiled


def try_rule(rule: Rule, lists: Lists | None = None) -> Expression:
    """Compile a rule as ``compile_rule`` does, and keep nothing of it; without ``lists`` every list's name is taken.

    For whoever is asked about rules that may never be stored: what is remembered of those would fill the memory.

    Raises:
        RuleError: with position, caret and hint.
    """
    text = effective_text(rule)
    return _anew(text, _limits(rule), None if lists is None else _shapes(text, lists))[0]


def _limits(rule: Rule) -> Limits:
    return PRODUCT_LIMITS if rule.match is None else GENERATED_LIMITS


def _shapes(text: str, lists: Lists) -> tuple[tuple[str, Kind | BrokenList], ...]:
    """Return what an expression must know of the lists: of those that it names, of all when one is not there."""
    named = set(_LIST_NAME.findall(text))
    if not named <= lists.keys():
        named = set(lists)
    return tuple(
        (name, item if isinstance(item, BrokenList) else item.kind)
        for name, item in sorted(lists.items())
        if name in named
    )


def effective_text(rule: Rule) -> str:
    """Return the expression of a rule: its own, or what its simple form stands for."""
    return (rule.expression or "") if rule.match is None else _expanded(rule.match)


@lru_cache(maxsize=REMEMBERED)
def _expanded(match: Match) -> str:
    return simple_form(
        paths=match.paths,
        path_prefixes=match.path_prefixes,
        hostnames=match.hostnames,
        allow_revoked=match.allow_revoked,
    )


def read_last_good(document: str) -> dict[str, FormerRule]:
    """Return the rules by name from what ``HostRules.last_good`` wrote; nothing where it is damaged."""
    try:
        content = json.loads(document)
        lists = {str(digest): _stored_list(entry) for digest, entry in content.get("lists", {}).items()}
        return {
            str(name): FormerRule(
                uid=str(entry["uid"]),
                spec=dict(entry["spec"]),
                lists={str(used): lists[digest] for used, digest in entry.get("lists", {}).items()},
            )
            for name, entry in content["rules"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _stored_list(entry: Mapping[str, Any]) -> NamedList:
    kind = list_kind(str(entry["type"]))
    if kind is None:
        raise ValueError("no kind of list")
    return read_list(kind, str(entry["items"]))


def rules_for(
    host: str,
    objects: Iterable[Rule | BrokenRule],
    last_good: Mapping[str, FormerRule],
    lists: Lists,
) -> HostRules:
    """Compile the rules that apply to a host, with the named lists of its namespace.

    A rule that does not compile keeps its last good version also where its new one would no longer apply.
    """
    in_force: list[_InForce] = []
    outcomes: list[Outcome] = []
    never_compiled: list[str] = []
    for item in objects:
        elsewhere = bool(item.host_names) and host not in item.host_names
        if elsewhere and item.meta.name not in last_good:
            continue
        version, outcome = _in_force(item, last_good, lists)
        if elsewhere and outcome.standing is not Standing.LAST_GOOD:
            continue
        outcomes.append(outcome)
        if version is not None:
            in_force.append(version)
        elif _would_block(item):
            never_compiled.append(item.meta.name)
    in_force.sort(key=lambda version: version.rule.order)
    enabled = [version for version in in_force if version.rule.enabled]
    return HostRules(
        in_force=tuple(version.rule for version in in_force),
        scripts=tuple(_script(version) for version in enabled),
        outcomes=tuple(sorted(outcomes, key=lambda outcome: outcome.name)),
        reads_certificate=any(version.expression.reads_certificate for version in enabled),
        blocks=any(version.rule.action is RuleAction.BLOCK for version in enabled),
        never_compiled=tuple(sorted(never_compiled)),
        lists={version.rule.meta.name: version.lists for version in in_force},
    )


@dataclass(frozen=True, slots=True)
class _InForce:
    """A version of a rule that compiles, and the lists that it uses."""

    rule: Rule
    expression: Expression
    lua: LuaCode
    lists: Mapping[str, NamedList]


def _compiled(rule: Rule, lists: Lists) -> _InForce:
    expression, lua = compile_rule(rule, lists)
    used = {name: named for name in expression.lists if isinstance(named := lists[name], NamedList)}
    return _InForce(rule, expression, lua, used)


def _in_force(
    item: Rule | BrokenRule, last_good: Mapping[str, FormerRule], lists: Lists
) -> tuple[_InForce | None, Outcome]:
    meta = item.meta
    if isinstance(item, BrokenRule):
        error = item.error
    else:
        try:
            current = _compiled(item, lists)
        except RuleError as mistake:
            error = mistake.display()
        else:
            return current, Outcome(meta.name, meta.uid, meta.generation, Standing.CURRENT, "")
    former = _former(meta, last_good, lists)
    standing = Standing.NONE if former is None else Standing.LAST_GOOD
    return former, Outcome(meta.name, meta.uid, meta.generation, standing, error)


def _former(meta: Meta, last_good: Mapping[str, FormerRule], lists: Lists) -> _InForce | None:
    """Return the last good version: with the lists as they are now where these can be read, else as they were."""
    former = last_good.get(meta.name)
    if former is None or former.uid != meta.uid or not former.spec:
        return None
    readable = {name: named for name, named in lists.items() if isinstance(named, NamedList)}
    for choice in ({**former.lists, **readable}, former.lists):
        with contextlib.suppress(InvalidSpec, RuleError):
            return _compiled(parse_rule_spec(former.spec, meta=meta), choice)
    return None


def _would_block(item: Rule | BrokenRule) -> bool:
    return isinstance(item, BrokenRule) or (item.enabled and item.action is RuleAction.BLOCK)


_ACTIONS: Final[Mapping[RuleAction, Action]] = {
    RuleAction.BLOCK: "block",
    RuleAction.LOG: "log",
    RuleAction.SKIP: "skip",
}


def _script(version: _InForce) -> RuleScript:
    rule = version.rule
    blocks = rule.action is RuleAction.BLOCK
    own = blocks and rule.response.body is not None
    return rule_script(
        rule.meta.name,
        version.lua,
        action=_ACTIONS[rule.action],
        lists=version.lists,
        status=rule.response.status_code if blocks else None,
        content_type=rule.response.content_type if own else None,
        body=rule.response.body if own else None,
    )
