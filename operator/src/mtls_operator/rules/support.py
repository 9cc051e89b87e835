"""What the data plane can enforce today; everything else is refused at its place, never ignored."""

from __future__ import annotations

from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.schema import SUPPORTED_FIELDS
from mtls_operator.rules.tree import (
    AnyNode,
    Call,
    Comparison,
    Field,
    Index,
    Quantifier,
    walk,
)


def check_tree(root: AnyNode, source: str) -> None:
    """Raise a :class:`RuleError` at the first part of the tree that the data plane does not know."""
    for node in walk(root):
        what = _unsupported(node)
        if what is not None:
            span = node.operand.span if isinstance(node, Comparison) else node.span
            raise RuleError(Code.NOT_SUPPORTED, f"not supported yet: {what}", span=span, source=source)


def _unsupported(node: AnyNode) -> str | None:
    match node:
        case Field() if node.name not in SUPPORTED_FIELDS:
            return f"the field {node.name}"
        case Call():
            return f"the function {node.function}"
        case Quantifier():
            return f"the quantifier {node.quantity.value}"
        case Index():
            return "access to elements of arrays and maps"
        case _:
            return None
