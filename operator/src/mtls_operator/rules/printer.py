"""Tree to text: the effective expression, with every grouping in parentheses.

The text parses back to the same tree (under :data:`~mtls_operator.rules.expression.GENERATED_LIMITS`: it
can be longer than what its author wrote).
"""

from __future__ import annotations

from typing import assert_never

from mtls_operator.rules.tree import (
    Address,
    AnyNode,
    BytesSet,
    Call,
    Comparison,
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
    Pattern,
    Quantifier,
    Regex,
    fold,
)


def print_tree(root: AnyNode) -> str:
    """Return the text of a tree."""
    return fold(root, _print)


def quote(value: bytes) -> str:
    """Return the quoted string literal of these bytes; whatever is not printable text is escaped."""
    text = value.decode("utf-8", "surrogateescape")
    return '"' + "".join(_character(char) for char in text) + '"'


def _character(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _print(node: AnyNode, parts: list[str]) -> str:
    match node:
        case Field():
            text = node.name
        case Literal():
            text = _operand(node)
        case Index():
            text = f"{parts[0]}[{_key(node.key)}]"
        case Call():
            text = f"{node.function}({', '.join(parts)})"
        case Comparison():
            text = f"{parts[0]} {node.operator.value} {_operand(node.operand)}"
        case Not():
            text = f"not ({parts[0]})" if isinstance(node.operand, Comparison) else f"not {parts[0]}"
        case Logical():
            inner = (
                f"({part})" if isinstance(each, Not) else part
                for each, part in zip(node.operands, parts, strict=True)
            )
            text = "(" + f" {node.connective.value} ".join(inner) + ")"
        case Quantifier():
            text = f"{node.quantity.value}({parts[0]})"
        case _:
            assert_never(node)
    return text


def _key(key: int | bytes | Each) -> str:
    if isinstance(key, bytes):
        return quote(key)
    return "*" if isinstance(key, Each) else str(key)


def _operand(operand: Operand) -> str:
    match operand:
        case Literal():
            text = quote(operand.value) if isinstance(operand.value, bytes) else str(operand.value)
        case BytesSet():
            text = _braces([quote(member) for member in operand.members])
        case IntSet():
            text = _braces([str(low) if low == high else f"{low}..{high}" for low, high in operand.ranges])
        case IpSet():
            text = _braces([ip_range_text(low, high) for low, high in operand.ranges])
        case ListReference():
            text = f"${operand.name}"
        case Pattern():
            text = quote(operand.text)
        case Regex():
            text = quote_regex(operand.pattern)
        case _:
            assert_never(operand)
    return text


def _braces(members: list[str]) -> str:
    return "{" + " ".join(members) + "}"


def ip_range_text(low: Address, high: Address) -> str:
    """Return an inclusive range as an address or a network where it is one."""
    if low == high:
        return str(low)
    size = int(high) - int(low) + 1
    if size & (size - 1) == 0 and int(low) % size == 0:
        return f"{low}/{low.max_prefixlen - (size.bit_length() - 1)}"
    return f"{low}..{high}"


def quote_regex(pattern: str) -> str:
    """Return the quoted literal of a regular expression: quotes are escaped outside classes only."""
    text: list[str] = []
    in_class = escaped = False
    for char in pattern:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "[]":
            in_class = char == "["
        elif char == '"' and not in_class:
            text.append("\\")
        text.append(char)
    return '"' + "".join(text) + '"'
