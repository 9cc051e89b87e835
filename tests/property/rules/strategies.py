"""Random expressions of the supported slice, random requests that have a chance to match them, and random damage."""

from __future__ import annotations

from hypothesis import strategies as st

from mtls_operator.rules.printer import quote

CERTIFICATE = "cf.tls_client_auth.cert_"
BOOLS = ["ssl", "true", "false", *(CERTIFICATE + name for name in ("presented", "verified", "revoked"))]
STRINGS = [
    "http.host",
    "http.request.method",
    "http.request.uri",
    "http.request.uri.path",
    "http.request.uri.query",
    *(CERTIFICATE + name for name in ("serial", "subject_dn", "issuer_dn", "fingerprint_sha256")),
]

#: A small alphabet makes equal values likely; the second one finds what the first cannot.
texts = st.lists(st.sampled_from(list(b'aAbBzZ*\\"/.% \0\x7f\x80\xff')), max_size=5).map(bytes) | st.binary(
    max_size=8
)
addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["10.0.0.0", "10.0.0.1", "10.0.1.0", "::", "::1", "2001:db8::"]
)


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


def pattern(pieces: list[bytes]) -> str:
    """Return the literal of a wildcard pattern with these pieces between its stars."""
    escaped = [piece.replace(b"\\", b"\\\\").replace(b"*", b"\\*") for piece in pieces]
    return quote(b"*".join(escaped))


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 4)) == 0:
        operator = draw(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in"]))
        if operator == "in":
            return f"ip.src in {{{' '.join(draw(st.lists(ranges(), max_size=4)))}}}"
        return f"ip.src {operator} {draw(addresses)}"
    field = draw(st.sampled_from(STRINGS))
    operator = draw(
        st.sampled_from(
            ["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "wildcard", "strict wildcard", "==", "!="]
        )
    )
    if operator == "in":
        return f"{field} in {{{' '.join(map(quote, draw(st.lists(texts, max_size=5))))}}}"
    operand = pattern(draw(pieces_between_stars())) if "wildcard" in operator else quote(draw(texts))
    return f"{field} {operator} {operand}"


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, st.sampled_from(["and", "or", "xor", "&&", "||", "^^"]), inner).map(" ".join)
    return joined | joined.map(lambda text: f"({text})") | inner.map(lambda text: f"not {text}")


expressions = st.recursive(st.sampled_from(BOOLS) | comparisons(), _combined, max_leaves=12)

requests = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.booleans() for name in BOOLS if name not in {"true", "false"}},
        **{name: texts.map(lambda value: {"hex": value.hex()}) for name in STRINGS},
        "ip.src": addresses,
    },
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = draw(expressions)
    pieces = st.text(max_size=3) | st.sampled_from(
        ["(", ")", '"', "[*]", "{", "}", "not", " in ", "..", "\\", "any(", "r#", "/"]
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 6)))
        text = text[:start] + draw(pieces) + text[end:]
    return text
