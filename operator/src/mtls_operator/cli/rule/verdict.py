"""Whether a rule is accepted, and what is known about it: as the operator and the admission check see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.cli.manifests import Manifest
from mtls_operator.plan.hostrules import try_rule
from mtls_operator.rules import (
    PRODUCT_LIMITS,
    Code,
    Expression,
    Limits,
    RuleError,
    Span,
    parse,
    to_lua,
)
from mtls_operator.rules.tree import Comparison, Field, Regex, result_type, walk

#: What an object without a namespace is created in, unless ``-n`` says otherwise.
DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An expression that the operator enforces; ``source`` is the text that spans of warnings refer to."""

    source: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not: the message in the form that the status shows, and the error of the language if it is one."""

    message: str
    error: RuleError | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one rule; ``rule`` is None for a bare expression and for an object that cannot be read."""

    title: str
    file: str
    outcome: Accepted | Refused
    rule: Rule | None = None


def judge_text(text: str, *, file: str = "") -> Verdict:
    """Return the verdict on a bare expression."""
    return Verdict("the expression", file, _judge(text))


def judge_object(manifest: Manifest, *, namespace: str = DEFAULT_NAMESPACE) -> Verdict:
    """Return the verdict on an MTLSRule."""
    title = f"{names.RULE_KIND} {_named(manifest)}"
    version = manifest.body.get("apiVersion")
    if version != names.API_VERSION:
        message = f"apiVersion: must be {names.API_VERSION}, not {version}"
        return Verdict(title, manifest.file, Refused(message))
    try:
        rule = parse_rule(with_namespace(manifest.body, namespace))
    except InvalidSpec as error:
        return Verdict(title, manifest.file, Refused(str(error)))
    try:
        expression = try_rule(rule)
    except RuleError as error:
        return Verdict(title, manifest.file, Refused(error.display(), error), rule)
    return Verdict(title, manifest.file, Accepted(expression.text, expression), rule)


def with_namespace(body: Any, namespace: str) -> dict[str, Any]:
    """Return an object that stands in a namespace: its own, or this one."""
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("namespace"):
        return {**body, "metadata": {**metadata, "namespace": namespace}}
    return dict(body)


def types(expression: Expression) -> dict[str, str]:
    """Return the type of each field that an expression reads, by name."""
    found = {node.name: str(node.type) for node in walk(expression.tree) if isinstance(node, Field)}
    return dict(sorted(found.items()))


def result(expression: Expression) -> str:
    """Return the type of the whole."""
    return str(result_type(expression.tree))


def placed(message: str, span: Span, source: str) -> RuleError:
    """Return a remark about a piece of an expression in the form of an error, which knows how to show its place."""
    return RuleError(Code.IMPOSSIBLE, message, span=span, source=source)


def usage(text: str, expression: Expression) -> dict[str, tuple[int, int]]:
    """Return how much of each limit an expression uses: name to (used, limit)."""
    regexes = sum(
        isinstance(node, Comparison) and isinstance(node.operand, Regex) for node in walk(expression.tree)
    )
    return {
        "characters": (len(text), PRODUCT_LIMITS.characters),
        "levels of nesting": (_levels(text), PRODUCT_LIMITS.nesting),
        "regular expressions": (regexes, PRODUCT_LIMITS.regexes),
    }


def _levels(text: str) -> int:
    """Return the levels of an accepted expression: the smallest limit under which it is still accepted."""
    low, high = 0, min(PRODUCT_LIMITS.nesting, text.count("(") + text.count("not") + text.count("!"))
    while low < high:
        middle = (low + high) // 2
        try:
            parse(text, limits=Limits(PRODUCT_LIMITS.characters, middle, PRODUCT_LIMITS.regexes), lists=None)
        except RuleError:
            low = middle + 1
        else:
            high = middle
    return low


def _judge(text: str) -> Accepted | Refused:
    try:
        expression = parse(text, lists=None)
        to_lua(expression)
    except RuleError as error:
        return Refused(error.display(), error)
    return Accepted(text, expression)


def _named(manifest: Manifest) -> str:
    metadata = manifest.body.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    name = str(known.get("name") or "without a name")
    return f"{known['namespace']}/{name}" if known.get("namespace") else name
