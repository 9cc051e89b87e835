"""Warnings: expressions that are valid and almost certainly not what was meant.

A comparison that can never be true makes a rule that never blocks, which nobody notices; that is what most
of these are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mtls_operator.rules.diagnostics import Lint, Span
from mtls_operator.rules.impossible import LOWER, UPPER, impossible, impossible_part
from mtls_operator.rules.printer import quote
from mtls_operator.rules.schema import CERTIFICATE_PREFIX, NAMES_PREFIX
from mtls_operator.rules.tree import (
    AnyNode,
    BytesSet,
    Call,
    Comparison,
    Connective,
    Field,
    Index,
    IpSet,
    Literal,
    Logical,
    Not,
    Operator,
    Pattern,
    children,
    result_type,
    unpacked,
    walk,
)
from mtls_operator.rules.types import BOOL_ARRAY, BYTES, BYTES_ARRAY

VERIFIED: Final = CERTIFICATE_PREFIX + "cert_verified"
REVOKED: Final = CERTIFICATE_PREFIX + "cert_revoked"
#: What a certificate says of itself, and what another one can say as well.
_CLAIMS: Final = frozenset(
    CERTIFICATE_PREFIX + name
    for name in (
        "cert_issuer_dn",
        "cert_issuer_dn_legacy",
        "cert_issuer_dn_rfc2253",
        "cert_issuer_ski",
        "cert_not_after",
        "cert_not_before",
        "cert_serial",
        "cert_ski",
        "cert_subject_dn",
        "cert_subject_dn_legacy",
        "cert_subject_dn_rfc2253",
    )
)
SERVER_PORT: Final = "cf.edge.server_port"
_HEADERS: Final = "http.request.headers"
_HEADER_NAMES: Final = "http.request.headers.names"
_FULL_URI: Final = Field("http.request.full_uri", BYTES, Span(0, 0))
#: Arrays that belong together, element by element.
_ALIGNED: Final = tuple(
    {Field(f"{name}.names", BYTES_ARRAY, Span(0, 0)), Field(f"{name}.values", BYTES_ARRAY, Span(0, 0))}
    for name in ("http.request.headers", "http.request.uri.args")
)
#: Functions that yield something as soon as one argument is there, and those that can yield nothing from something.
_NEVER_MISSING: Final = frozenset({"coalesce", "concat"})
_CAN_FAIL: Final = frozenset({"decode_base64", "lookup_json_integer", "lookup_json_string"})
_EXACT: Final = frozenset({Operator.EQ, Operator.NE, Operator.IN})
_MAX_WARNINGS: Final = 32
_MAX_SHOWN: Final = 80


def lint(root: AnyNode, notes: Iterable[Lint] = ()) -> tuple[Lint, ...]:
    """Return the warnings about a tree, and the ``notes`` of its reader, in the order of the text."""
    found = [*notes, *_revocation(root), *_unverified(root)]
    for node in walk(root):
        if isinstance(node, Field) and node.name == SERVER_PORT:
            message = f"{SERVER_PORT} is the port of the proxy in the pod (8443), not that of a Service"
            found.append(Lint("server_port", message, node.span))
        elif isinstance(node, Comparison):
            found.extend(_comparison(node))
        elif isinstance(node, Index):
            found.extend(_header_key(node))
        elif isinstance(node, Call):
            found.extend(_header_name(node))
            found.extend(_affix(node))
        elif isinstance(node, Logical):
            found.extend(_pin(node) if node.connective is Connective.AND else ())
            found.extend(_unequal_arrays(node))
    ordered = sorted(set(found), key=lambda warning: (warning.span.start, warning.code, warning.message))
    if len(ordered) > _MAX_WARNINGS:
        rest = ordered[_MAX_WARNINGS:]
        ordered = [*ordered[:_MAX_WARNINGS], Lint("more", f"and {len(rest)} more warnings", rest[0].span)]
    return tuple(ordered)


def _revocation(root: AnyNode) -> Iterator[Lint]:
    names = [node for node in walk(root) if isinstance(node, Field)]
    if any(node.name == REVOKED for node in names):
        return
    for node in names:
        if node.name == VERIFIED:
            message = f"a revoked certificate is still verified: without {REVOKED} this does not stop it"
            yield Lint("revoked_not_tested", message, node.span)
            return


def _unverified(root: AnyNode) -> Iterator[Lint]:
    """Warn when a rule goes by what a certificate says, and not by whether anybody vouches for it."""
    names = [node for node in walk(root) if isinstance(node, Field)]
    if any(node.name in {VERIFIED, REVOKED} for node in names):
        return
    for node in names:
        if node.name in _CLAIMS or node.name.startswith(NAMES_PREFIX):
            message = f"anybody can make a certificate that says so: without {VERIFIED} this proves nothing"
            yield Lint("unverified_claim", message, node.span)
            return


def _header_key(node: Index) -> Iterator[Lint]:
    if (
        isinstance(node.value, Field)
        and node.value.name == _HEADERS
        and isinstance(node.key, bytes)
        and UPPER.search(node.key)
    ):
        yield Lint(
            "header_key_case", "header names are in lower case here: this one is always missing", node.span
        )


def _header_name(node: Call) -> Iterator[Lint]:
    asked = {"has_key": _HEADERS, "has_value": _HEADER_NAMES}.get(node.function)
    container, *wanted = node.arguments
    if not (asked and isinstance(container, Field) and container.name == asked):
        return
    for each in wanted:
        if isinstance(each, Literal) and isinstance(each.value, bytes) and UPPER.search(each.value):
            yield Lint(
                "header_key_case", "header names are in lower case here: this one is never there", each.span
            )


def _pin(node: Logical) -> Iterator[Lint]:
    """Warn of a pin that blocks nobody with a valid certificate, as in an example of Cloudflare's own."""
    unverified = any(
        isinstance(each, Not) and isinstance(each.operand, Field) and each.operand.name == VERIFIED
        for each in node.operands
    )
    for each in node.operands:
        compared = each.operand if isinstance(each, Not) else each
        if not (unverified and isinstance(compared, Comparison) and isinstance(compared.value, Field)):
            continue
        negative = isinstance(each, Not) != (compared.operator is Operator.NE)
        if negative and compared.value.name.startswith(CERTIFICATE_PREFIX):
            message = "joined with 'and': a verified certificate passes whatever this says; write 'or' to pin"
            yield Lint("pin_joined_with_and", message, each.span)


def _unequal_arrays(node: Logical) -> Iterator[Lint]:
    """Warn when arrays that have nothing to do with each other are joined element by element."""
    if result_type(node) != BOOL_ARRAY:
        return
    sources = {source for each in node.operands for source in _streams(each)}
    if len(sources) > 1 and not any(sources <= pair for pair in _ALIGNED):
        message = "different arrays are joined element by element, as far as the shortest reaches: use any(…) for each"
        yield Lint("unequal_arrays", message, node.span)


def _streams(root: AnyNode) -> Iterator[AnyNode]:
    """Yield what a Boolean array is made of."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Not | Logical):
            pending.extend(children(node))
        elif isinstance(node, Comparison):
            yield _unpacked_value(node.value)
        elif isinstance(node, Call):
            yield _unpacked_value(node.arguments[0])


def _unpacked_value(node: AnyNode) -> AnyNode:
    while unpacked(node) or (isinstance(node, Call) and node.mapped):
        node = children(node)[0]
    return node


def _may_be_missing(root: AnyNode) -> bool:
    """Return whether a value can be missing: an element, or a function of one."""
    node = root
    while isinstance(node, Call):
        if node.function in _NEVER_MISSING and any(not _may_be_missing(each) for each in node.arguments):
            return False
        if node.function in _CAN_FAIL:
            return True
        if len(node.arguments) > 1 and any(_may_be_missing(each) for each in node.arguments[1:]):
            return True
        node = node.arguments[0]
    return isinstance(node, Index)


def _comparison(node: Comparison) -> Iterator[Lint]:
    if node.operator is Operator.NE and not unpacked(node.value) and _may_be_missing(node.value):
        message = (
            "also true when the value is missing; not any(x[*] eq …) says so, and means the same everywhere"
        )
        yield Lint("missing_ne", message, node.span)
    if isinstance(node.operand, Pattern) and node.value == _FULL_URI and _lacks_scheme(node.operand):
        message = "http.request.full_uri begins with https:// (or http://): this pattern never fits"
        yield Lint("never_equal", message, node.operand.span)
    if isinstance(node.operand, IpSet):
        addresses = [low for low, _ in node.operand.ranges]
    elif isinstance(node.operand, Literal) and not isinstance(node.operand.value, bytes | int):
        addresses = [node.operand.value]
    else:
        addresses = []
    for address in addresses:
        if address.version == 6 and address.ipv4_mapped is not None:  # noqa: PLR2004 - IPv6
            message = f"{address} never matches: such a client is seen as {address.ipv4_mapped}"
            yield Lint("mapped_address", message, node.operand.span)
    if node.value.type == BYTES and node.operator in _EXACT:
        for member in _members(node):
            yield from _exact(node, member)
    folded = node.operator is Operator.WILDCARD
    for part in _parts(node):
        yield from _part(node.value, part, node.operand.span, folded=folded)


def _members(node: Comparison) -> tuple[bytes, ...]:
    if isinstance(node.operand, BytesSet):
        return node.operand.members
    if isinstance(node.operand, Literal) and isinstance(node.operand.value, bytes):
        return (node.operand.value,)
    return ()


def _exact(node: Comparison, member: bytes) -> Iterator[Lint]:
    shown = _shortened(quote(member))
    span = node.operand.span
    value = node.value
    if b"*" in member:
        message = f"'*' in {shown} is an ordinary character here; patterns need the operator wildcard"
        yield Lint("star_in_equality", message, span)
    if (changed := _changed_case(value, member)) is not None:
        yield Lint("never_equal", f"{changed}(…) is never {shown}", span)
    if _lowered_names(value) and UPPER.search(member):
        yield Lint("header_key_case", f"header names are in lower case here, never {shown}", span)
    if isinstance(value, Field) and (reason := impossible(value.name, member)) is not None:
        yield Lint("never_equal", f"{value.name} is never {shown}: {reason}", span)


def _parts(node: Comparison) -> tuple[bytes, ...]:
    """Return what a value must have somewhere for a comparison to hold."""
    if isinstance(node.operand, Pattern):
        return node.operand.pieces
    return _members(node) if node.operator is Operator.CONTAINS else ()


def _affix(node: Call) -> Iterator[Lint]:
    if node.function not in {"starts_with", "ends_with"}:
        return
    value, affix = node.arguments
    if isinstance(affix, Literal) and isinstance(affix.value, bytes):
        yield from _part(value, affix.value, affix.span)


def _part(value: AnyNode, part: bytes, span: Span, *, folded: bool = False) -> Iterator[Lint]:
    """Warn of what a value never has in it; where case is ``folded``, of what it has in neither case."""
    forms = (part.lower(), part.upper()) if folded else (part,)
    shown = _shortened(quote(part))
    if all(_changed_case(value, form) for form in forms):
        yield Lint("never_equal", f"{_changed_case(value, forms[0])}(…) never has {shown} in it", span)
    if _lowered_names(value) and all(UPPER.search(form) for form in forms):
        yield Lint("header_key_case", f"header names are in lower case here, without {shown}", span)
    reasons = [impossible_part(value.name, form) for form in forms] if isinstance(value, Field) else [None]
    if isinstance(value, Field) and None not in reasons:
        yield Lint("never_equal", f"{value.name} never has {shown} in it: {reasons[0]}", span)


def _changed_case(value: AnyNode, text: bytes) -> str | None:
    """Return the name of the function that leaves a value without letters of the case that a text has."""
    while isinstance(value, Index):
        value = value.value
    letters = {"lower": UPPER, "upper": LOWER}.get(value.function) if isinstance(value, Call) else None
    return (
        value.function if letters is not None and isinstance(value, Call) and letters.search(text) else None
    )


def _lowered_names(value: AnyNode) -> bool:
    return isinstance(value, Index) and isinstance(value.value, Field) and value.value.name == _HEADER_NAMES


def _lacks_scheme(pattern: Pattern) -> bool:
    first = pattern.pieces[0].lower()
    schemes = (b"https://", b"http://")
    if len(pattern.pieces) == 1:
        return not first.startswith(schemes)
    return not any(scheme.startswith(first) or first.startswith(scheme) for scheme in schemes)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
