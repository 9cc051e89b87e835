"""Regular expressions: what they match, in time that grows with the value only, and what is too much."""

import re
import time

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import Code, RuleError, evaluate, parse, to_lua
from mtls_operator.rules.automaton import Budget, compile_automaton
from mtls_operator.rules.regex import RegexError, parse_regex

#: Ours, and the same for Python's ``re`` on bytes.
PATTERNS = {
    r"^/api/v[0-9]+/(users|orders)/[a-f0-9-]{3}(/.*)?$": rb"\A/api/v[0-9]+/(users|orders)/[a-f0-9-]{3}(/.*)?\Z",
    r"(?i)\.(php|aspx?|jsp)$": rb"(?i)\.(php|aspx?|jsp)\Z",
    r"\bfoo\b": rb"\bfoo\b",
    r"\Bo\B|^$": rb"(?!\b)o(?!\b)|\A\Z",
    r"(?m)^x$|^$\n^y": rb"(?m)^x$|^$\n^y",
    r"(?s)a.b|a.{3}c": rb"(?s:a.b)|(?s:a.{3}c)",
    "é+$": rb"(?:\xc3\xa9)+\Z",
    r"[^a-z]{2,}?x|\xff": rb"[^a-z]{2,}?x|\xff",
    r"(a|b)*abb|(ab?){3}c": rb"(a|b)*abb|(ab?){3}c",
    r"": rb"",
    r"a{0}|(?:)$": rb"",
    r"a$b": rb"a\Zb",
    r"\b\b|\W\B\W": rb"\b\b|\W(?!\b)\W",
    r"\d\D\w\W\s\S": rb"\d\D\w\W\s\S",
    r"(?i)\x6b[S]": rb"(?i)k[S]",
}
VALUES = [
    *(bytes([value]) for value in range(256)),
    b"",
    b"/api/v12/users/a-0/",
    b"/api/v12/users/a-0\n",
    b"/api/v/orders/abc",
    b"/x.PHP",
    b"/x.php7",
    b"foo",
    b"afoo",
    b"-foo-",
    b"foo_",
    b"fooo",
    b"oooo",
    b"\nx\n",
    b"\n\ny",
    b"xx\nx",
    b"a\nb",
    b"a..\nc",
    "éé".encode(),
    "é!".encode(),
    b"\xc3\xa9\xc3",
    b"AB12x",
    b"aabb",
    b"ababac",
    b"abab",
    b"!!",
    b"1aa- x",
    b"1\xff_\xff\t.",
    b"Ks",
    "\u212as".encode(),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_automaton_finds_what_the_pattern_describes(pattern: str) -> None:
    automaton = compile_automaton(parse_regex(pattern), Budget())
    oracle = re.compile(PATTERNS[pattern])
    for value in VALUES:
        assert automaton.matches(value) is (oracle.search(value) is not None), value


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_proxy_finds_the_same(pattern: str, machine: Machine) -> None:
    code = to_lua(parse(f'http.request.uri.query matches r#"{pattern}"#'))
    rule, oracle = machine.load(code), re.compile(PATTERNS[pattern])
    for value in VALUES:
        facts = machine.facts({"http.request.uri.query": {"hex": value.hex()}})
        assert rule(machine.runtime, facts) is (oracle.search(value) is not None), value


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("", 1),
        ("[ab]", 2),
        ("^abc", 5),
        ("(abc|abd|abe)", 4),
        ("(a|aa|aaa)*b", 2),
        ("x^", 1),
    ],
)
def test_an_automaton_is_as_small_as_it_can_be(pattern: str, states: int) -> None:
    assert len(compile_automaton(parse_regex(pattern), Budget()).rows) == states


def test_bytes_that_nothing_tells_apart_share_a_column() -> None:
    automaton = compile_automaton(parse_regex(r"^[a-f]+$"), Budget())
    assert len(set(automaton.classes)) == 2


HOSTILE = ["(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*)*x", "^(a+)+$", "(a?){200}b", r"(\w*\w*\w*)*!"]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_value_makes_a_pattern_slow(pattern: str, machine: Machine) -> None:
    expression = parse(f'http.request.uri.query matches "{pattern}"')
    rule = machine.load(to_lua(expression))
    request = {"http.request.uri.query": "a" * 50_000 + "-"}
    facts = machine.facts(request)
    started = time.process_time()
    assert rule(machine.runtime, facts) is evaluate(expression, request)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "pattern", ["a.{30}b", ".*[0-9]{1,300}x.{50}", "(a|b)*a(a|b){20}", "x{1000}", "[ab]{1,900}a{1,900}$"]
)
def test_a_pattern_without_a_small_automaton_is_refused_at_its_place(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(RuleError, match=r"too (large|much)") as caught:
        parse(f'ssl and http.host matches "{pattern}"')
    assert time.process_time() - started < 3
    assert caught.value.code is Code.PARSE_REGEX
    assert (caught.value.span.start, caught.value.span.end) == (27, 27 + len(pattern))


def test_the_limits_are_for_all_patterns_of_an_expression_together() -> None:
    one = 'http.host matches "a.{8}b"'
    parse(" or ".join([one] * 12))
    with pytest.raises(RuleError, match="too large"):
        parse(" or ".join([one] * 64))


def test_sixty_four_ordinary_patterns_fit(machine: Machine) -> None:
    text = " or ".join(f'http.request.uri.path matches "^/v{n}/(a|b)/[0-9]+$"' for n in range(64))
    code = to_lua(parse(text))
    assert machine.run(code, {"http.request.uri.path": "/v63/b/77"}) is True
    assert machine.run(code, {"http.request.uri.path": "/v64/b/77"}) is False


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a{3,2}", "ends before"),
        ("a{1001}", "at most 1000"),
        ("(a{1000}){1000}", "too large"),
        ("a++", "repeated"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "back-references"),
        (r"\pL", "not supported"),
        ("[a&&b]", "set operations"),
        ("[é]", "ASCII"),
        ("{2}", "nothing to repeat"),
        ("a{", "must begin a repetition"),
        (r"\Qa\E", "not supported"),
        ("(?x)a", "flags"),
        ("a)", "closing parenthesis"),
        ("(a", "missing"),
        ("[a", "not closed"),
    ],
)
def test_what_engines_read_differently_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(RegexError, match=reason):
        parse_regex(pattern)
