"""What must hold for a rule to apply, as far as it can be looked up instead of computed.

A host with a thousand rules about paths must not look at each of them for every request. A guard is a *necessary*
condition: where it does not hold, the expression is false. It never says that an expression is true, and where
nothing is known it lets everything through, so that leaving guards out changes no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mtls_operator.rules.lints import REVOKED, VERIFIED
from mtls_operator.rules.tree import (
    AnyNode,
    BytesSet,
    Call,
    Comparison,
    Connective,
    Field,
    Literal,
    Logical,
    Not,
    Operator,
    Pattern,
    fold,
    result_type,
)
from mtls_operator.rules.types import BOOL

_PATH: Final = "http.request.uri.path"
_PRESENTED: Final = VERIFIED.replace("verified", "presented")
#: The facts of a certificate that is worth something: valid, and not revoked.
_GOOD: Final = {"true": True, "false": False, _PRESENTED: True, VERIFIED: True, REVOKED: False}


@dataclass(frozen=True, slots=True)
class Guard:
    """A rule applies only to these paths: exact ones, or with one of the prefixes; None: to any path.

    ``spares_good``: it never applies to a request with a valid certificate that is not revoked.
    """

    paths: frozenset[bytes] | None = None
    prefixes: frozenset[bytes] = frozenset()
    spares_good: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """Of one node: the paths at which it can be true, and its value where the certificate is good, if known."""

    paths: frozenset[bytes] | None
    prefixes: frozenset[bytes]
    with_good: bool | None

    @property
    def narrowness(self) -> tuple[bool, int, int]:
        """Order what is known about paths: the least is the narrowest."""
        return (self.paths is None, len(self.prefixes), len(self.paths or ()))


def _known(paths: frozenset[bytes] | None, prefixes: frozenset[bytes] = frozenset()) -> _Known:
    # Everything begins with the empty prefix.
    return _Known(None, frozenset(), None) if b"" in prefixes else _Known(paths, prefixes, None)


_NOTHING: Final = _known(None)
#: Lets every request through.
OPEN: Final = Guard()


def guard_of(root: AnyNode) -> Guard:
    """Return the guard of a tree."""
    known = fold(root, _combined)
    return Guard(known.paths, known.prefixes, spares_good=known.with_good is False)


def _combined(node: AnyNode, below: list[_Known]) -> _Known:
    match node:
        case Field():
            return _Known(None, frozenset(), _GOOD.get(node.name))
        case Comparison():
            return _comparison(node)
        case Call(function="starts_with", mapped=False):
            value, prefix = node.arguments
            if _is_path(value) and isinstance(prefix, Literal) and isinstance(prefix.value, bytes):
                return _known(frozenset(), frozenset({prefix.value}))
        case Not() if result_type(node) == BOOL:
            (operand,) = below
            return _Known(None, frozenset(), None if operand.with_good is None else not operand.with_good)
        case Logical() if result_type(node) == BOOL:
            return _logical(node.connective, below)
    return _NOTHING


def _comparison(node: Comparison) -> _Known:
    if not _is_path(node.value):
        return _NOTHING
    match node.operator, node.operand:
        case Operator.EQ, Literal(value=bytes() as text):
            return _known(frozenset({text}))
        case Operator.IN, BytesSet(members=members):
            return _known(frozenset(members))
        case Operator.STRICT_WILDCARD, Pattern(pieces=(whole,)):
            return _known(frozenset({whole}))
        case Operator.STRICT_WILDCARD, Pattern(pieces=(first, *_)):
            return _known(frozenset(), frozenset({first}))
    return _NOTHING


def _is_path(node: AnyNode) -> bool:
    return isinstance(node, Field) and node.name == _PATH


def _logical(connective: Connective, below: list[_Known]) -> _Known:
    values = [each.with_good for each in below]
    match connective:
        case Connective.AND:
            narrowest = min(below, key=lambda each: each.narrowness)
            return _Known(narrowest.paths, narrowest.prefixes, _conjunction(values))
        case Connective.OR:
            paths, prefixes = _union(below)
            negated = _conjunction([None if value is None else not value for value in values])
            return _Known(paths, prefixes, None if negated is None else not negated)
        case Connective.XOR:
            unknown = any(value is None for value in values)
            return _Known(None, frozenset(), None if unknown else sum(map(bool, values)) % 2 == 1)


def _conjunction(values: list[bool | None]) -> bool | None:
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def _union(below: list[_Known]) -> tuple[frozenset[bytes] | None, frozenset[bytes]]:
    paths = [each.paths for each in below if each.paths is not None]
    if len(paths) < len(below):
        return None, frozenset()
    nothing: frozenset[bytes] = frozenset()
    return nothing.union(*paths), nothing.union(*(each.prefixes for each in below))
