"""What certificates may be issued in a namespace: read from an annotation of the Namespace, and compared.

It stands on the Namespace because whoever may create objects in a namespace, with the role ``edit`` for one, may write
its ConfigMaps but not the Namespace itself: such a person must not be able to change the rule by which he is judged.
A policy that cannot be read allows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import yaml

from mtls_operator.api.duration import InvalidDuration, format_duration, parse_duration
from mtls_operator.api.names import GROUP
from mtls_operator.pki import Subject, SubjectAltNames
from mtls_operator.plan.patterns import KINDS, PatternError

#: On a Namespace: the policy, in YAML.
POLICY_ANNOTATION: Final = f"{GROUP}/issuance-policy"
_MAX_BYTES: Final = 32 * 1024
_MAX_PATTERNS: Final = 256

#: Fields that list allowed names, and their kind.
_NAMES: Final = MappingProxyType(
    {
        "commonNames": "name",
        "organizations": "name",
        "organizationalUnits": "name",
        "countries": "name",
        "localities": "name",
        "provinces": "name",
        "dnsNames": "dns",
        "uris": "uri",
        "emailDomains": "dns",
        "ipNetworks": "network",
    }
)
_ALGORITHMS: Final = (
    *("ECDSA", "ECDSA-256", "ECDSA-384"),
    *("RSA", "RSA-2048", "RSA-3072", "RSA-4096"),
)
_OTHERS: Final = ("maxValidity", "algorithms", "requestsOnly")


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed. Names of a kind that ``allowed`` does not list are not allowed at all.

    ``None`` in the other fields is no limit. ``broken`` says where a policy cannot be read: it then allows nothing.
    """

    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_validity: timedelta | None = None
    algorithms: tuple[str, ...] | None = None
    requests_only: bool = False
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be issued; the names are those of the certificate, from the object or from its request.

    ``key`` is its kind in words: ``ECDSA-256``. ``from_request`` is whether its key stays with its owner.
    """

    subject: Subject
    sans: SubjectAltNames
    validity: timedelta
    key: str
    from_request: bool = False


class _BrokenError(Exception):
    """A policy cannot be read; the message says where."""


def read_policy(text: str | None) -> Policy | None:
    """Return the policy of a namespace; None where it has none, and everything may be issued.

    Never raises: of a text that cannot be read, of an unknown field, an unknown value or a field that stands there
    twice, `Policy.broken` tells the line.
    """
    if text is None:
        return None
    try:
        return _read(text)
    except _BrokenError as error:
        return Policy(broken=str(error))


def violations(policy: Policy | None, wanted: Wanted) -> list[str]:
    """Return every way in which what is wanted is not allowed, as sentences with field, value and rule."""
    if policy is None:
        return []
    if policy.broken:
        return [
            f"The issuance policy of the namespace cannot be read, so nothing is issued: {policy.broken}."
        ]
    return [*_names(policy, wanted), *_others(policy, wanted)]


def _names(policy: Policy, wanted: Wanted) -> Iterator[str]:
    for path, rule, value in _stated(wanted):
        allowed = policy.allowed.get(rule)
        judged = value.rpartition("@")[2] if rule == "emailDomains" else value
        _, matches = KINDS[_NAMES[rule]]
        if allowed is None:
            yield f"{path} {value!a} is not allowed: the issuance policy of the namespace has no {rule}."
        elif not any(matches(pattern, judged) for pattern in allowed):
            rules = ", ".join(allowed) or "none"
            yield f"{path} {value!a} is not allowed: {rule} of the namespace's issuance policy are {rules}."


def _stated(wanted: Wanted) -> Iterator[tuple[str, str, str]]:
    """Return path, field of the policy and value of every name in a certificate."""
    subject, sans = wanted.subject, wanted.sans
    if subject.common_name:
        yield "subject.commonName", "commonNames", subject.common_name
    lists = (
        ("subject.organizations", "organizations", subject.organizations),
        ("subject.organizationalUnits", "organizationalUnits", subject.organizational_units),
        ("subject.countries", "countries", subject.countries),
        ("subject.localities", "localities", subject.localities),
        ("subject.provinces", "provinces", subject.provinces),
        ("dnsNames", "dnsNames", sans.dns_names),
        ("uris", "uris", sans.uris),
        ("emails", "emailDomains", sans.emails),
        ("ipAddresses", "ipNetworks", sans.ip_addresses),
    )
    for path, rule, values in lists:
        for index, value in enumerate(values):
            yield f"{path}[{index}]", rule, value


def _others(policy: Policy, wanted: Wanted) -> Iterator[str]:
    if policy.max_validity is not None and wanted.validity > policy.max_validity:
        yield (
            f"validity {format_duration(wanted.validity)} is not allowed: maxValidity of the namespace's issuance "
            f"policy is {format_duration(policy.max_validity)}."
        )
    kinds = {wanted.key, wanted.key.partition("-")[0]}
    if policy.algorithms is not None and not kinds & set(policy.algorithms):
        rules = ", ".join(policy.algorithms) or "none"
        yield (
            f"a key of the kind {wanted.key} is not allowed: algorithms of the namespace's issuance policy are {rules}."
        )
    if policy.requests_only and not wanted.from_request:
        yield (
            "a certificate with a key that the operator makes is not allowed: the issuance policy of the namespace "
            "wants a signing request (requestsOnly)."
        )


def _read(text: str) -> Policy:
    if len(text.encode(errors="replace")) > _MAX_BYTES:
        raise _BrokenError(f"it is larger than {_MAX_BYTES} bytes")
    fields = _fields(text)
    allowed = {
        name: _patterns(fields[name], KINDS[kind][0]) for name, kind in _NAMES.items() if name in fields
    }
    return Policy(
        allowed=MappingProxyType(allowed),
        max_validity=_duration(fields["maxValidity"]) if "maxValidity" in fields else None,
        algorithms=_patterns(fields["algorithms"], _algorithm) if "algorithms" in fields else None,
        requests_only=_flag(fields["requestsOnly"]) if "requestsOnly" in fields else False,
    )


def _fields(text: str) -> dict[str, yaml.Node]:
    """Return the fields of a YAML mapping without making values of them: ``NO`` stays the country."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise _BrokenError(f"it is no YAML ({_yaml_problem(error)})") from None
    if not isinstance(root, yaml.MappingNode):
        raise _BrokenError("it is no mapping of fields; write {} to allow no name at all")
    fields: dict[str, yaml.Node] = {}
    for key, value in root.value:
        name = _text(key)
        if name not in _NAMES and name not in _OTHERS:
            known = ", ".join((*_NAMES, *_OTHERS))
            raise _BrokenError(f"{_line(key)}: there is no field {name[:64]!a}; known are {known}")
        if name in fields:
            raise _BrokenError(f"{_line(key)}: {name} stands there twice")
        fields[name] = value
    return fields


def _yaml_problem(error: yaml.YAMLError | RecursionError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not isinstance(node.value, str):
        raise _BrokenError(f"{_line(node)}: a text is expected")
    return node.value


def _patterns(node: yaml.Node, check: Callable[[str], str]) -> tuple[str, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _BrokenError(f"{_line(node)}: a list is expected; write [] to allow none")
    if len(node.value) > _MAX_PATTERNS:
        raise _BrokenError(f"{_line(node)}: more than {_MAX_PATTERNS} entries")
    patterns = []
    for item in node.value:
        text = _text(item)
        try:
            patterns.append(check(text))
        except PatternError as error:
            raise _BrokenError(f"{_line(item)}: {text[:64]!a} {error}") from None
    return tuple(patterns)


def _algorithm(text: str) -> str:
    if text not in _ALGORITHMS:
        raise PatternError(f"is no algorithm; known are {', '.join(_ALGORITHMS)}")
    return text


def _duration(node: yaml.Node) -> timedelta:
    try:
        duration = parse_duration(_text(node))
    except InvalidDuration as error:
        raise _BrokenError(f"{_line(node)}: maxValidity {error}") from None
    if not duration:
        raise _BrokenError(f"{_line(node)}: maxValidity must not be nought")
    return duration


def _flag(node: yaml.Node) -> bool:
    text = _text(node)
    if text not in {"true", "false"}:
        raise _BrokenError(f"{_line(node)}: requestsOnly must be true or false")
    return text == "true"
