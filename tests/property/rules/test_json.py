"""Random JSON, whole and damaged: the generated code finds what the reference finds."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.rules.machine import Machine

from mtls_operator.rules import evaluate, parse, to_lua

rules = settings.get_profile("rules")

names = st.sampled_from(["a", "b", "0", "é"])
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**53), 2**63, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
documents = st.tuples(values, st.booleans(), st.sampled_from([None, 1])).map(
    lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1], indent=drawn[2]).encode()
)
paths = st.lists(names.map(lambda name: f'"{name}"') | st.integers(0, 3).map(str), min_size=1, max_size=3)
PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"0",
    b"-",
    b".",
    b"e",
    b" ",
    b"\n",
    b"\xff",
    b"\\ud800",
    b'"a":',
    b"\x00",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    text = draw(documents)
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[start + draw(st.integers(0, 2)) :]
    return text


@given(text=damaged(), path=paths)
@rules
def test_lookups_agree_with_the_reference(machine: Machine, text: bytes, path: list[str]) -> None:
    request = {"http.user_agent": {"hex": text.hex()}}
    for call, relations in (
        ("lookup_json_string", ('contains ""', 'eq ""', 'lt "b"', 'matches "^[^a]*$"')),
        ("lookup_json_integer", ("in {0..5}", "lt 0", f"eq {2**53 - 1}", "ne 1")),
    ):
        for relation in relations:
            expression = parse(f"{call}(http.user_agent, {', '.join(path)}) {relation}")
            assert machine.run(to_lua(expression), request) is evaluate(expression, request)
