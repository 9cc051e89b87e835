"""Which version of each rule is in force on a host, above all when its named lists change or break: guarantee G2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.builders import named_list, rule

from mtls_operator.api.rule import Rule, parse_rule
from mtls_operator.plan.hostrules import FormerRule, HostRules, Standing, read_last_good, rules_for
from mtls_operator.plan.lists import Lists, list_name, list_of
from mtls_operator.rules import BrokenList, Kind, NamedList

OFFICE = "ip.src in $office_network"


def lists(*bodies: Mapping[str, Any]) -> Lists:
    return {list_name(body["metadata"]["name"]): list_of(body) for body in bodies}


def office(*items: str, of: str = "ip") -> Lists:
    return lists(named_list("office-network", *items, of=of))


def made(name: str = "admin", expression: str = OFFICE, *, uid: str = "uid-1", **spec: Any) -> Rule:
    body = rule(name, expression=expression, **spec)
    body["metadata"] |= {"uid": uid, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return parse_rule(body)


def compiled(
    objects: list[Rule], named: Lists, last_good: Mapping[str, FormerRule] | None = None
) -> HostRules:
    return rules_for("api", objects, last_good or {}, named)


def constants(rules: HostRules) -> str:
    return "\n".join(constant for script in rules.scripts for constant in script.constants)


def test_a_rule_is_compiled_with_what_its_list_holds() -> None:
    rules = compiled([made()], office("10.0.0.1"))
    assert [outcome.standing for outcome in rules.outcomes] == [Standing.CURRENT]
    assert "0a0000010a000001" in constants(rules)


def test_a_changed_list_is_put_into_the_rule_that_uses_it() -> None:
    before = compiled([made()], office("10.0.0.1"))
    after = compiled([made()], office("10.0.0.2"), before.former())
    assert "0a0000020a000002" in constants(after)
    assert "0a000001" not in constants(after)


BREAKAGES: list[tuple[Lists, str]] = [
    ({}, "there is no list $office_network in this namespace"),
    (office("10.0.0.1", "10.0.0.300"), "the list $office_network: line 2: this is not an IP address"),
    (office("10.0.0.1", of="ips"), "must be ip, string or integer, not 'ips'"),
    (office("10.0.0.1", of="string"), "the list $office_network holds items of type String"),
]


@pytest.mark.parametrize(("broken", "message"), BREAKAGES)
def test_a_rule_keeps_its_list_as_it_was_when_the_list_breaks(broken: Lists, message: str) -> None:
    before = compiled([made()], office("10.0.0.1"))
    after = compiled([made()], broken, before.former())
    assert after.scripts == before.scripts
    assert [outcome.standing for outcome in after.outcomes] == [Standing.LAST_GOOD]
    assert message in after.outcomes[0].error


@pytest.mark.parametrize(("broken", "message"), BREAKAGES)
def test_it_does_so_over_a_restart_and_for_ever(broken: Lists, message: str) -> None:
    document = compiled([made()], office("10.0.0.1", "2001:db8::/32")).last_good()
    for _ in range(3):
        restarted = compiled([made()], broken, read_last_good(document))
        assert "0a0000010a000001" in constants(restarted)
        assert message in restarted.outcomes[0].error
        assert restarted.last_good() == document
        document = restarted.last_good()


@pytest.mark.parametrize(("broken", "_"), BREAKAGES)
def test_a_rule_whose_list_was_never_good_blocks_nothing_and_is_named(broken: Lists, _: str) -> None:
    rules = compiled([made()], broken)
    assert (rules.scripts, rules.never_compiled) == ((), ("admin",))


def test_one_broken_list_does_not_touch_the_rules_of_another() -> None:
    both = {**office("10.0.0.1"), **lists(named_list("clients", "a"))}
    objects = [made(), made("other", "http.host in $clients", uid="uid-2")]
    before = compiled(objects, both)
    after = compiled(
        objects, {**lists(named_list("clients", "b")), "office_network": BrokenList("x")}, before.former()
    )
    assert [outcome.standing for outcome in after.outcomes] == [Standing.LAST_GOOD, Standing.CURRENT]
    assert after.scripts[0] == before.scripts[0]
    assert after.scripts[1] != before.scripts[1]


def test_the_last_good_version_of_a_broken_rule_follows_its_list_while_that_is_good() -> None:
    before = compiled([made()], office("10.0.0.1"))
    after = compiled([made(expression=f"{OFFICE} and")], office("10.0.0.2"), before.former())
    assert [outcome.standing for outcome in after.outcomes] == [Standing.LAST_GOOD]
    assert "0a0000020a000002" in constants(after)


def test_two_rules_can_hold_to_different_contents_of_one_list() -> None:
    old = compiled([made()], office("10.0.0.1"))
    objects = [made(), made("other", "http.host in $office_network", uid="uid-2")]
    rules = compiled(objects, office("a.example", of="string"), old.former())
    again = compiled(objects, {}, read_last_good(rules.last_good()))
    assert again.scripts == rules.scripts
    assert "0a0000010a000001" in constants(again)
    assert "a.example" in constants(again)


def test_what_a_list_holds_is_stored_once() -> None:
    objects = [made(f"rule-{number}", uid=f"uid-{number}") for number in range(50)]
    document = compiled(objects, office("198.51.100.7")).last_good()
    assert document.count("198.51.100.7") == 1


def test_without_lists_nothing_is_said_of_any() -> None:
    document = json.loads(compiled([made(expression="ssl")], office("10.0.0.1")).last_good())
    assert document.keys() == {"rules"}
    assert document["rules"]["admin"].keys() == {"uid", "spec"}


ELSEWHERE = [{"name": "web"}]


def test_a_broken_rule_that_names_other_hosts_keeps_its_last_good_version_here() -> None:
    good = compiled([made(expression="ssl")], {})
    broken = compiled([made(expression="ssl and", hostRefs=ELSEWHERE)], {}, good.former())
    assert broken.scripts == good.scripts
    assert [outcome.standing for outcome in broken.outcomes] == [Standing.LAST_GOOD]
    again = compiled([made(expression="ssl and", hostRefs=ELSEWHERE)], {}, broken.former())
    assert again.scripts == good.scripts


def test_a_rule_that_names_other_hosts_and_compiles_leaves_this_one() -> None:
    good = compiled([made(expression="ssl")], {})
    for objects in (
        [made(expression="ssl", hostRefs=ELSEWHERE)],
        [made(uid="2", expression="(", hostRefs=ELSEWHERE)],
    ):
        moved = compiled(objects, {}, good.former())
        assert (moved.scripts, moved.outcomes, moved.never_compiled) == ((), (), ())


def test_the_last_good_version_of_another_object_is_not_taken() -> None:
    before = compiled([made()], office("10.0.0.1"))
    assert compiled([made(uid="uid-2")], {}, before.former()).scripts == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("lists",), {}),
        (("lists",), []),
        (("rules", "admin", "lists"), {"office_network": "unknown"}),
        (("rules", "admin", "lists"), "x"),
    ],
)
def test_a_damaged_document_gives_nothing_rather_than_something_else(
    path: tuple[str, ...], value: object
) -> None:
    document = json.loads(compiled([made()], office("10.0.0.1")).last_good())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert read_last_good(json.dumps(document)) == {}


@pytest.mark.parametrize(
    "entry", [{"type": "ip", "items": "no address"}, {"type": "x", "items": ""}, {"type": "ip"}, 7]
)
def test_a_damaged_list_in_the_document_gives_nothing(entry: object) -> None:
    document = json.loads(compiled([made()], office("10.0.0.1")).last_good())
    document["lists"] = dict.fromkeys(document["lists"], entry)
    assert read_last_good(json.dumps(document)) == {}


def test_a_document_of_a_release_without_lists_is_read() -> None:
    document = '{"rules":{"admin":{"spec":{"expression":"ssl"},"uid":"uid-1"}}}'
    assert read_last_good(document) == {"admin": FormerRule("uid-1", {"expression": "ssl"}, {})}


@pytest.mark.parametrize(("label", "kind"), [("ip", Kind.IP), ("string", Kind.BYTES), ("integer", Kind.INT)])
def test_the_label_says_what_a_list_holds(label: str, kind: Kind) -> None:
    named = list_of(named_list("x", of=label))
    assert isinstance(named, NamedList)
    assert named.kind is kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {}}, "has no key items"),
        ({"data": None}, "has no key items"),
        ({"data": {"items": "", "more": ""}}, "only the key items is read, and there is 'more' as well"),
        ({"binaryData": {"more": "AA=="}}, "only the key items is read, and there is 'more' as well"),
    ],
)
def test_a_configmap_that_is_not_quite_a_list_says_so(change: dict[str, Any], message: str) -> None:
    broken = list_of({**named_list("x"), **change})
    assert isinstance(broken, BrokenList)
    assert message in broken.error
