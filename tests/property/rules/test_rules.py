"""Properties of the rules language, over random expressions and requests."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.property.rules.strategies import (
    SHAPES,
    damaged,
    expressions,
    lists_held,
    pattern,
    pieces_between_stars,
    quick,
    requests,
    texts,
)
from tests.unit.rules.machine import Machine
from tests.unit.rules.test_guards import admits

from mtls_operator.rules import GENERATED_LIMITS, NamedList, RuleError, evaluate, parse, to_lua

rules, pairs = settings.get_profile("rules"), settings.get_profile("pairs")


@given(text=expressions, request=requests, lists=lists_held)
@pairs
def test_generated_lua_agrees_with_the_reference(
    machine: Machine, text: str, request: dict[str, object], lists: dict[str, NamedList]
) -> None:
    expression = parse(text, limits=GENERATED_LIMITS, lists=SHAPES)
    assert machine.run(to_lua(expression), request, lists) is evaluate(expression, request, lists=lists)


@given(text=expressions, request=requests, lists=lists_held)
@rules
def test_what_holds_for_a_request_is_never_kept_from_it_by_its_guard(
    text: str, request: dict[str, object], lists: dict[str, NamedList]
) -> None:
    expression = parse(text, limits=GENERATED_LIMITS, lists=SHAPES)
    assert admits(to_lua(expression).guard, request) or not evaluate(expression, request, lists=lists)


@given(text=expressions)
@rules
def test_a_printed_tree_reads_as_the_same_tree(text: str) -> None:
    expression = parse(text, limits=GENERATED_LIMITS, lists=SHAPES)
    again = parse(expression.preview, limits=GENERATED_LIMITS, lists=SHAPES)
    assert again.tree == expression.tree
    assert again.preview == expression.preview


@given(text=damaged() | st.text(max_size=60))
@example(text="http.host[*][*]")
@rules
def test_damaged_text_is_an_error_with_a_place_or_valid(text: str) -> None:
    with quick(text):
        error = refusal(text)
    if error is not None:
        line, column = error.line_column()
        assert 0 <= error.span.start <= error.span.end <= len(text.encode("utf-8", "surrogatepass"))
        assert min(line, column) >= 1
        assert error.display().startswith(f"line {line}, column {column}: ")


def refusal(text: str) -> RuleError | None:
    try:
        parse(text, lists=SHAPES)
    except RuleError as error:
        return error
    return None


def fits(value: bytes, pieces: list[bytes]) -> bool:
    """Match by keeping every end that is possible: an independent definition of the wildcard operator."""
    ends = {len(pieces[0])} if value.startswith(pieces[0]) else set()
    for piece in pieces[1:]:
        starts = range(min(ends, default=len(value) + 1), len(value) + 1)
        ends = {start + len(piece) for start in starts if value[start : start + len(piece)] == piece}
    return len(value) in ends


@given(
    pieces=pieces_between_stars(), value=texts | st.lists(texts, max_size=4).map(b"".join), mix=st.booleans()
)
@rules
def test_wildcards_match_by_their_definition(
    machine: Machine, pieces: list[bytes], value: bytes, *, mix: bool
) -> None:
    subject = b"aB".join([b"", *pieces, b""])[2:-2] if mix else value
    request = {"http.request.uri.path": {"hex": subject.hex()}}
    expected = {
        "strict wildcard": fits(subject, pieces),
        "wildcard": fits(subject.lower(), [piece.lower() for piece in pieces]),
    }
    for operator, result in expected.items():
        expression = parse(f"http.request.uri.path {operator} {pattern(pieces)}")
        assert evaluate(expression, request) is result
        assert machine.run(to_lua(expression), request) is result
