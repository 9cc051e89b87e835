"""Random patterns over random values: our automata against Python's engine."""

from __future__ import annotations

import contextlib
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.rules.strategies import quick
from tests.unit.rules.machine import Machine

from mtls_operator.rules import RuleError, evaluate, parse, to_lua

rules = settings.get_profile("rules")

#: Our spelling, and the one of Python's ``re`` for bytes.
ATOMS = [
    *(
        (text, text)
        for text in ("a", "b", "A", "_", "-", ".", "[ab]", "[^a]", r"\d", r"\W", r"\s", r"\n", r"\b")
    ),
    (r"\B", r"(?!\b)"),
    ("^", r"\A"),
    ("$", r"\Z"),
    (r"\A", r"\A"),
    (r"\z", r"\Z"),
    ("(?m:^)", "(?m:^)"),
    ("(?m:$)", "(?m:$)"),
    ("(?i:a-Z)", "(?i:a-Z)"),
    ("(?s:.)", "(?s:.)"),
    ("é", r"(?:\xc3\xa9)"),
    (r"\xc3", r"\xc3"),
    ("(?i:[^b])", "(?i:[^b])"),
]
REPEATS = ["*", "+", "?", "{2}", "{0}", "{1,3}", "{2,}", "*?", "+?", "??", "{0,2}?"]
Pair = tuple[str, str]


def _combined(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def joined(joint: str) -> st.SearchStrategy[Pair]:
        return st.lists(inner, min_size=2, max_size=4).map(
            lambda pairs: (joint.join(pair[0] for pair in pairs), joint.join(pair[1] for pair in pairs))
        )

    grouped = inner.map(lambda pair: (f"({pair[0]})", f"({pair[1]})"))
    repeated = st.tuples(inner, st.sampled_from(REPEATS)).map(
        lambda drawn: (f"(?:{drawn[0][0]}){drawn[1]}", f"(?:{drawn[0][1]}){drawn[1]}")
    )
    return (
        joined("") | joined("|").map(lambda pair: (f"(?:{pair[0]})", f"(?:{pair[1]})")) | grouped | repeated
    )


patterns = st.recursive(st.sampled_from(ATOMS), _combined, max_leaves=8)
values = st.lists(st.sampled_from(list(b"abAB_-z \n\xc3\xa9\xff0")), max_size=12).map(bytes)


counts = st.tuples(st.sampled_from([0, 1, 9, 99, 900]), st.sampled_from([0, 3, 100])).map(
    lambda pair: f"{{{pair[0]},{pair[0] + pair[1]}}}"
)
#: Patterns that want to be large: many states, many columns, many ways.
greedy = st.recursive(
    st.sampled_from(
        ["a", "[ab]", ".", r"\b", r"\w", "^", "$", "(?i:z)", "é", "[^/]", "(?m:$)", "(?:a|ab|abc)"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, counts | st.sampled_from(["*", "+", "?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=12,
)


@given(parts=st.lists(greedy, min_size=1, max_size=6))
@rules
def test_no_pattern_takes_long_to_compile(parts: list[str]) -> None:
    text = " or ".join(f'http.host matches r#"{part}"#' for part in parts)
    with quick(text), contextlib.suppress(RuleError):
        to_lua(parse(text))


@given(pair=patterns, subjects=st.lists(values, min_size=1, max_size=12))
@rules
def test_automata_agree_with_pythons_engine(machine: Machine, pair: Pair, subjects: list[bytes]) -> None:
    ours, theirs = pair
    expression = parse(f'http.request.uri.query matches r#"{ours}"#')
    rule, oracle = machine.load(to_lua(expression)), re.compile(theirs.encode("latin-1"))
    for subject in subjects:
        request = {"http.request.uri.query": {"hex": subject.hex()}}
        expected = oracle.search(subject) is not None
        assert evaluate(expression, request) is expected
        assert rule(machine.runtime, machine.facts(request)) is expected
