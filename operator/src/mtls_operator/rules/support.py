"""What the data plane can enforce; everything else is refused at its place, never ignored."""

from __future__ import annotations

from mtls_operator.rules.diagnostics import Code, RuleError
from mtls_operator.rules.schema import UNAVAILABLE_FIELDS
from mtls_operator.rules.tree import AnyNode, Field, walk


def check_tree(root: AnyNode, source: str) -> None:
    """Raise a :class:`RuleError` at the first part of the tree that the data plane does not know."""
    for node in walk(root):
        if isinstance(node, Field) and node.name in UNAVAILABLE_FIELDS:
            message = f"the field {node.name} is known, but not available in mTLS rules"
            hint = UNAVAILABLE_FIELDS[node.name]
            raise RuleError(Code.NOT_AVAILABLE, message, span=node.span, source=source, hint=hint)
