"""The parts of the demo of certificates that would show nothing if they were wrong; no cluster is touched here."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature


@pytest.fixture
def part(demo: ModuleType) -> Any:
    """Return a module of the demo by its name."""
    assert demo is not None
    return lambda name: sys.modules[name]


def _certificate(identity: Any) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate)


# The partner.


def test_a_partners_client_is_of_its_ca_and_not_of_another_one_with_the_same_name(part: Any) -> None:
    one, two = (part("partner").new_partner("Partner CA") for _ in range(2))
    certificate = _certificate(one.client("partner-1"))
    certificate.verify_directly_issued_by(one.certificate)
    assert certificate.issuer == two.certificate.subject
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(two.certificate)


def test_a_partners_list_is_signed_by_its_ca_and_names_only_who_is_revoked(part: Any) -> None:
    partner, now = part("partner").new_partner("Partner CA"), datetime.now(UTC)
    good, bad = partner.client("good"), partner.client("bad")
    crl = x509.load_pem_x509_crl(partner.ca_crl([bad], number=2, at=now).encode())
    assert crl.is_signature_valid(partner.key.public_key())
    assert [one.serial_number for one in crl] == [_certificate(bad).serial_number]
    assert crl.get_revoked_certificate_by_serial_number(_certificate(good).serial_number) is None
    assert crl.next_update_utc is not None
    assert crl.next_update_utc > now


# Clients that ask all the time.


class Server:
    """Answers each client with the next of its statuses; the last one is repeated. An exception is raised."""

    def __init__(self, answers: Sequence[int | Exception]) -> None:
        self.answers, self.asked, self.opened = list(answers), threading.Event(), list[object]()

    def connect(self, identity: object) -> Any:
        self.opened.append(identity)
        return SimpleNamespace(status=self._status, close=lambda: None)

    def _status(self, _path: str) -> int:
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if len(self.answers) == 1:
            self.asked.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def call(part: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    load = part("load")
    monkeypatch.setattr(load, "_PAUSE_SECONDS", 0.0)
    callers = []

    def begin(connect: Any, identity: object = "old") -> Any:
        callers.append(load.Caller(connect, identity, 200))
        return callers[-1]

    yield begin
    for caller in callers:
        caller.stop()


def _after(server: Server, caller: Any) -> Any:
    assert server.asked.wait(10)
    caller.stop()
    return caller


def test_every_answer_that_was_not_expected_is_counted(call: Any) -> None:
    server = Server([200, 403, 503, 200])
    caller = _after(server, call(server.connect))
    assert (caller.answers[403], caller.answers[503], caller.other) == (1, 1, 2)
    assert caller.total == caller.answers[200] + 2


@pytest.mark.parametrize("failure", [ConnectionResetError(), http.client.RemoteDisconnected()])
def test_a_connection_that_breaks_is_a_failed_request(call: Any, failure: Exception) -> None:
    server = Server([200, failure, 200])
    caller = _after(server, call(server.connect))
    assert caller.other == 1


def test_a_connection_that_cannot_be_opened_is_a_failed_request(call: Any) -> None:
    server, failed = Server([200, 200]), []

    def connect(identity: object) -> Any:
        if not failed:
            failed.append(identity)
            raise ConnectionRefusedError
        return server.connect(identity)

    assert _after(server, call(connect)).other == 1


def test_a_new_identity_is_used_from_the_next_connection_on(call: Any) -> None:
    server, renewed = Server([200, 200]), threading.Event()

    def connect(identity: object) -> Any:
        if identity == "new":
            renewed.set()
        return server.connect(identity)

    caller = call(connect)
    caller.identity = "new"
    assert renewed.wait(10)
    assert server.opened[0] == "old"


def test_a_client_that_never_asked_or_got_another_answer_is_not_as_expected(
    part: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = part("scene").Table(client_certificate=30)
    answers = {"fine": {200: 9}, "silent": {}, "refused once": {200: 9, 403: 1}}
    callers = {
        name: SimpleNamespace(
            answers={200: 0, **got},
            expected=200,
            total=sum(got.values()),
            other=sum(got.values()) - got.get(200, 0),
        )
        for name, got in answers.items()
    }
    part("load").report(callers, table)
    assert (table.wrong, table.total) == (2, 3)
    assert [line.endswith("NOT AS EXPECTED") for line in capsys.readouterr().out.splitlines()[2:]] == [
        False,
        True,
        True,
    ]


# Rows and commands.


def test_a_row_that_is_not_as_expected_says_so_and_is_counted(
    part: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = part("scene").Table(client_certificate=14, path=8)
    table.head()
    table.row("good", "/", expected=200, actual=200)
    table.row("bad", "/", expected=403, actual=200)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  client certificatepath    expected  actual",
        "  good          /       200       200   ok",
        "  bad           /       403       200   NOT AS EXPECTED",
    ]
    assert (table.wrong, table.total) == (1, 2)


def test_an_answer_that_does_not_come_ends_the_wait(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = part("scene")
    answers = iter([200, 403, 200])
    scene.ask_until(answers.__next__, 403, what="revoked")
    assert list(answers) == [200]
    monkeypatch.setattr(scene, "SOON_SECONDS", 0.0)
    with pytest.raises(scene.MismatchError, match="revoked: still 200"):
        scene.ask_until(lambda: 200, 403, what="revoked")


@pytest.fixture
def terminal(part: Any, tmp_path: Path) -> Any:
    return part("terminal").Terminal(SimpleNamespace(environment={"PATH": "/usr/bin:/bin"}), tmp_path)


def test_a_command_is_shown_as_it_is_run_with_what_it_says(
    terminal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.type("echo one; echo two >&2; echo three > file") == "one\ntwo\n"
    assert capsys.readouterr().out.splitlines() == [
        "  $ echo one; echo two >&2; echo three > file",
        "    one",
        "    two",
    ]
    assert (tmp_path / "file").read_text() == "three\n"


@pytest.mark.parametrize("command", ["echo why >&2; false", "(echo why >&2; false) | cat"])
def test_a_command_that_fails_anywhere_ends_the_demo_with_its_words(
    part: Any, terminal: Any, command: str
) -> None:
    with pytest.raises(part("release").CommandError, match="why"):
        terminal.type(command)


def test_a_long_command_shows_each_line_with_the_seconds_it_took(
    terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.follow("echo waiting")
    assert capsys.readouterr().out.splitlines()[1].endswith(" s  waiting")
