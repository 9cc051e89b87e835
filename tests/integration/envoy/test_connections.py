"""What scripts remember of a connection holds for that connection alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.envoy import eventually, read_folder
from tests.support.lab import HOST, OTHER_HOST, Lab

from mtls_operator.api.names import LISTENER_KEY
from mtls_operator.envoy import version_of

PROTOCOLS = pytest.mark.parametrize("protocol", ["http1", "http2"])
PEOPLE = ["good", "revoked", None, "foreign", "expired", "server-usage"]
#: Answers with the number of the connection.
TELL = """-- mtls-rules {epoch}
function envoy_on_request(handle)
  local number = handle:streamInfo():filterState():get("mtls.connection")
  handle:respond({{ [":status"] = "200" }}, number)
end
"""


@PROTOCOLS
def test_connections_of_different_people_that_are_open_at_the_same_time_are_told_apart(
    lab: Lab, protocol: str
) -> None:
    with contextlib.ExitStack() as stack:
        clients = [(person, stack.enter_context(getattr(lab, protocol)(person))) for person in PEOPLE * 2]
        for _ in range(3):
            for person, client in clients:
                assert client.get("/admin", HOST).status == (200 if person == "good" else 403), person


@PROTOCOLS
def test_a_new_connection_is_not_taken_for_one_that_was_closed(lab: Lab, protocol: str) -> None:
    for person in [*PEOPLE, *reversed(PEOPLE)]:
        for _ in range(2):
            with getattr(lab, protocol)(person) as client:
                assert client.get("/admin", HOST).status == (200 if person == "good" else 403), person


@PROTOCOLS
def test_connections_to_different_names_keep_theirs(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)("good") as one, getattr(lab, protocol)("good", OTHER_HOST) as other:
        for _ in range(2):
            assert [client.get("/", HOST).status for client in (one, other)] == [200, 421]
            assert [client.get("/", OTHER_HOST).status for client in (one, other)] == [421, 200]


@pytest.fixture
def telling_lab(tmp_path: Path) -> Iterator[Lab]:
    """A proxy that answers with the numbers of its connections, with two workers."""
    lab = Lab(tmp_path, concurrency=2)
    lab.push_rules(TELL.format(epoch=1))
    yield lab
    lab.close()


def test_every_connection_has_a_number_of_its_own_and_keeps_it(telling_lab: Lab) -> None:
    lab = telling_lab
    numbers = []

    def open_some() -> None:
        for protocol in ("http1", "http2") * 4:
            with getattr(lab, protocol)("good") as client:
                told = {client.get("/", HOST).body for _ in range(3)}
            assert len(told) == 1
            numbers.extend(told)

    open_some()
    lab.push_rules(TELL.format(epoch=2))
    open_some()
    document = json.loads(read_folder(lab.site.root / "host")[LISTENER_KEY])
    document["version_info"] = "another"
    document["resources"][0]["filter_chains"][0]["filters"][-1]["typed_config"]["drain_timeout"] = "1s"
    changed = json.dumps(document)
    lab.site.change("host", {LISTENER_KEY: changed})
    eventually(lambda: lab.proxy.stats().listener == version_of(changed), "the new listener is in force")
    open_some()
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers) == 24
