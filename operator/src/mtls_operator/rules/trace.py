"""Every sub-expression with its value: what the reference evaluator computes on its way, for people who ask why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_operator.rules.evaluator import combine
from mtls_operator.rules.expression import Expression
from mtls_operator.rules.functions import Result
from mtls_operator.rules.lists import NamedList
from mtls_operator.rules.request import check_request
from mtls_operator.rules.tree import AnyNode, fold


@dataclass(frozen=True, slots=True)
class Traced:
    """A node with its value (None: missing) and its children in the order of the text."""

    node: AnyNode
    value: Result
    below: tuple[Traced, ...]


def trace(
    expression: Expression, request: Mapping[str, object], lists: Mapping[str, NamedList] | None = None
) -> Traced:
    """Return the tree of an expression with the value of each node for a request.

    ``lists`` are the named lists that it uses. The proxy does not look at what cannot change the result any more;
    here everything has a value.

    Raises:
        RequestError: the request is not of the form that :func:`~mtls_operator.rules.expression.evaluate` takes.
    """
    check_request(request)

    def traced(node: AnyNode, below: list[Traced]) -> Traced:
        value = combine(node, [each.value for each in below], request, lists or {})
        return Traced(node, value, tuple(below))

    return fold(expression.tree, traced)
