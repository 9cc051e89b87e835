"""An expression and what can be done with it: the surface of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mtls_operator.rules.diagnostics import Lint
from mtls_operator.rules.evaluator import evaluate_tree
from mtls_operator.rules.lints import lint
from mtls_operator.rules.lists import NamedList, Shapes
from mtls_operator.rules.lua import LuaCode, compile_tree
from mtls_operator.rules.parser import parse_tree
from mtls_operator.rules.printer import print_tree
from mtls_operator.rules.request import RequestError
from mtls_operator.rules.schema import CERTIFICATE_PREFIX, NAMES_PREFIX
from mtls_operator.rules.support import check_tree
from mtls_operator.rules.tree import Comparison, Field, ListReference, Node, walk
from mtls_operator.rules.types import Kind
from mtls_operator.rules.values import Limits

#: What a user may write: Cloudflare's limits on length and regular expressions, and its engine's on nesting.
PRODUCT_LIMITS: Final = Limits(characters=4096, nesting=128, regexes=64)
#: For text that we made ourselves: previews and expanded simple forms.
GENERATED_LIMITS: Final = Limits(characters=1_000_000, nesting=2048, regexes=64)


_NO_LISTS: Final[Shapes] = MappingProxyType({})
_NOTHING: Final[Mapping[str, NamedList]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Expression:
    """A valid expression; two are equal when their texts are.

    ``preview`` is the effective expression with every grouping in parentheses; ``fields`` are the names it
    reads, ``lists`` the kinds of the named lists that it uses; ``reads_certificate`` says whether any of the fields
    is about the client certificate.
    """

    text: str
    tree: Node = field(compare=False, repr=False)
    preview: str = field(compare=False)
    warnings: tuple[Lint, ...] = field(compare=False)
    fields: frozenset[str] = field(compare=False)
    lists: Mapping[str, Kind] = field(compare=False, hash=False)
    reads_certificate: bool = field(compare=False)


def parse(text: str, *, limits: Limits = PRODUCT_LIMITS, lists: Shapes | None = _NO_LISTS) -> Expression:
    """Read an expression of the whole language; raises :class:`~mtls_operator.rules.diagnostics.RuleError`.

    ``lists`` are the kinds of the named lists that there are; None takes every name, where nothing is known of
    them. Accepted does not mean enforceable: see :func:`check_supported`.
    """
    tree, notes = parse_tree(text, limits, lists)
    fields = frozenset(node.name for node in walk(tree) if isinstance(node, Field))
    return Expression(
        text=text,
        tree=tree,
        preview=print_tree(tree),
        warnings=lint(tree, notes),
        fields=fields,
        lists=_lists(tree),
        reads_certificate=any(name.startswith((CERTIFICATE_PREFIX, NAMES_PREFIX)) for name in fields),
    )


def _lists(tree: Node) -> Mapping[str, Kind]:
    operands = [node.operand for node in walk(tree) if isinstance(node, Comparison)]
    used = {operand.name: operand.kind for operand in operands if isinstance(operand, ListReference)}
    return MappingProxyType(dict(sorted(used.items())))


def check_supported(expression: Expression) -> None:
    """Accept what the data plane can enforce today.

    Raises :class:`~mtls_operator.rules.diagnostics.RuleError` at the first part that it cannot.
    """
    check_tree(expression.tree, expression.text)


def evaluate(
    expression: Expression, request: Mapping[str, object], *, lists: Mapping[str, NamedList] = _NOTHING
) -> bool:
    """Return what the expression yields for a request (see :mod:`mtls_operator.rules.request` for its form).

    Raises:
        RequestError: a request that is not of that form, or a list that the expression uses is not among ``lists``.
    """
    for name, kind in expression.lists.items():
        if name not in lists or lists[name].kind is not kind:
            raise RequestError(f"the list ${name} is needed")
    return evaluate_tree(expression.tree, request, lists)


def to_lua(expression: Expression) -> LuaCode:
    """Return the expression for the proxy; raises as :func:`check_supported` does."""
    check_supported(expression)
    return compile_tree(expression.tree)
