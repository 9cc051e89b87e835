"""Rules as they come from the API server or a file: read, or what is known of one that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.meta import parse_meta
from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.plan.hostrules import BrokenRule


def read_rule(body: Mapping[str, Any]) -> Rule | BrokenRule:
    """Return a rule, or why it cannot be read and which hosts it would apply to.

    Raises:
        InvalidSpec: it does not even have a name and a namespace.
    """
    try:
        return parse_rule(body)
    except InvalidSpec as error:
        spec = body.get("spec")
        references = spec.get("hostRefs") if isinstance(spec, Mapping) else None
        hosts = tuple(
            str(reference["name"])
            for reference in (references if isinstance(references, list) else ())
            if isinstance(reference, Mapping) and "name" in reference
        )
        return BrokenRule(parse_meta(body), hosts, str(error))
