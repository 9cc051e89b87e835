"""What the rules script notes about a request for the access log and the counters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy import rule_counters
from mtls_operator.envoy.script import call

EPOCH = 1_764_000_000_000
#: Runs the script on a request and returns what it noted.
HARNESS = """
local record, action, deciding, names, facts = ...
local noted = {}
local metadata = { set = function(_, space, key, value) assert(space == "mtls"); noted[key] = value end }
-- As Envoy: nothing is returned, not even nil, for what is not set.
local state = { get = function(_, name)
  if name == "mtls.revoked" and facts.said then return facts.said end
end }
local ssl = {
  subjectPeerCertificate = function() return facts.subject end,
  serialNumberPeerCertificate = function() return facts.serial end,
}
local request = {
  info = { dynamicMetadata = function() return metadata end, downstreamSslConnection = function() return ssl end },
  state = state,
}
if facts ~= nil then
  for name, value in pairs(facts) do request[name] = value end
end
local logs = {}
for position = 1, #names do logs[position] = { name = names[position], action = "log" } end
record(request, action, deciding and { name = deciding, action = action } or nil, logs)
return noted
"""

LUA = LuaRuntime()
RECORD: Any = LUA.eval(call("record", str(EPOCH)))
RUN: Any = LUA.eval(f"function(...) {HARNESS} end")


def plain(value: Any) -> Any:
    """Return a Lua value as Python data."""
    if not hasattr(value, "items"):
        return value
    entries = {key: plain(inner) for key, inner in value.items()}
    if entries and all(isinstance(key, int) for key in entries):
        return [entries[key] for key in sorted(entries)]
    return entries


def noted(action: str, rule: str | None, *logs: str, facts: dict[str, Any] | None = None) -> dict[str, Any]:
    names = LUA.table_from(list(logs))
    given = None if facts is None else LUA.table_from(facts)
    found: dict[str, Any] = plain(RUN(RECORD, action, rule, names, given))
    return found


def counts(found: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Return what the two loggers add, as the listener configures them."""
    added: Counter[tuple[str, str]] = Counter()
    if found.get("counted"):
        added[found["count"]["rule"], found["count"]["action"]] += 1
    if found.get("several"):
        for slot in rule_counters.SLOTS:
            each = found["more"][slot]
            added[each["rule"], each["action"]] += each["add"]
    return added


def test_a_block_is_noted_with_its_rule_and_the_epoch() -> None:
    found = noted("block", "admin")
    assert found["logged"] is True
    assert found["log"] == {"action": "block", "rule": "admin", "rules_epoch": EPOCH}
    assert counts(found) == {("admin", "block"): 1}


def test_a_skip_alone_is_counted_and_not_logged() -> None:
    found = noted("skip", "health")
    assert "logged" not in found
    assert counts(found) == {("health", "skip"): 1}


def test_a_skip_behind_a_log_rule_is_logged_with_both() -> None:
    found = noted("skip", "health", "watch")
    assert (found["log"]["action"], found["log"]["rule"], found["log"]["log_rules"]) == (
        "skip",
        "health",
        ["watch"],
    )
    assert counts(found) == {("health", "skip"): 1, ("watch", "log"): 1}


def test_a_log_rule_alone_decides_nothing() -> None:
    found = noted("log", None, "watch")
    assert "rule" not in found["log"]
    assert counts(found) == {("watch", "log"): 1}


@pytest.mark.parametrize("action", ["malformed", "misdirected", "unknown"])
def test_a_refusal_without_a_rule_is_counted_under_no_name(action: str) -> None:
    assert counts(noted(action, None)) == {("", action): 1}


@pytest.mark.parametrize("deciding", [None, "last"])
@pytest.mark.parametrize("number", [0, 1, 2, 7, 8, 9, 10, 11, 100])
def test_every_rule_that_applied_is_counted_once_or_among_the_rest(number: int, deciding: str | None) -> None:
    logs = [f"log-{each}" for each in range(number)]
    if not logs and deciding is None:
        return
    added = counts(noted("block" if deciding else "log", deciding, *logs))
    assert sum(added.values()) == number + (deciding is not None)
    assert {name for name, _ in added} <= {*logs, deciding, "+more"}
    assert all(amount == 1 for (name, _), amount in added.items() if name != "+more")


def test_a_line_names_a_bounded_number_of_rules() -> None:
    names = noted("log", None, *(f"log-{each}" for each in range(1000)))["log"]["log_rules"]
    assert (len(names), names[0], names[-1]) == (33, "log-0", "+968 more")


CERTIFICATE = {
    "presented": True,
    "verified": True,
    "revoked": False,
    "unknown": False,
    "subject": "CN=a",
    "serial": "0a",
}


def test_the_certificates_facts_are_those_that_the_rules_saw() -> None:
    line = noted("block", "admin", facts={**CERTIFICATE, "said": f"0 {EPOCH + 7}"})["log"]
    assert {key: line[key] for key in CERTIFICATE} == CERTIFICATE
    assert line["revocation_epoch"] == EPOCH + 7


def test_a_request_whose_revocation_state_nobody_told_is_noted_too() -> None:
    line = noted("unknown", None, facts={**CERTIFICATE, "unknown": True})["log"]
    assert (line["unknown"], "revocation_epoch" in line) == (True, False)


def test_without_a_certificate_there_is_nothing_to_say_about_it() -> None:
    facts = {"presented": False, "verified": False, "revoked": False, "unknown": False}
    line = noted("block", "admin", facts=facts)["log"]
    assert (line["presented"], line["verified"]) == (False, False)
    assert {"subject", "serial", "revocation_epoch"}.isdisjoint(line)


def test_a_certificate_cannot_fill_the_log() -> None:
    facts = {**CERTIFICATE, "subject": "CN=" + "a" * 60_000, "serial": "0a" * 60_000}
    line = noted("block", "admin", facts=facts)["log"]
    assert (len(line["subject"]), len(line["serial"])) == (256, 64)
