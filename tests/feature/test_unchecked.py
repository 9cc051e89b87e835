"""The webhook fails open: what came meanwhile is checked by the operator, and its author is told (G2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.cluster import Body, Kind
from mtls_operator.controller import unchecked
from mtls_operator.controller.unchecked import REASON
from mtls_operator.plan.admission import Verdict, judge

BROKEN = {"match": None, "expression": 'http.request.uri.path eq "/a" und ssl'}


def told(lab: Lab) -> list[tuple[str, str]]:
    return [(kind, message) for kind, reason, message in lab.events() if reason == REASON]


async def test_a_rule_that_came_while_the_webhook_was_away_is_in_force_and_has_a_warning(lab: Lab) -> None:
    lab.webhook_is_there = False
    lab.cluster.make(host())
    lab.cluster.make(rule())
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    await lab.pass_time(seconds=3)
    assert lab.condition(Kind.RULE, "admin", "Ready")[0] == "True"
    assert [kind for kind, _ in told(lab)] == ["Warning", "Warning"]


async def test_a_mistake_that_the_webhook_did_not_see_is_in_the_status_and_in_an_event(lab: Lab) -> None:
    lab.webhook_is_there = False
    await lab.start()
    lab.cluster.make(rule(**BROKEN))
    await lab.settle()
    assert lab.condition(Kind.RULE, "admin", "Accepted")[:2] == ("False", "InvalidExpression")
    ((kind, message),) = told(lab)
    assert kind == "Warning"
    assert "line 1, column 31" in message


async def test_an_unreadable_host_has_an_event_too(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(host(nonsense=1))
    await lab.settle()
    ((kind, message),) = told(lab)
    assert kind == "Warning"
    assert "spec.nonsense" in message


async def test_an_old_mistake_is_not_news_after_a_restart_or_when_its_labels_change(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(rule(**BROKEN))
    await lab.settle()
    await lab.restart()
    await lab.settle()
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"metadata": {"labels": {"a": "b"}}})
    await lab.settle()
    assert len(told(lab)) == 1


async def test_with_the_webhook_there_no_event_says_otherwise(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate(emails=["ops@example.com"]))
    await lab.start()
    await lab.settle()
    assert told(lab) == []


async def test_plain_certificates_bring_no_events_while_the_webhook_is_away(lab: Lab) -> None:
    lab.webhook_is_there = False
    await lab.start()
    for number in range(20):
        lab.cluster.make(certificate(f"c-{number}"))
    await lab.settle()
    assert lab.state("c-19") == "Active"
    assert told(lab) == []


async def test_nothing_is_judged_on_the_event_loop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule may take a tenth of a second, and the loop carries the revocations of others."""
    judged, aside = list[str](), list[Callable[[], Any]]()

    def noting(kind: str, body: Body, **options: Any) -> Verdict:
        judged.append(kind)
        return judge(kind, body, **options)

    async def in_a_thread(work: Callable[[], Any]) -> Any:
        aside.append(work)
        return work()

    monkeypatch.setattr(unchecked, "judge", noting)
    await lab.start()
    lab.process.context.aside = in_a_thread
    lab.cluster.make(rule(**BROKEN))
    await lab.settle()
    judging = [work for work in aside if getattr(work, "func", None) is noting]
    assert len(told(lab)) == len(judged) == len(judging) == 1
