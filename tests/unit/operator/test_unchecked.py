"""Objects that were stored while nobody checked them: one Event each, and only where it is true."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from tests.support.builders import NAMESPACE, certificate, host, rule
from tests.unit.operator.context import Place

from mtls_operator.cluster import Body, Kind
from mtls_operator.controller.unchecked import REASON, Unchecked

BROKEN = 'http.request.uri.path eq "/a" und ssl'


class Webhook:
    """A webhook that is there or not, and counts how often it is asked."""

    def __init__(self) -> None:
        self.ready = False
        self.asked = 0

    async def answers(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        return self.ready


@pytest.fixture
def webhook() -> Webhook:
    return Webhook()


@pytest.fixture
async def unchecked(place: Place, webhook: Webhook) -> Unchecked:
    return Unchecked(place.context(), webhook.answers)


def stored(body: Body, *, generation: int = 1, reported: int | None = None, **metadata: Any) -> Body:
    """Return an object as the API server has it; its status is about the generation ``reported``."""
    made = copy.deepcopy(body)
    made["metadata"] |= {"uid": f"u-{body['metadata']['name']}", "generation": generation, **metadata}
    if reported is not None:
        made["status"] = {"conditions": [{"type": "Accepted", "observedGeneration": reported}]}
    return made


async def events(place: Place, unchecked: Unchecked) -> list[tuple[str, str, str]]:
    """Return type, name of the object and message of the Events, once all is done."""
    await asyncio.gather(*unchecked._tasks)
    await unchecked.context.recorder.drain()
    found = place.server.all(Kind.EVENT, NAMESPACE)
    assert {event["reason"] for event in found} <= {REASON}
    return [(event["type"], event["involvedObject"]["name"], event["message"]) for event in found]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.RULE, rule("x")),
        (Kind.HOST, host("x")),
        (Kind.CERTIFICATE, certificate("x", emails=["ops@example.com"])),
    ],
)
async def test_an_object_that_came_while_the_webhook_was_away_gets_a_warning(
    place: Place, unchecked: Unchecked, kind: Kind, body: Body
) -> None:
    unchecked.seen(kind, stored(body))
    ((kind_of_event, name, message),) = await events(place, unchecked)
    assert (kind_of_event, name) == ("Warning", "x")
    assert "does not answer" in message
    assert "found no mistake" in message


async def test_with_the_webhook_there_nothing_is_said(
    place: Place, unchecked: Unchecked, webhook: Webhook
) -> None:
    webhook.ready = True
    unchecked.seen(Kind.RULE, stored(rule()))
    assert await events(place, unchecked) == []


@pytest.mark.parametrize("ready", [True, False])
async def test_a_mistake_that_was_stored_is_named_whether_or_not_the_webhook_is_back(
    place: Place, unchecked: Unchecked, webhook: Webhook, *, ready: bool
) -> None:
    webhook.ready = ready
    unchecked.seen(Kind.RULE, stored(rule("x", expression=BROKEN)))
    ((kind_of_event, _, message),) = await events(place, unchecked)
    assert kind_of_event == "Warning"
    assert "line 1, column 31" in message
    assert "did not answer, or the mistake is older" in message


async def test_what_a_status_is_about_already_is_old_news(place: Place, unchecked: Unchecked) -> None:
    """After a restart or an upgrade, and with every change of status, labels and finalizers."""
    unchecked.seen(Kind.RULE, stored(rule(expression=BROKEN), generation=3, reported=3))
    assert await events(place, unchecked) == []


async def test_each_spec_is_looked_at_once(place: Place, unchecked: Unchecked) -> None:
    for _ in range(3):
        unchecked.seen(Kind.RULE, stored(rule("x")))
    assert len(await events(place, unchecked)) == 1
    place.clock.add(seconds=1)
    unchecked.seen(Kind.RULE, stored(rule("x", priority=5), generation=2, reported=1))
    assert len(await events(place, unchecked)) == 2


async def test_what_is_being_deleted_is_left_alone(place: Place, unchecked: Unchecked) -> None:
    unchecked.seen(Kind.RULE, stored(rule(), deletionTimestamp="2026-03-01T12:00:00Z"))
    assert await events(place, unchecked) == []


async def test_certificates_that_the_webhook_is_never_asked_about_cost_nothing(
    place: Place, unchecked: Unchecked, webhook: Webhook
) -> None:
    for number in range(100):
        unchecked.seen(Kind.CERTIFICATE, stored(certificate(f"c-{number}")))
    assert await events(place, unchecked) == []
    assert webhook.asked == 0


async def test_many_objects_at_once_ask_one_question(
    place: Place, unchecked: Unchecked, webhook: Webhook
) -> None:
    for number in range(50):
        unchecked.seen(Kind.HOST, stored(host(f"h-{number}")))
    assert len(await events(place, unchecked)) == 50
    assert webhook.asked == 1


async def test_more_than_it_can_look_at_are_dropped_with_a_line_in_the_log(
    unchecked: Unchecked, logged: list[Any]
) -> None:
    for number in range(300):
        unchecked.seen(Kind.HOST, stored(host(f"h-{number}")))
    assert len(unchecked._tasks) == 256
    assert [line["event"] for line in logged].count("unchecked.dropped") == 44
    await asyncio.gather(*unchecked._tasks)


async def test_nothing_is_remembered_of_what_is_reported_or_gone(unchecked: Unchecked) -> None:
    unchecked.seen(Kind.RULE, stored(rule("a")))
    unchecked.seen(Kind.RULE, stored(rule("b")))
    unchecked.seen(Kind.RULE, stored(rule("a"), reported=1))
    unchecked.gone(Kind.RULE, stored(rule("b")))
    assert unchecked._new == {}
    await asyncio.gather(*unchecked._tasks)


async def test_the_log_says_once_that_the_webhook_went_and_came_back(
    place: Place, unchecked: Unchecked, webhook: Webhook, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_operator.controller.unchecked.ANSWER_SECONDS", -1.0)
    for number, ready in enumerate((False, False, True, True)):
        webhook.ready = ready
        unchecked.seen(Kind.HOST, stored(host(f"h-{number}")))
        await events(place, unchecked)
    said = [line["event"] for line in logged if line["event"].startswith("webhook.")]
    assert said == ["webhook.away", "webhook.answers"]
