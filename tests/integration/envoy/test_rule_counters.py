"""Counters of what rules decided, on the status port: by host, rule and action, by nothing that a client chooses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.envoy import eventually
from tests.support.lab import ADMIN, HOST, Lab

from mtls_operator.envoy import RuleScript, listener

SERIES = re.compile(r'envoy_mtls_rule_decisions\{host="([^"]*)",rule="([^"]*)",action="([^"]*)"\} (\d+)')
PATH = 'f["http.request.uri.path"]'


@pytest.fixture(scope="module")
def shared_counting_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("counting"), concurrency=2)
    yield lab
    lab.close()


@pytest.fixture
def counting_lab(shared_counting_lab: Lab) -> Lab:
    """A proxy with two workers whose counters only the tests of this module move."""
    shared_counting_lab.reset()
    return shared_counting_lab


def counters(lab: Lab) -> Counter[tuple[str, str]]:
    status, text = lab.proxy.status("/metrics")
    assert status == 200
    found = SERIES.findall(text)
    assert {host for host, _, _, _ in found} <= {"api"}
    return Counter({(rule, action): int(value) for _, rule, action, value in found})


def gained(lab: Lab, before: Counter[tuple[str, str]], expected: dict[tuple[str, str], int]) -> None:
    """Wait until exactly this was counted; counting happens when a request ends, just after its answer."""
    eventually(lambda: counters(lab) - before == expected, f"{expected} is counted", seconds=3)


def send(lab: Lab, *paths: str, person: str | None = None, host: str = HOST) -> None:
    with lab.http1(person) as client:
        for path in paths:
            client.get(path, host)


def test_a_block_counts_for_its_rule(counting_lab: Lab) -> None:
    before = counters(counting_lab)
    send(counting_lab, "/admin", "/admin", "/", "/public")
    send(counting_lab, "/admin", person="good")
    gained(counting_lab, before, {("admin", "block"): 2})


def test_skips_and_logs_count_for_theirs_and_the_deciding_rule_too(counting_lab: Lab) -> None:
    rules = (
        RuleScript("seen", "log", (), "true"),
        RuleScript("admins", "log", (), f'{PATH} == "/admin"'),
        RuleScript("health", "skip", (), f'{PATH} == "/health"'),
        ADMIN,
    )
    counting_lab.push_rules(replace(counting_lab.rules, rules=rules))
    before = counters(counting_lab)
    send(counting_lab, "/admin", "/health", "/other")
    gained(
        counting_lab,
        before,
        {("seen", "log"): 3, ("admins", "log"): 1, ("health", "skip"): 1, ("admin", "block"): 1},
    )


def test_refusals_without_a_rule_count_by_their_reason(counting_lab: Lab) -> None:
    before = counters(counting_lab)
    send(counting_lab, "/", host="evil.example.com")
    send(counting_lab, "/%01")
    counting_lab.push_revocation("-- mtls-revocation 1\nfunction envoy_on_request(handle) error('x') end\n")
    send(counting_lab, "/", person="good")
    gained(counting_lab, before, {("", "misdirected"): 1, ("", "malformed"): 1, ("", "unknown"): 1})


def test_rules_beyond_the_ninth_of_a_request_are_counted_together(counting_lab: Lab) -> None:
    many = tuple(RuleScript(f"many-{number:02}", "log", (), "true") for number in range(12))
    counting_lab.push_rules(replace(counting_lab.rules, rules=many))
    before = counters(counting_lab)
    send(counting_lab, "/", "/")
    named = {(f"many-{number:02}", "log"): 2 for number in range(9)}
    gained(counting_lab, before, {**named, ("+more", "log"): 6})


def test_counters_go_on_when_rules_change(counting_lab: Lab) -> None:
    before = counters(counting_lab)
    send(counting_lab, "/admin")
    gained(counting_lab, before, {("admin", "block"): 1})
    for _ in range(3):
        counting_lab.push_rules(counting_lab.rules)
    send(counting_lab, "/admin")
    gained(counting_lab, before, {("admin", "block"): 2})


def test_no_text_of_a_client_becomes_a_label(counting_lab: Lab) -> None:
    counting_lab.push_rules(replace(counting_lab.rules, rules=(RuleScript("all", "block", (), "true"),)))
    series = set(counters(counting_lab))
    headers = [
        ("x-request-id", "l1"),
        ("user-agent", "l2"),
        ("action", "l3"),
        ("rule", "l4"),
        ("host-name", "l5"),
    ]
    with counting_lab.http2("foreign") as client:
        for number in range(50):
            assert client.get(f"/{number}?{number}", HOST, headers).status == 403
            assert client.get("/", f"h{number}.example.com", headers).status == 421
    known = series | {("all", "block"), ("", "misdirected")}
    eventually(lambda: ("all", "block") in counters(counting_lab), "the refusals are counted", seconds=3)
    assert set(counters(counting_lab)) <= known


def test_an_unusual_name_of_a_rule_is_a_label_as_it_stands(counting_lab: Lab) -> None:
    name = "a.b-c.9" + ".x" * 100
    counting_lab.push_rules(replace(counting_lab.rules, rules=(RuleScript(name, "block", (), "true"),)))
    before = counters(counting_lab)
    send(counting_lab, "/")
    gained(counting_lab, before, {(name, "block"): 1})


def test_the_number_of_series_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtls_operator.envoy.rule_counters.MOST_SERIES", 5)
    lab = Lab(tmp_path)
    try:
        assert '"max_counters": 5' in listener(lab.config, lab.site.placement)
        for number in range(9):
            lab.push_rules(replace(lab.rules, rules=(RuleScript(f"r-{number}", "block", (), "true"),)))
            send(lab, "/")
        eventually(lambda: len(counters(lab)) == 5, "five series exist", seconds=3)
        assert lab.proxy.status("/ready")[0] == 200
    finally:
        lab.close()


def test_nothing_is_wrong_in_the_proxys_eyes(counting_lab: Lab) -> None:
    log = counting_lab.proxy.log.read_text()
    assert "Stats access logger" not in log
    assert "formatter" not in log
