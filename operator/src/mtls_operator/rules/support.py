"""What the data plane can enforce today; everything else is refused at its place, never ignored."""

from __future__ import annotations

from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.schema import SUPPORTED_FIELDS, UNAVAILABLE_FIELDS
from mtls_operator.rules.tree import AnyNode, Field, walk


def check_tree(root: AnyNode, source: str) -> None:
    """Raise a :class:`RuleError` at the first part of the tree that the data plane does not know."""
    for node in walk(root):
        if not isinstance(node, Field) or node.name in SUPPORTED_FIELDS:
            continue
        if node.name in UNAVAILABLE_FIELDS:
            message = f"the field {node.name} is known, but not available in mTLS rules"
            hint = UNAVAILABLE_FIELDS[node.name]
            raise RuleError(Code.NOT_AVAILABLE, message, span=node.span, source=source, hint=hint)
        message = f"not supported yet: the field {node.name}"
        raise RuleError(Code.NOT_SUPPORTED, message, span=node.span, source=source)
