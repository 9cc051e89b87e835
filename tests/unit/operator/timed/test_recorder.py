"""Events: best effort, in the background, and never in anybody's way."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.api.meta import Meta
from mtls_operator.cluster import Body, RejectedError
from mtls_operator.controller.recorder import DRAIN_SECONDS, Recorder

META = Meta("shop", "gateway-7", uid="u-1")
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(slots=True)
class Server:
    """Takes Events; hangs or fails when told to."""

    posted: list[Body] = field(default_factory=list)
    error: Exception | None = None
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, body: Body) -> Body:
        await self.answering.wait()
        if self.error is not None:
            raise self.error
        self.posted.append(body)
        return body


@pytest.fixture
def server() -> Server:
    made = Server()
    made.answering.set()
    return made


@pytest.fixture
def recorder(server: Server) -> Recorder:
    return Recorder(server, lambda: NOW)  # type: ignore[arg-type]  # the one method that it uses


def record(recorder: Recorder, *, meta: Meta = META, message: str = "Issued.", warning: bool = False) -> None:
    recorder.record(names.CERTIFICATE_KIND, meta, reason="Issued", message=message, warning=warning)


async def test_an_event_is_about_its_object_and_from_us(server: Server, recorder: Recorder) -> None:
    record(recorder)
    await recorder.drain()
    (event,) = server.posted
    assert event["involvedObject"] == {
        "apiVersion": names.API_VERSION,
        "kind": "ClientCertificate",
        "namespace": "shop",
        "name": "gateway-7",
        "uid": "u-1",
    }
    assert (event["metadata"]["namespace"], event["type"], event["reason"], event["message"]) == (
        "shop",
        "Normal",
        "Issued",
        "Issued.",
    )
    assert event["source"] == {"component": "mtls-operator"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-03-01T12:00:00Z"


async def test_a_warning_is_one(server: Server, recorder: Recorder) -> None:
    record(recorder, warning=True)
    await recorder.drain()
    assert server.posted[0]["type"] == "Warning"


async def test_recording_does_not_wait_for_the_api_server(server: Server, recorder: Recorder) -> None:
    server.answering.clear()
    record(recorder)
    assert server.posted == []
    server.answering.set()
    await recorder.drain()
    assert len(server.posted) == 1


@pytest.mark.parametrize(
    "name", ["a", "a" * 253, "a" * 199 + "." + "b" * 53, "a" * 199 + "-" + "b" * 53, "a.b-c"]
)
async def test_the_name_of_an_event_is_one_that_the_api_server_takes(
    server: Server, recorder: Recorder, name: str
) -> None:
    record(recorder, meta=Meta("shop", name, uid="u-1"))
    await recorder.drain()
    made = server.posted[0]["metadata"]["name"]
    assert SUBDOMAIN.fullmatch(made)
    assert len(made) <= 253


async def test_two_events_about_one_object_have_two_names(server: Server, recorder: Recorder) -> None:
    record(recorder, message="Issued.")
    record(recorder, message="Issued again.")
    await recorder.drain()
    assert len({event["metadata"]["name"] for event in server.posted}) == 2


async def test_a_message_is_cut_to_what_the_api_server_takes(server: Server, recorder: Recorder) -> None:
    record(recorder, message="x" * 5000)
    await recorder.drain()
    assert len(server.posted[0]["message"]) <= 1024


async def test_an_event_that_is_refused_is_logged_and_nothing_else(
    server: Server, recorder: Recorder, logged: list[Any]
) -> None:
    server.error = RejectedError("events is forbidden")
    record(recorder)
    await recorder.drain()
    assert [(line["event"], line["reason"], line["error"]) for line in logged] == [
        ("event.lost", "Issued", "events is forbidden")
    ]


async def test_too_many_that_wait_are_dropped_and_said_so(
    server: Server, recorder: Recorder, logged: list[Any]
) -> None:
    """A storm of transitions while the API server is slow must not fill the memory."""
    server.answering.clear()
    for number in range(300):
        record(recorder, message=str(number))
    assert len([line for line in logged if line["event"] == "event.dropped"]) == 44
    server.answering.set()
    await recorder.drain()
    assert len(server.posted) == 256


async def test_the_end_does_not_wait_for_an_api_server_that_is_gone(
    server: Server, recorder: Recorder, logged: list[Any]
) -> None:
    server.answering.clear()
    record(recorder)
    clock = asyncio.get_running_loop().time
    began = clock()
    await recorder.drain()
    assert clock() - began == pytest.approx(DRAIN_SECONDS, abs=0.1)
    assert [(line["event"], line["count"]) for line in logged] == [("event.abandoned", 1)]


async def test_with_nothing_to_post_the_end_is_at_once(recorder: Recorder) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    await recorder.drain()
    assert clock() - began < 0.1
