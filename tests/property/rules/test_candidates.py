"""Rules that a proxy does not ask change no decision: those that it finds decide as all of them would."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.rules.strategies import expressions
from tests.unit.rules.machine import Machine

from mtls_operator.envoy.script import call
from mtls_operator.plan.rule_scripts import rule_script
from mtls_operator.rules import (
    GENERATED_LIMITS,
    Expression,
    Kind,
    LuaCode,
    evaluate,
    parse,
    read_list,
    to_lua,
)
from mtls_operator.rules.printer import quote

rules = settings.get_profile("rules")

PATH = "http.request.uri.path"
PATHS = ["/", "/a", "/A", "/a/b", "/A/b", "/b", ""]
Parsed = tuple[Expression, str]

STATES = ["cert_presented", "cert_verified", "cert_revoked"]
LISTS = {
    "strings": read_list(Kind.BYTES, "/a\n/b"),
    "addresses": read_list(Kind.IP, "10.0.0.0/8"),
    "integers": read_list(Kind.INT, "1..9"),
}

paths = st.sampled_from(PATHS)
literals = paths.map(lambda path: quote(path.encode()))
about_paths = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne", "ge", "contains"]), literals).map(
        lambda pair: f"{PATH} {pair[0]} {pair[1]}"
    ),
    st.lists(literals, max_size=3).map(lambda members: f"{PATH} in {{{' '.join(members)}}}"),
    st.tuples(
        st.sampled_from(["wildcard", "strict wildcard"]), st.sampled_from(["/a*", "/a/*", "/*b", "/a"])
    ).map(lambda pair: f'{PATH} {pair[0]} "{pair[1]}"'),
    literals.map(lambda text: f"starts_with({PATH}, {text})"),
    st.just(f"{PATH} in $strings"),
)
about_certificates = st.sampled_from(STATES).map("cf.tls_client_auth.{}".format)
texts = st.recursive(
    st.one_of(
        about_paths,
        about_paths,
        about_certificates,
        st.sampled_from(["true", "false", "ssl"]),
        expressions.map("({})".format),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "xor"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map("not ({})".format),
    ),
    max_leaves=6,
)
given_rules = st.lists(st.tuples(texts, st.sampled_from(["block", "skip", "log"])), max_size=6)
REQUESTS: list[dict[str, object]] = [
    {PATH: path, **{f"cf.tls_client_auth.{name}": name in held for name in STATES}}
    for path in PATHS
    for held in (STATES[:0], STATES[:1], STATES[:2], STATES)
]


class Proxy:
    """A list of rules as a proxy runs them."""

    def __init__(self, machine: Machine, parsed: list[Parsed]) -> None:
        self.machine = machine
        codes = [to_lua(expression) for expression, _ in parsed]
        self.rules = [machine.load(code, LISTS) for code in codes]
        find: Any = machine.lua.eval(f"function(rules) return {call('candidates', 'rules')} end".encode())
        self.find = find(machine.lua.table(*map(self.table, range(len(codes)), codes)))

    def table(self, number: int, code: LuaCode) -> Any:
        script = rule_script(str(number), code, action="block", lists=LISTS)
        entries: dict[bytes, Any] = {b"number": number, b"spares_good": script.spares_good}
        if script.paths is not None:
            entries[b"paths"] = self.machine.lua.table(*script.paths)
            entries[b"prefixes"] = self.machine.lua.table(*script.prefixes)
        return self.machine.lua.table_from(entries)

    def applying(self, request: dict[str, object]) -> list[int]:
        """Return the rules that apply, in their order, of those that are asked."""
        good = request[f"cf.tls_client_auth.{STATES[1]}"] and not request[f"cf.tls_client_auth.{STATES[2]}"]
        asked = [rule[b"number"] for rule in self.find(str(request[PATH]).encode(), good).values()]
        facts = self.machine.facts(request)
        return [number for number in asked if self.rules[number](self.machine.runtime, facts)]


def decided(applying: list[int], parsed: list[Parsed]) -> list[int]:
    """Return the Log rules that apply, and the rule that ends the evaluation."""
    ends = (place for place, number in enumerate(applying) if parsed[number][1] != "log")
    return applying[: next(ends, len(applying)) + 1]


@given(chosen=given_rules)
@rules
def test_the_rules_that_are_asked_decide_as_all_of_them_would(
    machine: Machine, chosen: list[tuple[str, str]]
) -> None:
    shapes = {name: held.kind for name, held in LISTS.items()}
    parsed = [(parse(text, limits=GENERATED_LIMITS, lists=shapes), action) for text, action in chosen]
    proxy = Proxy(machine, parsed)
    for request in REQUESTS:
        all_of_them = [
            number
            for number, (expression, _) in enumerate(parsed)
            if evaluate(expression, request, lists=LISTS)
        ]
        assert decided(proxy.applying(request), parsed) == decided(all_of_them, parsed), request
