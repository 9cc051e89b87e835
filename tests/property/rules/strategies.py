"""Random well-typed expressions, random requests that have a chance to match them, and random damage."""

from __future__ import annotations

import gc
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

from mtls_operator.rules import Kind, NamedList, read_list
from mtls_operator.rules.printer import quote
from mtls_operator.rules.schema import FIELDS, SUPPORTED_FIELDS
from mtls_operator.rules.types import BOOL, BYTES, INT, IP, Type


def _fields(kind: Type) -> list[str]:
    return sorted(name for name in SUPPORTED_FIELDS if FIELDS[name] == kind)


BOOLS, STRINGS, NUMBERS, ADDRESSES = (_fields(kind) for kind in (BOOL, BYTES, INT, IP))
KEYS = ["a", "b", "x-role"]
MAPS = ["http.request.headers", "http.request.uri.args", "http.request.cookies"]
LISTS = [
    "http.request.headers.names",
    "http.request.headers.values",
    "http.request.uri.args.names",
    "http.request.uri.args.values",
    "tls.client.san.dns",
    *(f'{name}["{key}"]' for name in MAPS for key in KEYS),
]

#: A small alphabet makes equal values likely; the second one finds what the first cannot.
texts = st.lists(st.sampled_from(list(b'aAbBzZ*\\"/.% \0\x7f\x80\xff')), max_size=5).map(bytes) | st.binary(
    max_size=8
)
literals = texts.map(quote)
addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["10.0.0.0", "10.0.0.1", "10.0.1.0", "::", "::1", "2001:db8::"]
)
integers = st.integers(-3, 12) | st.sampled_from([443, 2**53, 2**53 + 1, -(2**63), 2**63 - 1])


@st.composite
def ranges(draw: st.DrawFn) -> str:
    family = draw(st.sampled_from([st.ip_addresses(v=4), st.ip_addresses(v=6)]))
    network = draw(family)
    shape = draw(st.sampled_from(["one", "range", "network"]))
    if shape == "one":
        return str(network)
    other = draw(family)
    if shape == "range":
        low, high = sorted((network, other), key=int)
        return f"{low}..{high}"
    bits = draw(st.integers(0, network.max_prefixlen))
    hosts = (1 << (network.max_prefixlen - bits)) - 1
    return f"{type(network)(int(network) & ~hosts)}/{bits}"


@st.composite
def pieces_between_stars(draw: st.DrawFn) -> list[bytes]:
    ends = draw(st.lists(texts, min_size=1, max_size=2))
    if len(ends) == 1:
        return ends
    return [ends[0], *draw(st.lists(texts.filter(bool), max_size=3)), ends[1]]


def escaped(value: bytes) -> str:
    """Return a quoted string in one line, whatever it holds."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'


def pattern(pieces: list[bytes]) -> str:
    """Return the literal of a wildcard pattern with these pieces between its stars."""
    escaped = [piece.replace(b"\\", b"\\\\").replace(b"*", b"\\*") for piece in pieces]
    return quote(b"*".join(escaped))


# Values, by type. A stream ends in [*], or is a call with one in its first argument.

lists = st.sampled_from(LISTS)
streams = st.one_of(
    lists.map("{}[*]".format),
    st.sampled_from(MAPS).map("{}[*][*]".format),
    st.tuples(st.sampled_from(MAPS), st.integers(0, 2)).map(lambda drawn: f"{drawn[0]}[*][{drawn[1]}]"),
)
fields = st.sampled_from(STRINGS)
elements = st.tuples(lists, st.integers(0, 2)).map(lambda drawn: f"{drawn[0]}[{drawn[1]}]")


@st.composite
def changed(draw: st.DrawFn, value: str) -> str:
    """Wrap a string, or a stream of strings, in a function that returns strings."""
    return draw(
        st.one_of(
            st.sampled_from(["lower", "upper", "url_decode"]).map(lambda name: f"{name}({value})"),
            st.sampled_from(["r", "u", "ru"]).map(lambda options: f'url_decode({value}, "{options}")'),
            (literals | fields | elements).map(lambda other: f"concat({value}, {other})"),
            st.just(f"decode_base64({value})"),
            (literals | fields | elements).map(lambda other: f"coalesce({value}, {other})"),
            literals.map(lambda unwanted: f"remove_bytes({value}, {unwanted})"),
            st.lists(integers, min_size=1, max_size=2).map(
                lambda ends: f"substring({value}, {', '.join(map(str, ends))})"
            ),
        )
    )


strings = st.recursive(fields | elements, lambda inner: inner.flatmap(changed), max_leaves=3) | st.one_of(
    streams.flatmap(changed).map("{}[0]".format),
    st.tuples(lists, literals | elements).map(lambda drawn: f"join({drawn[0]}, {drawn[1]})"),
    st.tuples(fields | elements, literals.filter(lambda text: text != '""'), st.integers(1, 4)).map(
        lambda drawn: f"split({drawn[0]}, {drawn[1]}, {drawn[2]})[1]"
    ),
)
string_streams = streams | streams.flatmap(changed).map("{}[*]".format)
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    (strings | lists).map("len({})".format),
    st.tuples(lists, lists).map(lambda two: f"len(concat({two[0]}, {two[1]}))"),
)
ips = st.sampled_from(ADDRESSES).flatmap(
    lambda name: st.one_of(
        st.just(name),
        st.tuples(st.integers(1, 32), st.integers(1, 128)).map(
            lambda bits: f"cidr({name}, {bits[0]}, {bits[1]})"
        ),
        st.integers(1, 128).map(lambda bits: f"cidr6({name}, {bits})"),
    )
)
affixes = st.tuples(st.sampled_from(["starts_with", "ends_with"]), literals | fields | elements)
bools = st.one_of(
    st.sampled_from(BOOLS),
    st.tuples(strings, affixes).map(lambda drawn: f"{drawn[1][0]}({drawn[0]}, {drawn[1][1]})"),
    st.tuples(st.sampled_from(MAPS), st.sampled_from(KEYS)).map(
        lambda drawn: f'has_key({drawn[0]}, "{drawn[1]}")'
    ),
    st.tuples(lists, literals | elements).map(lambda drawn: f"has_value({drawn[0]}, {drawn[1]})"),
)


@st.composite
def string_relations(draw: st.DrawFn) -> str:
    """Draw an operator for strings with its right side."""
    operator = draw(
        st.sampled_from(
            [
                "eq",
                "ne",
                "lt",
                "le",
                "gt",
                "ge",
                "in",
                "contains",
                "wildcard",
                "strict wildcard",
                "==",
                "!=",
                "~",
            ]
        )
    )
    if operator == "~":
        return f"matches {draw(st.sampled_from(REGEXES))}"
    if operator == "in" and draw(st.booleans()):
        return "in $strings"
    if operator == "in":
        return f"in {{{' '.join(draw(st.lists(literals, max_size=5)))}}}"
    operand = pattern(draw(pieces_between_stars())) if "wildcard" in operator else draw(literals)
    return f"{operator} {operand}"


REGEXES = ['"^a"', '"[A-Z]+$"', r'"\d\b|[^a]"', '""', 'r"(?i)ab?/"']
orders = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"])


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["ip", "number", "string", "string", "string"]))
    if kind == "ip":
        value = draw(ips)
        if draw(st.integers(0, 3)) == 0:
            return f"{value} in $addresses"
        if draw(st.booleans()):
            return f"{value} in {{{' '.join(draw(st.lists(ranges(), max_size=4)))}}}"
        return f"{value} {draw(orders)} {draw(addresses)}"
    if kind == "number":
        value = draw(numbers)
        if draw(st.integers(0, 3)) == 0:
            return f"{value} in $integers"
        if draw(st.booleans()):
            pairs = draw(st.lists(st.tuples(integers, integers).map(sorted), max_size=3))
            return f"{value} in {{{' '.join(f'{low}..{high}' for low, high in pairs)}}}"
        return f"{value} {draw(orders)} {draw(integers)}"
    return f"{draw(strings)} {draw(string_relations())}"


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, st.sampled_from(["and", "or", "xor", "&&", "||", "^^"]), inner).map(" ".join)
    return joined | joined.map(lambda text: f"({text})") | inner.map(lambda text: f"not {text}")


address_streams = st.sampled_from(["tls.client.san.ip[*]", "cidr(tls.client.san.ip[*], 8, 16)[*]"])
arrays = st.recursive(
    address_streams.map("{} in $addresses".format)
    | st.tuples(address_streams, st.lists(ranges(), max_size=3)).map(
        lambda drawn: f"{drawn[0]} in {{{' '.join(drawn[1])}}}"
    )
    | st.tuples(string_streams, string_relations()).map(" ".join)
    | st.tuples(streams, affixes).map(lambda drawn: f"{drawn[1][0]}({drawn[0]}, {drawn[1][1]})"),
    _combined,
    max_leaves=4,
)
quantified = st.tuples(st.sampled_from(["any", "all"]), arrays).map(lambda drawn: f"{drawn[0]}(({drawn[1]}))")
expressions = st.recursive(bools | comparisons() | quantified, _combined, max_leaves=8)

# Requests.

values = texts.map(lambda value: {"hex": value.hex()})
encoded = st.binary(max_size=6).map(lambda value: b64encode(value).decode().rstrip("=")) | st.sampled_from(
    ["aGk=", "aGk==", "aGkx", "aGkxa", "a-", "aG=k"]
)
queries = st.lists(
    st.sampled_from(["a", "b", "=", "&", "x-role", "%61", "%2541", "+", "/", "%u0041"]), max_size=8
)
cookie_texts = st.lists(st.sampled_from(["a", "b", "=", ";", " ", "%61", "\t"]), max_size=8).map("".join)
requests = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.booleans() for name in BOOLS if name not in {"true", "false"}},
        **dict.fromkeys(STRINGS, values | encoded),
        **{name: st.integers(0, 2**53) | st.integers(0, 12) for name in NUMBERS},
        **dict.fromkeys(ADDRESSES, addresses),
        "http.request.headers": st.dictionaries(
            st.sampled_from(KEYS), st.lists(values, min_size=1, max_size=3), max_size=3
        )
        | cookie_texts.map(lambda text: {"cookie": [text]}),
        "http.request.uri.query": queries.map("".join),
        "tls.client.san.dns": st.lists(values, max_size=3),
        "tls.client.san.ip": st.lists(addresses, max_size=3),
    },
)


#: The named lists that expressions use, by what their items are.
SHAPES = {"strings": Kind.BYTES, "addresses": Kind.IP, "integers": Kind.INT}


def _named(kind: Kind, items: st.SearchStrategy[str]) -> st.SearchStrategy[NamedList]:
    return st.lists(items, max_size=6).map(lambda lines: read_list(kind, "\n".join(lines)))


number_ranges = st.tuples(integers, integers).map(lambda pair: f"{min(pair)}..{max(pair)}")
lists_held = st.fixed_dictionaries(
    {
        "strings": _named(Kind.BYTES, texts.map(escaped)),
        "addresses": _named(Kind.IP, ranges().filter(lambda text: not text.startswith("::ffff:"))),
        "integers": _named(Kind.INT, number_ranges),
    }
)


@contextmanager
def quick(text: str) -> Iterator[None]:
    """Fail when reading a text takes five times the 50 ms that each KiB may take.

    Work is counted and bounded; the clock only guards against work that is not counted. A garbage collection of
    everything that the test itself keeps is not counted.
    """
    gc.disable()
    started = time.process_time()
    try:
        yield
        assert time.process_time() - started < 0.25 * max(1, -(-len(text) // 1024))
    finally:
        gc.enable()


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = draw(expressions)
    pieces = st.text(max_size=3) | st.sampled_from(
        ["(", ")", '"', "[*]", "{", "}", "$", "$strings", "not", " in ", "..", "\\", "any(", "r#", "/"]
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 6)))
        text = text[:start] + draw(pieces) + text[end:]
    return text
