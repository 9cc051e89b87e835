"""The reference: what an expression yields for a request, computed from the tree and nothing else.

It is slow and plain on purpose: the generated code of the data plane is tested against it. Missing values
(an absent map key, an index out of range, a function of either) follow Cloudflare's engine: every
comparison with one is false, except ``ne``, which is true, so that a block rule on an absent header blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from mtls_operator.rules.functions import Result, call
from mtls_operator.rules.lists import NamedList
from mtls_operator.rules.request import Data, check_request, field_value
from mtls_operator.rules.tree import (
    Address,
    AnyNode,
    BytesSet,
    Call,
    Comparison,
    Connective,
    Each,
    Field,
    Index,
    IntSet,
    IpSet,
    ListReference,
    Literal,
    Logical,
    Not,
    Operand,
    Operator,
    Pattern,
    Quantity,
    Regex,
    fold,
    result_type,
    unpacked,
)
from mtls_operator.rules.types import BOOL_ARRAY


def evaluate_tree(root: AnyNode, request: Mapping[str, object], lists: Mapping[str, NamedList]) -> bool:
    """Return what a Boolean tree yields for a request; ``lists`` are the named lists that it uses."""
    check_request(request)
    return fold(root, lambda node, results: combine(node, results, request, lists)) is True


def combine(
    node: AnyNode, results: list[Result], request: Mapping[str, object], lists: Mapping[str, NamedList]
) -> Result:
    """Return what a node yields, from what the nodes below it yield."""
    match node:
        case Field():
            result: Result = field_value(request, node.name)
        case Literal():
            result = node.value
        case Index():
            result = _index(node, results[0])
        case Call():
            result = _call(node, results)
        case Comparison():
            result = _comparison(node, results[0], lists)
        case Not():
            result = _negated(results[0], array=result_type(node) == BOOL_ARRAY)
        case Logical():
            result = _joined(node.connective, results, array=result_type(node) == BOOL_ARRAY)
        case _:
            result = _quantified(node.quantity, results[0])
    return result


def _index(node: Index, container: Result) -> Result:
    if not unpacked(node.value):
        return _elements(container) if node.key is Each.EACH else _element(container, node.key)
    if not isinstance(container, list):
        return container
    if node.key is Each.EACH:
        return [element for inner in container for element in _elements(inner) or []]
    found = [_element(inner, node.key) for inner in container]
    return [element for element in found if element is not None]


def _elements(container: Result) -> list[Data] | None:
    if isinstance(container, dict):
        return [container[key] for key in sorted(container)]
    return container if isinstance(container, list) else None


def _element(container: Result, key: int | bytes | Each) -> Result:
    if isinstance(container, dict) and isinstance(key, bytes):
        return container.get(key)
    if isinstance(container, list) and isinstance(key, int):
        return container[key] if key < len(container) else None
    return None


def _call(node: Call, arguments: list[Result]) -> Result:
    if not node.mapped:
        return call(node.function, arguments)
    stream = arguments[0]
    if not isinstance(stream, list):
        return None
    mapped = [call(node.function, [element, *arguments[1:]]) for element in stream]
    return [result for result in mapped if result is not None]


def _comparison(node: Comparison, value: Result, lists: Mapping[str, NamedList]) -> Result:
    if not unpacked(node.value):
        if value is None:
            return node.operator is Operator.NE
        return _holds(node.operator, value, node.operand, lists)
    stream = value if isinstance(value, list) else []
    return [_holds(node.operator, element, node.operand, lists) for element in stream]


def _negated(result: Result, *, array: bool) -> Result:
    if not array:
        return result is not True
    return [element is not True for element in result] if isinstance(result, list) else None


def _joined(connective: Connective, results: list[Result], *, array: bool) -> Result:
    if not array:
        return _scalars(connective, results)
    lists = [result for result in results if isinstance(result, list)]
    if len(lists) < len(results):
        return None
    return [_scalars(connective, position) for position in zip(*lists, strict=False)]


def _scalars(connective: Connective, results: Sequence[Result]) -> bool:
    values = [result is True for result in results]
    if connective is Connective.AND:
        return all(values)
    return any(values) if connective is Connective.OR else sum(values) % 2 == 1


def _quantified(quantity: Quantity, result: Result) -> bool:
    if not isinstance(result, list):
        return False
    values = [element is True for element in result]
    return any(values) if quantity is Quantity.ANY else all(values)


# Relations between a present value and an operand.


def _holds(operator: Operator, value: Data, operand: Operand, lists: Mapping[str, NamedList]) -> bool:
    match operand:
        case Literal():
            return _ordered(operator, value, operand.value)
        case BytesSet():
            return value in operand.members
        case IntSet():
            return isinstance(value, int) and any(low <= value <= high for low, high in operand.ranges)
        case IpSet():
            return any(_within(value, low, high) for low, high in operand.ranges)
        case ListReference():
            return lists[operand.name].holds(value)
        case Pattern():
            return isinstance(value, bytes) and wildcard_matches(
                value, operand, folded=operator is Operator.WILDCARD
            )
        case Regex():
            return isinstance(value, bytes) and operand.automaton.matches(value)


def _within(value: Data, low: Address, high: Address) -> bool:
    if not isinstance(value, IPv4Address | IPv6Address) or value.version != low.version:
        return False
    return int(low) <= int(value) <= int(high)


_ORDER: Final[dict[Operator, Callable[[int], bool]]] = {
    Operator.EQ: lambda sign: sign == 0,
    Operator.NE: lambda sign: sign != 0,
    Operator.GE: lambda sign: sign >= 0,
    Operator.LE: lambda sign: sign <= 0,
    Operator.GT: lambda sign: sign > 0,
    Operator.LT: lambda sign: sign < 0,
}


def _ordered(operator: Operator, value: Data, operand: Data) -> bool:
    if operator is Operator.CONTAINS:
        return isinstance(value, bytes) and isinstance(operand, bytes) and operand in value
    if isinstance(value, IPv4Address | IPv6Address) and type(value) is not type(operand):
        return operator is Operator.NE
    left, right = _sortable(value), _sortable(operand)
    return _ORDER[operator]((left > right) - (left < right))


def _sortable(value: Data) -> bytes:
    """Return bytes that sort as the value does among those of its type."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return (value + 2**63).to_bytes(9, "big")
    if isinstance(value, IPv4Address | IPv6Address):
        return value.packed
    raise TypeError("containers have no order")


def wildcard_matches(value: bytes, pattern: Pattern, *, folded: bool) -> bool:
    """Return whether the whole value fits the pattern; folding is for ASCII letters."""
    text = value.lower() if folded else value
    first, *others = (piece.lower() if folded else piece for piece in pattern.pieces)
    if not others:
        return text == first
    *middle, last = others
    if not text.startswith(first):
        return False
    position = len(first)
    for piece in middle:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return len(text) - len(last) >= position and text.endswith(last)
