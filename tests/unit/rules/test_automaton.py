"""Regular expressions: what they match, in time that grows with the value only, and what is too much."""

import contextlib
import re
import time

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import Code, RuleError, evaluate, parse, to_lua
from mtls_operator.rules.automaton import WORK_PER_KIB, Budget, TooComplexError, compile_automaton
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
    automaton = compile_automaton(parse_regex(pattern), Budget.of(4096))
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
    assert len(compile_automaton(parse_regex(pattern), Budget.of(4096)).rows) == states


def test_bytes_that_nothing_tells_apart_share_a_column() -> None:
    automaton = compile_automaton(parse_regex(r"^[a-f]+$"), Budget.of(4096))
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
    "pattern",
    ["a.{30}b", ".*[0-9]{1,300}x.{50}", "(a|b)*a(a|b){20}", "[ab]{1,900}a{1,900}$", "(a|b|ab){900}"],
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
    parse(" or ".join([one] * 3))
    with pytest.raises(RuleError, match=r"too (large|much)"):
        parse(" or ".join([one] * 34))


def test_the_longest_repetition_fits(machine: Machine) -> None:
    code = to_lua(parse('http.request.uri.query matches "^x{1000}$"'))
    for length, expected in ((999, False), (1000, True), (1001, False)):
        assert machine.run(code, {"http.request.uri.query": "x" * length}) is expected


#: Patterns that take much work for their length, each in its own way.
COSTLY = [
    "a.{10}b",
    "(a|b).{9}c.{3}d",
    "[^/]{1,200}x[^/]{1,200}",
    "(?i)(foo|bar|baz|quux){1,50}z",
    r"\b\w{1,63}(\.\w{1,63}){1,8}\b",
    "(a?){200}b{200}",
    "x{1000}",
    r"(\b|\B|^|$|a){900}",
    "|".join(f"[{chr(97 + n)}-{chr(98 + n)}]{{1,9}}{n}" for n in range(24)),
    "(" + "|".join(f"w{n}ord{n * 7919 % 1000}" for n in range(90)) + ")",
    "(a|ab|abc|b){400}",
    "[ab]{1,900}a{1,900}$",
    "((((a*)*b*)*c*)*d*)*",
    r"\b(\w+\b\W+){1,40}$",
]


@pytest.mark.parametrize("pattern", COSTLY)
@pytest.mark.parametrize("characters", [1, 1025, 4096])
def test_work_is_bounded_by_the_length_of_the_expression(pattern: str, characters: int) -> None:
    """Counted in units, whatever the machine: about 30 ms for each KiB begun."""
    budget = Budget.of(characters)
    allowed = budget.work
    assert allowed == WORK_PER_KIB * -(-characters // 1024)
    spent = []

    class Counting(Budget):
        def spend(self, work: int) -> None:
            spent.append(work)
            super().spend(work)

    with contextlib.suppress(TooComplexError):
        compile_automaton(parse_regex(pattern), Counting(allowed))
    # What is found to be too much is found at once.
    assert sum(spent[:-1]) <= allowed


@pytest.mark.parametrize("pattern", COSTLY)
def test_the_same_pattern_takes_the_same_work_every_time(pattern: str) -> None:
    def work() -> int:
        budget = Budget.of(4096)
        with contextlib.suppress(TooComplexError):
            compile_automaton(parse_regex(pattern), budget)
        return budget.work

    assert work() == work() < Budget.of(4096).work


@pytest.mark.parametrize("pattern", ["(ab|ac){30}", "x[^/]{1,9}y", "(a|ab|abc|b){40}"])
def test_a_table_that_is_not_made_smaller_means_the_same(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest = compile_automaton(parse_regex(pattern), Budget.of(4096))
    monkeypatch.setattr("mtls_operator.rules.automaton.minimised", lambda _, most: (None, most // 10))
    plain = compile_automaton(parse_regex(pattern), Budget.of(4096))
    assert len(plain.rows) >= len(smallest.rows)
    for length in (0, 1, 5, 29, 39, 40, 41, 59, 60, 61, 90):
        for value in (b"ab" * length, b"a" * length, b"x" + b"b" * length + b"y", b"abc" * length):
            assert plain.matches(value) is smallest.matches(value)


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
        ("[+--]", "set operations"),
        ("[!--a]", "set operations"),
        (r"[\w--_]", "set operations"),
        ("[]-a]", "begins a range"),
        ("[^]-a]", "begins a range"),
        ("a{\u0663}", "must begin a repetition"),
        ("a{1,\u0663}", "must begin a repetition"),
        ("(?ii)a", "twice"),
        ("(?i-i:a)", "twice"),
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
