"""Which rules a proxy asks: all that can apply, none that cannot, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy.script import call

LUA = LuaRuntime(encoding=None)
CANDIDATES: Any = LUA.eval(f"function(rules) return {call('candidates', 'rules')} end")

PATHS = st.text("/ab", max_size=4).map(lambda text: f"/{text}".encode())


@dataclass(frozen=True, slots=True)
class Rule:
    paths: tuple[bytes, ...] | None
    prefixes: tuple[bytes, ...] = ()
    spares_good: bool = False

    def applies(self, path: bytes, *, good: bool) -> bool:
        if self.spares_good and good:
            return False
        return self.paths is None or path in self.paths or path.startswith(self.prefixes)

    def table(self, number: int) -> Any:
        entries: dict[bytes, Any] = {b"number": number, b"spares_good": self.spares_good}
        if self.paths is not None:
            entries[b"paths"] = LUA.table(*self.paths)
            entries[b"prefixes"] = LUA.table(*self.prefixes)
        return LUA.table_from(entries)


RULES = st.builds(
    Rule,
    st.none() | st.lists(PATHS, max_size=3).map(tuple),
    st.lists(PATHS, max_size=3).map(tuple),
    st.booleans(),
)


def asked(rules: list[Rule], path: bytes, *, good: bool) -> list[int]:
    find = CANDIDATES(LUA.table(*(rule.table(number) for number, rule in enumerate(rules))))
    return [rule[b"number"] for rule in find(path, good).values()]


@given(rules=st.lists(RULES, max_size=12), path=PATHS, good=st.booleans())
def test_exactly_the_rules_that_can_apply_are_asked_in_their_order(
    rules: list[Rule], path: bytes, *, good: bool
) -> None:
    expected = [number for number, rule in enumerate(rules) if rule.applies(path, good=good)]
    assert asked(rules, path, good=good) == expected


def test_a_path_that_no_rule_names_asks_only_the_rules_about_any_path() -> None:
    rules = [Rule((b"/a",)), Rule(None), Rule((), (b"/b/",)), Rule(None, spares_good=True)]
    assert asked(rules, b"/c", good=False) == [1, 3]
    assert asked(rules, b"/c", good=True) == [1]


def test_a_rule_that_matches_in_several_ways_is_asked_once() -> None:
    rule = Rule((b"/a/b", b"/a/b"), (b"/a", b"/a/", b"/a/b"))
    assert asked([rule], b"/a/b", good=False) == [0]


def test_the_answer_for_one_path_is_not_the_answer_for_another() -> None:
    rules = [Rule((b"/a",)), Rule((b"/b",)), Rule(None)]
    find = CANDIDATES(LUA.table(*(rule.table(number) for number, rule in enumerate(rules))))
    seen = [[rule[b"number"] for rule in find(path, False).values()] for path in (b"/a", b"/b", b"/c", b"/a")]
    assert seen == [[0, 2], [1, 2], [2], [0, 2]]
