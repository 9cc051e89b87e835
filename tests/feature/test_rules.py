"""An MTLSRule from its text to the proxies, and its last good version: G1, G2 and G4."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, host, named_list, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.plan import host_status

BROKEN = 'http.host eq "a" and and ssl'


def _script(lab: Lab, name: str = "api") -> str:
    return str(lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, f"mtls-host-{name}")["data"][names.RULES_KEY])


def _rule_condition(lab: Lab, of_type: str, name: str = "admin") -> tuple[str, str, str]:
    return lab.condition(Kind.RULE, name, of_type)


async def _in_force(lab: Lab, *rules: dict[str, object]) -> None:
    lab.cluster.make(host())
    for body in rules:
        lab.cluster.make(body)
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=3)


async def test_a_rule_is_deployed_when_every_proxy_runs_it(lab: Lab) -> None:
    await _in_force(lab, rule())
    assert _rule_condition(lab, "Accepted")[:2] == ("True", "Accepted")
    assert _rule_condition(lab, "Deployed")[:2] == ("True", "Deployed")
    assert lab.status(Kind.RULE, "admin")["hosts"] == [{"name": "api", "deployed": True}]


async def test_the_simple_form_is_shown_as_the_expression_that_it_stands_for(lab: Lab) -> None:
    await _in_force(lab, rule())
    preview = lab.status(Kind.RULE, "admin")["expression"]
    assert preview.startswith("(((not cf.tls_client_auth.cert_verified)")
    assert '{"/admin"}' in preview


async def test_a_rule_without_any_host_says_so(lab: Lab) -> None:
    lab.cluster.make(rule())
    await lab.start()
    await lab.settle()
    assert _rule_condition(lab, "Deployed")[:2] == ("False", "NoHosts")


async def test_a_rule_for_a_host_that_does_not_exist_names_it(lab: Lab) -> None:
    await _in_force(lab, rule(hostRefs=[{"name": "typo"}]))
    status, reason, message = _rule_condition(lab, "Deployed")
    assert (status, reason) == ("False", "HostNotFound")
    assert "typo" in message


async def test_a_mistake_is_shown_with_line_column_and_caret(lab: Lab) -> None:
    await _in_force(lab, rule(expression=BROKEN))
    status, reason, message = _rule_condition(lab, "Accepted")
    assert (status, reason) == ("False", "InvalidExpression")
    assert "line 1, column 22" in message
    assert "\n                     ^^^" in message
    assert "never compiled" in message


async def test_a_rule_that_never_compiled_says_that_it_is_in_force_nowhere(lab: Lab) -> None:
    """Its host is well: what the host's proxies report is no reason."""
    await _in_force(lab, rule(expression=BROKEN))
    status, reason, message = _rule_condition(lab, "Deployed")
    assert (status, reason) == ("False", "RuleNeverCompiled")
    assert "ever compiled" in message


async def test_a_block_rule_that_never_compiled_keeps_its_host_from_ready(lab: Lab) -> None:
    """G1's one exception says so."""
    await _in_force(lab, rule(), rule("wrong", expression=BROKEN))
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "RuleNeverCompiled")
    assert lab.condition(Kind.HOST, "api", "Ready")[:2] == ("False", "RuleNeverCompiled")
    assert "/admin" in _script(lab)


async def test_a_rule_that_stops_compiling_keeps_its_last_good_version(lab: Lab) -> None:
    """G2."""
    await _in_force(lab, rule(), rule("other", match={"paths": ["/other"]}))
    before = _script(lab)
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": None, "expression": BROKEN}})
    await lab.settle()
    assert _script(lab) == before
    assert _rule_condition(lab, "Accepted")[:2] == ("False", "InvalidExpression")
    assert "last good version stays in force" in _rule_condition(lab, "Accepted")[2]
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    assert _rule_condition(lab, "Ready", "other")[0] == "True"


async def test_the_last_good_version_survives_a_restart(lab: Lab) -> None:
    """G2 and G7."""
    await _in_force(lab, rule())
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": None, "expression": BROKEN}})
    await lab.settle()
    before = _script(lab)
    await lab.restart()
    await lab.settle()
    await lab.pass_time(seconds=12)
    assert _script(lab) == before
    assert "last good version stays in force" in _rule_condition(lab, "Accepted")[2]


async def test_a_rule_that_breaks_while_the_operator_is_away_keeps_its_last_good_version(lab: Lab) -> None:
    await _in_force(lab, rule())
    before = _script(lab)
    await lab.stop()
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": None, "expression": BROKEN}})
    await lab.start()
    await lab.settle()
    assert _script(lab) == before


async def test_a_rule_made_again_under_the_same_name_does_not_inherit_a_last_good_version(lab: Lab) -> None:
    await _in_force(lab, rule())
    lab.cluster.remove(Kind.RULE, NAMESPACE, "admin")
    lab.cluster.make(rule(expression=BROKEN))
    await lab.settle()
    assert "never compiled" in _rule_condition(lab, "Accepted")[2]
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "RuleNeverCompiled")


async def test_a_mended_rule_comes_into_force(lab: Lab) -> None:
    await _in_force(lab, rule(expression=BROKEN))
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"expression": 'http.host eq "mended"'}})
    await lab.settle()
    assert "mended" in _script(lab)
    assert _rule_condition(lab, "Ready")[0] == "True"


async def test_a_deleted_rule_leaves_the_script(lab: Lab) -> None:
    await _in_force(lab, rule())
    lab.cluster.remove(Kind.RULE, NAMESPACE, "admin")
    await lab.settle()
    assert '"/admin"' not in _script(lab)
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "NoRules")


async def test_a_disabled_rule_decides_nothing_and_says_so(lab: Lab) -> None:
    await _in_force(lab, rule(enabled=False))
    assert '"/admin"' not in _script(lab)
    assert _rule_condition(lab, "Deployed")[:2] == ("True", "Disabled")
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "NoRules")


async def test_a_rule_that_moves_to_another_host_leaves_the_first(lab: Lab) -> None:
    lab.cluster.make(host("web"))
    await _in_force(lab, rule(hostRefs=[{"name": "api"}]))
    assert '"/admin"' in _script(lab, "api")
    assert '"/admin"' not in _script(lab, "web")
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"hostRefs": [{"name": "web"}]}})
    await lab.settle()
    assert '"/admin"' not in _script(lab, "api")
    assert '"/admin"' in _script(lab, "web")


async def test_a_rule_that_moves_with_a_mistake_in_it_stays_where_it_was_until_it_is_mended(lab: Lab) -> None:
    lab.cluster.make(host("web"))
    await _in_force(lab, rule(expression='http.host eq "/admin"', hostRefs=[{"name": "api"}]))
    moved = {"expression": "http.host eq", "hostRefs": [{"name": "web"}]}
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": moved})
    await lab.settle()
    assert '"/admin"' in _script(lab, "api")
    status, reason, message = _rule_condition(lab, "Accepted")
    assert (status, reason) == ("False", "InvalidExpression")
    assert message.endswith("The last good version stays in force.")
    assert {each["name"]: each["deployed"] for each in lab.status(Kind.RULE, "admin")["hosts"]} == {
        "api": True,
        "web": False,
    }
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"expression": 'http.host eq "/admin"'}})
    await lab.settle()
    assert '"/admin"' not in _script(lab, "api")
    assert '"/admin"' in _script(lab, "web")
    assert [each["name"] for each in lab.status(Kind.RULE, "admin")["hosts"]] == ["web"]


async def test_a_change_of_one_rule_reaches_a_connected_proxy_and_its_status(lab: Lab) -> None:
    await _in_force(lab, rule())
    proxy = next(iter(lab.proxies.values()))
    before = proxy.runs[names.RULES_FILTER]
    proxy.obedient = False
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/changed"]}}})
    await lab.settle()
    assert _rule_condition(lab, "Deployed")[:2] == ("False", "HostNotReady")
    lab.ack(proxy)
    await lab.settle()
    assert proxy.runs[names.RULES_FILTER] != before
    assert _rule_condition(lab, "Deployed")[0] == "True"


async def test_the_hosts_status_shows_the_enabled_rules_in_the_order_of_evaluation(lab: Lab) -> None:
    await _in_force(
        lab,
        rule("z-first", priority=0, action="Log"),
        rule("b", action="Skip"),
        rule("a"),
        rule("off", priority=1, enabled=False),
        rule("elsewhere", hostRefs=[{"name": "web"}]),
        rule("last", priority=1_000_000),
    )
    status = lab.status(Kind.HOST, "api")
    assert status["rules"] == [
        {"name": "z-first", "action": "Log", "priority": 0},
        {"name": "a", "action": "Block", "priority": 1000},
        {"name": "b", "action": "Skip", "priority": 1000},
        {"name": "last", "action": "Block", "priority": 1_000_000},
    ]
    assert status["ruleCount"] == 4
    script = _script(lab)
    places = [script.index(f'["name"] = "{shown["name"]}"') for shown in status["rules"]]
    assert places == sorted(places)
    assert '["name"] = "off"' not in script


async def test_a_priority_that_changes_changes_the_order(lab: Lab) -> None:
    await _in_force(lab, rule("a"), rule("b"))
    lab.cluster.edit(Kind.RULE, NAMESPACE, "a", {"spec": {"priority": 1001}})
    await lab.settle()
    assert [shown["name"] for shown in lab.status(Kind.HOST, "api")["rules"]] == ["b", "a"]


async def test_a_host_with_more_rules_than_a_status_can_hold_shows_the_first_and_counts_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer list would be refused by the schema, and the whole status with it."""
    monkeypatch.setattr(host_status, "SHOWN_RULES", 2)
    await _in_force(lab, *(rule(f"r{number}") for number in range(4)))
    status = lab.status(Kind.HOST, "api")
    assert [shown["name"] for shown in status["rules"]] == ["r0", "r1"]
    assert status["ruleCount"] == 4


OFFICE = rule(expression="not ip.src in $office_network")
ITEMS = {"data": {names.LIST_KEY: "10.0.0.2"}}
BROKEN_ITEMS = {"data": {names.LIST_KEY: "10.0.0.2\n10.0.0.300"}}


async def _with_list(lab: Lab) -> None:
    lab.cluster.make(named_list("office-network", "10.0.0.1", of="ip"))
    await _in_force(lab, OFFICE)


async def test_a_rule_with_a_named_list_is_deployed_with_what_it_holds(lab: Lab) -> None:
    await _with_list(lab)
    assert "0a0000010a000001" in _script(lab)
    assert _rule_condition(lab, "Ready")[0] == "True"
    assert lab.status(Kind.RULE, "admin")["expression"] == "not (ip.src in $office_network)"


async def test_a_changed_list_is_pushed_like_a_changed_rule(lab: Lab) -> None:
    await _with_list(lab)
    proxy = next(iter(lab.proxies.values()))
    before = proxy.runs[names.RULES_FILTER]
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office-network", ITEMS)
    await lab.settle()
    assert "0a0000020a000002" in _script(lab)
    assert proxy.runs[names.RULES_FILTER] != before
    assert _rule_condition(lab, "Ready")[0] == "True"


async def test_a_list_that_holds_the_same_as_before_changes_nothing(lab: Lab) -> None:
    """G6."""
    await _with_list(lab)
    lab.writes()
    lab.cluster.edit(
        Kind.CONFIG_MAP, NAMESPACE, "office-network", {"data": {names.LIST_KEY: "# x\n10.0.0.1\n"}}
    )
    await lab.settle()
    assert lab.writes() == []


async def test_a_list_of_another_namespace_is_not_seen(lab: Lab) -> None:
    """G2."""
    lab.cluster.make_namespace("other")
    lab.cluster.make(named_list("office-network", "10.0.0.1", of="ip", namespace="other"))
    await _in_force(lab, OFFICE)
    assert "there is no list $office_network" in _rule_condition(lab, "Accepted")[2]


async def test_a_rule_before_its_list_says_so_and_comes_into_force_with_it(lab: Lab) -> None:
    await _in_force(lab, OFFICE)
    status, reason, message = _rule_condition(lab, "Accepted")
    assert (status, reason) == ("False", "InvalidExpression")
    assert "there is no list $office_network" in message
    assert lab.condition(Kind.HOST, "api", "Ready")[:2] == ("False", "RuleNeverCompiled")
    lab.cluster.make(named_list("office-network", "10.0.0.1", of="ip"))
    await lab.settle()
    assert _rule_condition(lab, "Ready")[0] == "True"
    assert "0a0000010a000001" in _script(lab)


async def test_a_broken_list_names_its_line_and_leaves_what_was_in_force(lab: Lab) -> None:
    """G2."""
    await _with_list(lab)
    before = _script(lab)
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office-network", BROKEN_ITEMS)
    await lab.settle()
    assert _script(lab) == before
    status, reason, message = _rule_condition(lab, "Accepted")
    assert (status, reason) == ("False", "InvalidExpression")
    assert "the list $office_network: line 2" in message
    assert "last good version stays in force" in message
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"


async def test_a_list_that_is_deleted_or_loses_its_label_stays_as_it_was_over_a_restart(lab: Lab) -> None:
    """G2 and G7."""
    await _with_list(lab)
    before = _script(lab)
    lab.cluster.edit(
        Kind.CONFIG_MAP, NAMESPACE, "office-network", {"metadata": {"labels": {names.LIST_LABEL: None}}}
    )
    await lab.settle()
    assert "there is no list $office_network" in _rule_condition(lab, "Accepted")[2]
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, "office-network")
    await lab.restart()
    await lab.settle()
    await lab.pass_time(seconds=12)
    assert _script(lab) == before
    assert "last good version stays in force" in _rule_condition(lab, "Accepted")[2]
    lab.cluster.make(named_list("office-network", "10.0.0.2", of="ip"))
    await lab.settle()
    assert "0a0000020a000002" in _script(lab)
    assert _rule_condition(lab, "Ready")[0] == "True"


async def test_a_list_that_breaks_while_the_operator_is_away_stays_as_it_was(lab: Lab) -> None:
    await _with_list(lab)
    before = _script(lab)
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office-network", BROKEN_ITEMS)
    await lab.start()
    await lab.settle()
    assert _script(lab) == before


async def test_a_list_that_changes_while_the_operator_is_away_is_taken_up(lab: Lab) -> None:
    await _with_list(lab)
    await lab.stop()
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office-network", ITEMS)
    await lab.start()
    await lab.settle()
    assert "0a0000020a000002" in _script(lab)


def _many_addresses() -> list[str]:
    return [f"2001:db8:{number:x}::{'f' * 4}:{number:x}" for number in range(1, 34_000, 2)]


async def test_a_list_that_does_not_fit_leaves_the_last_good_configuration(lab: Lab) -> None:
    """G2."""
    await _with_list(lab)
    before = _script(lab)
    lines = "\n".join(_many_addresses())
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office-network", {"data": {names.LIST_KEY: lines}})
    await lab.settle()
    assert _script(lab) == before
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", "ConfigTooLarge")


def _lose_ca(lab: Lab) -> None:
    lab.cluster.remove(Kind.SECRET, names.OPERATOR_NAMESPACE, names.authority_secret(NAMESPACE, 1))


def _lose_hostname(lab: Lab) -> None:
    lab.cluster.edit(Kind.HOST, NAMESPACE, "api", {"spec": {"hostnames": ["aaa.example.com"]}})


def _fill_up(lab: Lab) -> None:
    lab.cluster.make(named_list("huge", *_many_addresses(), of="ip"))
    lab.cluster.make(rule("huge", expression="ip.src in $huge"))


OBSTACLES = pytest.mark.parametrize(
    ("act", "reason"),
    [(_lose_ca, "CAMissing"), (_lose_hostname, "HostnameConflict"), (_fill_up, "ConfigTooLarge")],
    ids=["CAMissing", "HostnameConflict", "ConfigTooLarge"],
)


@OBSTACLES
async def test_what_could_not_be_written_is_not_said_to_be_in_force(
    lab: Lab, act: Callable[[Lab], None], reason: str
) -> None:
    """G4: proxies have acknowledged the last configuration, which has none of it."""
    lab.cluster.make(host("aaa"))
    lab.cluster.make(named_list("office", "192.0.2.1", of="ip"))
    here = {"hostRefs": [{"name": "api"}]}
    listed = rule("listed", expression="ip.src in $office", **here)
    await _in_force(lab, rule(**here), rule("changed", **here), rule("off", **here), listed)
    act(lab)
    await lab.settle()
    before, status = _script(lab), lab.status(Kind.HOST, "api")
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", reason)
    fills = reason == "ConfigTooLarge"  # with a rule that is itself not in force
    assert lab.condition(Kind.HOST, "api", "Enforced")[0] == ("False" if fills else "True")
    lab.cluster.make(rule("new", match={"paths": ["/new"]}, **here))
    lab.cluster.edit(Kind.RULE, NAMESPACE, "changed", {"spec": {"match": {"paths": ["/changed"]}}})
    lab.cluster.edit(Kind.RULE, NAMESPACE, "off", {"spec": {"enabled": False}})
    lab.cluster.edit(Kind.CONFIG_MAP, NAMESPACE, "office", {"data": {names.LIST_KEY: "192.0.2.2"}})
    await lab.settle()
    await lab.pass_time(minutes=6)
    assert _script(lab) == before
    for name in ("new", "changed", "off", "listed"):
        deployed = _rule_condition(lab, "Deployed", name)
        assert deployed[:2] == ("False", "HostNotReady"), name
        assert lab.condition(Kind.HOST, "api", "Programmed")[2] in deployed[2]
        assert _rule_condition(lab, "Ready", name)[0] == "False"
    assert "Not yet disabled" in _rule_condition(lab, "Deployed", "off")[2]
    assert _rule_condition(lab, "Deployed")[:2] == ("True", "Deployed"), "as it was, it is in force"
    assert lab.condition(Kind.HOST, "api", "Enforced")[:2] == ("False", "Pending")
    after = lab.status(Kind.HOST, "api")
    assert [entry["name"] for entry in after["rules"]] == ["admin", "changed", "listed", "off"]
    assert (after["rules"], after["clientCAs"]) == (status["rules"], status["clientCAs"])
    assert after["clientCAs"]


async def test_a_disabled_rule_that_does_not_compile_is_not_said_to_decide_nothing(lab: Lab) -> None:
    """What was in force before stays, and that was not disabled."""
    await _in_force(lab, rule())
    before = _script(lab)
    spec = {"match": None, "expression": BROKEN, "enabled": False}
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": spec})
    await lab.settle()
    assert _script(lab) == before
    assert _rule_condition(lab, "Deployed")[:2] == ("False", "LastGoodInForce")


async def test_a_disabled_rule_without_any_proxy_decides_nothing(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule(enabled=False))
    await lab.start()
    await lab.settle()
    assert _rule_condition(lab, "Deployed")[:2] == ("True", "Disabled")


async def test_a_rule_is_not_said_to_be_disabled_before_every_proxy_has_it(lab: Lab) -> None:
    await _in_force(lab, rule())
    proxy = next(iter(lab.proxies.values()))
    proxy.obedient = False
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"enabled": False}})
    await lab.settle()
    assert _rule_condition(lab, "Deployed")[:2] == ("False", "HostNotReady")
    lab.ack(proxy)
    await lab.settle()
    assert _rule_condition(lab, "Deployed")[:2] == ("True", "Disabled")
