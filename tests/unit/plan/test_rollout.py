"""The verdict on a host's proxies: the gravest reason wins (G4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mtls_operator.api.reason import Reason
from mtls_operator.plan.rollout import (
    Files,
    Pod,
    Proxy,
    StreamState,
    Wanted,
    lagging,
    roll_out,
    rules_in_force,
)

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = Files("l", "c", "s")
WANTED = Wanted(rules="r2", revocation="v2", files=FILES)


def _stream(version: str, *, connected: bool = True, error: str = "") -> StreamState:
    return StreamState(connected=connected, version=version, error=error, since=SINCE)


def _proxy(name: str = "api-1", **changes: Any) -> Proxy:
    pod: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": name,
        "host": "api",
        "address": "10.0.0.1",
        "running": True,
        "ending": False,
        "injected": True,
    }
    for key in list(changes):
        if key in pod:
            pod[key] = changes.pop(key)
    fields: dict[str, Any] = {"rules": _stream("r2"), "revocation": _stream("v2"), "files": FILES}
    return Proxy(pod=Pod(**pod), **(fields | changes))


CUT_OFF: dict[str, Any] = {
    "rules": _stream("r2", connected=False),
    "revocation": _stream("v2", connected=False),
}


@pytest.mark.parametrize(
    ("proxies", "reason"),
    [
        ([], Reason.NO_PODS),
        ([_proxy(running=False, **CUT_OFF)], Reason.NO_PODS),
        ([_proxy()], None),
        ([_proxy(), _proxy("bare", injected=False)], Reason.PODS_WITHOUT_PROXY),
        ([_proxy(rules=_stream("r1", error="no"))], Reason.PROXY_REJECTED),
        ([_proxy(revocation=_stream("v1", error="no"))], Reason.PROXY_REJECTED),
        ([_proxy(rules=_stream("r2", error="an older one"))], None),
        ([_proxy(**CUT_OFF)], Reason.PROXY_DISCONNECTED),
        ([_proxy(rules=None, revocation=None)], Reason.PROXY_PENDING),
        ([_proxy(revocation=None)], Reason.PROXY_PENDING),
        ([_proxy(rules=None)], Reason.PROXY_PENDING),
        ([_proxy(rules=_stream("r1"))], Reason.PROXY_PENDING),
        ([_proxy(revocation=_stream("v1"))], Reason.PROXY_PENDING),
        ([_proxy(files=None)], Reason.PROXY_PENDING),
        ([_proxy(files=Files("l", "old", "s"))], Reason.PROXY_PENDING),
        ([_proxy(**CUT_OFF), _proxy("b", rules=_stream("r1", error="no"))], Reason.PROXY_REJECTED),
        ([_proxy(), _proxy("b", ending=True, **CUT_OFF)], None),
        ([_proxy(), _proxy("b", ending=True, rules=_stream("r1"))], Reason.PROXY_PENDING),
    ],
)
def test_the_verdict(proxies: list[Proxy], reason: Reason | None) -> None:
    assert roll_out(WANTED, proxies).reason is reason


def test_a_refusal_is_told_in_the_proxys_own_words() -> None:
    verdict = roll_out(WANTED, [_proxy(rules=_stream("r1", error="unexpected symbol near '<'"))])
    assert "unexpected symbol near '<'" in verdict.message
    assert "api-1" in verdict.message


def test_the_counts_are_those_of_the_proxies_that_can_answer() -> None:
    proxies = [
        _proxy(),
        _proxy("b", rules=_stream("r1")),
        _proxy("c", **CUT_OFF),
        _proxy("d", injected=False),
    ]
    verdict = roll_out(WANTED, [*proxies, _proxy("gone", running=False, **CUT_OFF)])
    assert (verdict.pods, verdict.injected, verdict.connected, verdict.current) == (4, 3, 3, 2)


def test_many_pods_are_named_by_three_of_them() -> None:
    verdict = roll_out(WANTED, [_proxy(f"api-{number}", files=None) for number in range(9)])
    assert "6 more" in verdict.message


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ([], False),
        ([_proxy()], True),
        ([_proxy(files=None, revocation=_stream("v1"))], True),
        ([_proxy(), _proxy("b", rules=_stream("r1"))], False),
        ([_proxy(**CUT_OFF)], False),
    ],
)
def test_rules_are_in_force_when_every_proxy_runs_them(proxies: list[Proxy], expected: bool) -> None:  # noqa: FBT001
    assert rules_in_force(WANTED, proxies) is expected


def test_a_proxy_lags_until_it_is_connected_and_runs_the_list() -> None:
    proxies = [
        _proxy("current"),
        _proxy("behind", revocation=_stream("v1")),
        _proxy("away", **CUT_OFF),
        _proxy("starting", running=False, rules=None, revocation=None),
        _proxy("ending", ending=True, **CUT_OFF),
        _proxy("ended", running=False, ending=True, **CUT_OFF),
    ]
    assert [pod.name for pod in lagging(proxies, "v2")] == ["behind", "away", "ending"]
