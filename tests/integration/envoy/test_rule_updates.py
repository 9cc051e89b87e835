"""A new set of rules: all of it at once, on every open connection, within 0.2 s. Two sets are swapped under load.

Each set is one version: its rules name it, in the answer of the Block and in the names of the Log rules before it. An
answer of one version and a Log rule of another in one request would be a mixture.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import h2.events
import pytest
from tests.support.clients import Http2
from tests.support.envoy import eventually
from tests.support.lab import HOST, Lab

from mtls_operator.envoy import RuleScript

#: What a change may take to be in force on open connections, in seconds.
WITHIN = 0.2
SWAPS = 20
RULES = 12
#: Streams that are open at once on each HTTP/2 connection.
STREAMS = 8


@pytest.fixture(scope="module")
def busy_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("busy"), concurrency=2)
    yield lab
    lab.close()


def version(lab: Lab, number: int) -> str:
    """Return the script of a version: Log rules around one Block, which answers with the version."""
    logs = [RuleScript(f"v{number}-{position:02}", "log", (), "true") for position in range(RULES)]
    block = RuleScript(f"v{number}-block", "block", (), "true", 403, "text/plain", f"v{number}")
    return lab.rules_text(replace(lab.rules, rules=(*logs, block)))


@dataclass(slots=True)
class Asker:
    """A client that keeps asking on one connection, and notes what it was told and when."""

    answers: list[tuple[float, float, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def note(self, asked: float, status: int, body: bytes) -> None:
        if status != 403 or not body.startswith(b"v"):
            self.failures.append(f"{status} {body[:80]!r}")
        else:
            self.answers.append((asked, time.monotonic(), int(body[1:])))


def ask_http1(lab: Lab, asker: Asker, ended: threading.Event) -> None:
    with lab.http1("good") as client:
        while not ended.is_set():
            asked = time.monotonic()
            answer = client.get("/x", HOST)
            asker.note(asked, answer.status, answer.body)
            ended.wait(0.002)


def ask_http2(lab: Lab, asker: Asker, ended: threading.Event) -> None:
    with lab.http2("good") as client:
        while not ended.is_set():
            asked = time.monotonic()
            for status, body in at_once(client):
                asker.note(asked, status, body)
            ended.wait(0.005)


def at_once(client: Http2) -> list[tuple[int, bytes]]:
    """Open several streams of one connection in one write and return their answers."""
    bodies: dict[int, bytes] = {}
    statuses: dict[int, int] = {}
    for _ in range(STREAMS):
        stream = client.h2.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/x")]
        client.h2.send_headers(stream, pseudo, end_stream=True)
        bodies[stream] = b""
    client.socket.sendall(client.h2.data_to_send())
    open_streams = set(bodies)
    while open_streams:
        data = client.socket.recv(65_536)
        assert data, "the connection has ended"
        for event in client.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                statuses[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
                client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                open_streams.discard(event.stream_id)
        client.socket.sendall(client.h2.data_to_send())
    return [(statuses.get(stream, 0), body) for stream, body in sorted(bodies.items())]


@dataclass(slots=True)
class Load:
    """Clients on open connections while versions are pushed; ``pushed``: when each was offered."""

    askers: list[Asker]
    pushed: dict[int, float]
    lines: list[dict[str, object]]


@pytest.fixture(scope="module")
def load(busy_lab: Lab) -> Load:
    """Swap sets under load, each as soon as every connection has seen the one before."""
    lab = busy_lab
    lab.push_rules(version(lab, 0))
    ended = threading.Event()
    askers = [Asker() for _ in range(6)]
    ways = itertools.cycle((ask_http1, ask_http2))
    threads = [
        threading.Thread(target=way, args=(lab, asker, ended))
        for way, asker in zip(ways, askers, strict=False)
    ]
    for thread in threads:
        thread.start()
    pushed = {0: time.monotonic()}
    try:
        eventually(lambda: all(asker.answers for asker in askers), "the first version answers everybody")
        for number in range(1, SWAPS + 1):
            text = version(lab, number)
            pushed[number] = time.monotonic()
            lab.push_rules(text)
            eventually(
                lambda: all(asker.answers and asker.answers[-1][2] == number for asker in askers),  # noqa: B023 - at once
                f"version {number} answers on every connection",
                seconds=10,
            )
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return Load(askers, pushed, lines_of(lab, sum(len(asker.answers) for asker in askers)))


def lines_of(lab: Lab, number: int) -> list[dict[str, object]]:
    eventually(lambda: lab.proxy.out.read_text().count("\n") >= number, "the log is written")
    return [json.loads(line) for line in lab.proxy.out.read_text().splitlines()]


def test_every_request_is_answered_by_a_version(load: Load) -> None:
    assert [asker.failures for asker in load.askers] == [[] for _ in load.askers]
    assert sum(len(asker.answers) for asker in load.askers) > 20 * SWAPS


def test_no_request_is_judged_by_a_mixture(load: Load) -> None:
    for line in load.lines:
        name = str(line["rule"]).removesuffix("-block")
        assert line["log_rules"] == [f"{name}-{position:02}" for position in range(RULES)]


def test_the_epoch_in_the_log_is_that_of_the_version(load: Load) -> None:
    epochs = {(line["rule"], line["rules_epoch"]) for line in load.lines}
    assert len(epochs) == len({rule for rule, _ in epochs}) == SWAPS + 1


def test_a_version_that_was_replaced_never_answers_again_on_that_connection(load: Load) -> None:
    for asker in load.askers:
        numbers = [number for _, _, number in asker.answers]
        assert numbers == sorted(numbers)


def test_a_version_is_in_force_on_every_open_connection_within_the_time(load: Load) -> None:
    """Nobody who asks later than that after a push is answered by an older version."""
    late = [
        (number, asked - load.pushed[newer])
        for asker in load.askers
        for asked, _, number in asker.answers
        for newer in (number + 1,)
        if newer in load.pushed and asked - load.pushed[newer] > WITHIN
    ]
    assert late == []


def test_a_file_too_takes_over_as_a_whole(tmp_path: Path) -> None:
    """Without an operator: the same, as soon as the file has been looked at."""
    lab = Lab(tmp_path, connected=False)
    try:
        lab.site.change("host", {"rules.lua": version(lab, 1)})
        with lab.http1("good") as client:
            eventually(lambda: client.get("/x", HOST).body == b"v1", "the first is in force", seconds=6)
            lab.site.change("host", {"rules.lua": version(lab, 2)})
            eventually(lambda: client.get("/x", HOST).body == b"v2", "the second is in force", seconds=6)
        for line in lines_of(lab, 2):
            if line["rule"] is not None:
                name = str(line["rule"]).removesuffix("-block")
                assert line["log_rules"] == [f"{name}-{position:02}" for position in range(RULES)]
    finally:
        lab.close()


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_skip_of_one_host_skips_nothing_of_another(busy_lab: Lab, tmp_path: Path, protocol: str) -> None:
    """Two hosts, two proxies: one skips everything, the other blocks everything, and neither hears of the other."""
    other = Lab(tmp_path)
    try:
        block = RuleScript("block", "block", (), "true")
        busy_lab.push_rules(replace(busy_lab.rules, rules=(RuleScript("skip", "skip", (), "true"), block)))
        other.push_rules(replace(other.rules, rules=(block,)))
        for lab, status in ((busy_lab, 200), (other, 403), (busy_lab, 200)):
            with getattr(lab, protocol)() as client:
                assert client.get("/admin", HOST).status == status
    finally:
        other.close()
