"""MTLSRule: which requests need a valid, unrevoked client certificate, in the simple or in the full form.

Whether an expression compiles is decided by the ``rules`` package, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mtls_operator.api import limits
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import Fields, fields_of
from mtls_operator.api.meta import Meta, parse_meta


class RuleAction(StrEnum):
    """What happens to a request that matches: refuse it, note it, or stop here and let it through."""

    BLOCK = "Block"
    LOG = "Log"
    SKIP = "Skip"


DEFAULT_STATUS_CODE: Final = 403
DEFAULT_CONTENT_TYPE: Final = "application/json"
DEFAULT_PRIORITY: Final = 1000


@dataclass(frozen=True, slots=True)
class Match:
    """The simple form: requests without a good certificate to these places; an empty list is "all"."""

    paths: tuple[str, ...] = ()
    path_prefixes: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    allow_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a refused request; without a body the default one, in the form that the client accepts."""

    status_code: int = DEFAULT_STATUS_CODE
    content_type: str = DEFAULT_CONTENT_TYPE
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """An MTLSRule as its author wants it, defaults applied.

    ``host_names`` empty: every host of the namespace. Exactly one of ``match`` and ``expression`` is set.
    ``response`` means something for Block only. Lower ``priority`` first, then by name.
    """

    meta: Meta
    match: Match | None = None
    expression: str | None = None
    host_names: tuple[str, ...] = ()
    action: RuleAction = RuleAction.BLOCK
    response: Response = Response()
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    status: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def order(self) -> tuple[int, str]:
        """Sort key: rules are evaluated in this order."""
        return self.priority, self.meta.name


def parse_rule(body: Mapping[str, object]) -> Rule:
    """Read an MTLSRule.

    Raises:
        InvalidSpec: a field does not fit or is not known.
    """
    root = fields_of(body, path="")
    return parse_rule_spec(
        root.child("spec").values, meta=parse_meta(body), status=root.child("status").values
    )


def parse_rule_spec(
    document: Mapping[str, object], *, meta: Meta, status: Mapping[str, object] | None = None
) -> Rule:
    """Read the spec of a rule, from an object or as ``rule_spec_document`` wrote it.

    Raises:
        InvalidSpec: a field does not fit or is not known.
    """
    spec = fields_of(document, path="spec")
    spec.only(("hostRefs", "match", "expression", "action", "response", "priority", "enabled"))
    if spec.has("match") == spec.has("expression"):
        raise InvalidSpec("spec", "needs exactly one of match and expression")
    action = spec.choice("action", RuleAction, default=RuleAction.BLOCK)
    if spec.has("response") and action is not RuleAction.BLOCK:
        raise InvalidSpec("spec.response", f"goes with action Block only: {action.value} answers nothing")
    return Rule(
        meta=meta,
        match=_match(spec.child("match")) if spec.has("match") else None,
        expression=_expression(spec),
        host_names=spec.objects("hostRefs", _host_name, maximum=limits.HOST_REFS),
        action=action,
        response=_response(spec.child("response")),
        priority=spec.integer("priority", default=DEFAULT_PRIORITY, minimum=0, maximum=limits.MAX_PRIORITY),
        enabled=spec.flag("enabled", default=True),
        status=status or {},
    )


def rule_spec_document(rule: Rule) -> dict[str, object]:
    """Return the spec of a rule as JSON data that ``parse_rule_spec`` reads back unchanged.

    The operator stores it as the last good version. Every default that decides is written out, so that a later release
    with other defaults still enforces what was in force.
    """
    document: dict[str, object] = {
        "hostRefs": [{"name": name} for name in rule.host_names],
        "action": rule.action.value,
        "priority": rule.priority,
        "enabled": rule.enabled,
    }
    if rule.match is not None:
        document["match"] = {
            "paths": list(rule.match.paths),
            "pathPrefixes": list(rule.match.path_prefixes),
            "hostnames": list(rule.match.hostnames),
            "allowRevoked": rule.match.allow_revoked,
        }
    if rule.expression is not None:
        document["expression"] = rule.expression
    if rule.action is RuleAction.BLOCK:
        document["response"] = {
            "statusCode": rule.response.status_code,
            "contentType": rule.response.content_type,
            **({} if rule.response.body is None else {"body": rule.response.body}),
        }
    return document


def _match(match: Fields) -> Match:
    match.only(("paths", "pathPrefixes", "hostnames", "allowRevoked"))
    return Match(
        paths=match.texts("paths", limits.PATH, maximum=limits.MATCH_ITEMS),
        path_prefixes=match.texts("pathPrefixes", limits.PATH_PREFIX, maximum=limits.MATCH_ITEMS),
        hostnames=match.texts("hostnames", limits.EXACT_HOSTNAME, maximum=limits.MATCH_ITEMS),
        allow_revoked=match.flag("allowRevoked", default=False),
    )


def _expression(spec: Fields) -> str | None:
    text = spec.string("expression")
    if text is not None and not 1 <= len(text) <= limits.EXPRESSION_LENGTH:
        raise InvalidSpec("spec.expression", f"must be 1 to {limits.EXPRESSION_LENGTH} characters long")
    return text


def _host_name(reference: Fields) -> str:
    reference.only(("name",))
    name = reference.text("name", limits.OBJECT_NAME)
    if name is None:
        raise InvalidSpec(reference.at("name"), "is required")
    if len(name) > limits.HOST_NAME_LENGTH:
        raise InvalidSpec(reference.at("name"), f"must be at most {limits.HOST_NAME_LENGTH} characters long")
    return name


def _response(response: Fields) -> Response:
    response.only(("statusCode", "contentType", "body"))
    body = response.string("body")
    if body is not None and len(body.encode()) > limits.BODY_BYTES:
        raise InvalidSpec(response.at("body"), f"must be at most {limits.BODY_BYTES} bytes long")
    content_type = response.text("contentType", limits.CONTENT_TYPE) or DEFAULT_CONTENT_TYPE
    if body is None and content_type != DEFAULT_CONTENT_TYPE:
        raise InvalidSpec(response.at("body"), "is required when contentType is not application/json")
    return Response(
        status_code=response.integer(
            "statusCode", default=DEFAULT_STATUS_CODE, minimum=limits.MIN_STATUS, maximum=limits.MAX_STATUS
        ),
        content_type=content_type,
        body=body,
    )
