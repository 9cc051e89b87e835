"""Two ways into a proxy: of the pushed and the mounted script the one with the higher epoch decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.envoy import eventually
from tests.support.lab import ADMIN, HOST, Lab, Rules, next_epoch

from mtls_operator.api.names import LISTENER_KEY, REVOCATION_KEY, RULES_KEY
from mtls_operator.envoy import listener, version_of

#: The scripts look at their file every two seconds.
PATIENCE = 6.0


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A proxy of its own, connected: what its files say must not depend on other tests."""
    lab = Lab(tmp_path)
    lab.reset()
    yield lab
    lab.close()


def probe(lab: Lab, person: str | None, path: str, status: int) -> Callable[[], bool]:
    """Return a condition: a request on one open connection gets this status."""
    client = lab.http1(person)
    return lambda: client.get(path, HOST).status == status


def open_rules(lab: Lab) -> Rules:
    return replace(lab.rules, rules=())


def test_a_newer_rules_file_takes_over_without_a_push_and_a_newer_push_takes_over_again(own_lab: Lab) -> None:
    lab = own_lab
    answers_200 = probe(lab, None, "/admin", 200)
    assert not answers_200()
    lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules(lab))})
    eventually(answers_200, "the newer file is in force", seconds=PATIENCE)
    lab.push_rules(lab.rules)
    assert not answers_200()


def test_a_newer_revocation_file_takes_over_without_a_push(own_lab: Lab) -> None:
    lab = own_lab
    answers_403 = probe(lab, "good", "/admin", 403)
    assert not answers_403()
    lab.site.change("revocation", {REVOCATION_KEY: lab.revocation_text((1, 2))})
    eventually(answers_403, "the newer file is in force", seconds=PATIENCE)


def test_files_follow_each_other_for_as_long_as_there_is_no_push(own_lab: Lab) -> None:
    lab = own_lab
    lab.stop_operator()
    answers_200 = probe(lab, None, "/admin", 200)
    for _ in range(2):
        lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules(lab))})
        eventually(answers_200, "the newer file is in force", seconds=PATIENCE)
        lab.site.change("host", {RULES_KEY: lab.rules_text(lab.rules)})
        eventually(lambda: not answers_200(), "the newest file is in force", seconds=PATIENCE)


def test_an_older_file_never_takes_over_from_a_push(own_lab: Lab) -> None:
    lab = own_lab
    old = next_epoch()
    lab.push_rules(lab.rules)
    lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules(lab), epoch=old)})
    marker = lab.revocation_text((1, 2))
    lab.site.change("revocation", {REVOCATION_KEY: marker})
    # Both filters look at their files in the same rhythm: when the newer one is seen, the older one was too.
    eventually(probe(lab, "good", "/admin", 403), "files have been looked at", seconds=PATIENCE)
    assert probe(lab, None, "/admin", 403)()


def test_an_older_push_does_not_take_over_from_a_newer_file(own_lab: Lab) -> None:
    lab = own_lab
    old = next_epoch()
    lab.site.change("host", {RULES_KEY: lab.rules_text(lab.rules)})
    lab.push_rules(lab.rules_text(open_rules(lab), epoch=old))
    assert probe(lab, None, "/admin", 403)()


def test_a_replayed_revocation_push_does_not_restore_a_revoked_certificate(own_lab: Lab) -> None:
    lab = own_lab
    old = next_epoch()
    lab.site.change("revocation", {REVOCATION_KEY: lab.revocation_text((1, 2))})
    lab.push_revocation(lab.revocation_text((2,), epoch=old))
    assert probe(lab, "good", "/admin", 403)()


@pytest.mark.parametrize(
    "body",
    ["if then", "error('while loading')", "local nothing = 1", "envoy_on_request = 7", "\0"],
    ids=["syntax", "error", "no-handler", "no-function", "nul"],
)
def test_a_newer_file_that_does_not_load_changes_nothing_and_is_logged_once(own_lab: Lab, body: str) -> None:
    lab = own_lab
    epoch = next_epoch()
    lab.site.change("host", {RULES_KEY: f"-- mtls-rules {epoch}\n{body}\n"})
    refusals = re.compile(rf"mtls-rules [0-9]+ stays: the mounted script {epoch} is refused")
    stays_403 = probe(lab, None, "/admin", 403)

    def refused() -> bool:
        assert stays_403()
        return refusals.search(lab.proxy.log.read_text()) is not None

    eventually(refused, "the refusal is logged", seconds=PATIENCE)
    lab.site.change("revocation", {REVOCATION_KEY: lab.revocation_text((1, 2))})
    eventually(probe(lab, "good", "/admin", 403), "files have been looked at again", seconds=PATIENCE)
    assert stays_403()
    assert len(refusals.findall(lab.proxy.log.read_text())) == 1


def test_a_vanished_file_changes_nothing(own_lab: Lab) -> None:
    lab = own_lab
    (lab.site.root / "host" / RULES_KEY).unlink()
    lab.site.change("revocation", {REVOCATION_KEY: lab.revocation_text((1, 2))})
    eventually(probe(lab, "good", "/admin", 403), "files have been looked at", seconds=PATIENCE)
    assert probe(lab, None, "/admin", 403)()
    assert probe(lab, None, "/", 200)()


def test_a_file_that_fails_while_deciding_denies(own_lab: Lab) -> None:
    lab = own_lab
    text = f"-- mtls-rules {next_epoch()}\nfunction envoy_on_request(handle) error('boom') end\n"
    lab.site.change("host", {RULES_KEY: text})
    eventually(probe(lab, "good", "/", 403), "the newer file is in force", seconds=PATIENCE)


def test_every_worker_follows_the_file(tmp_path: Path) -> None:
    lab = Lab(tmp_path, connected=False, concurrency=2)
    try:
        lab.site.change("host", {RULES_KEY: lab.rules_text(open_rules(lab))})
        probes = [probe(lab, None, "/admin", 200) for _ in range(8)]
        for each in probes:
            eventually(each, "the newer file is in force", seconds=PATIENCE)
    finally:
        lab.close()


def test_a_new_listener_goes_on_with_what_was_pushed_not_with_the_older_files(own_lab: Lab) -> None:
    lab = own_lab
    lab.push_revocation(lab.revocation_text((1, 2)))
    lab.push_rules(
        replace(lab.rules, rules=(ADMIN, replace(ADMIN, name="new", constants=('{ ["/new"] = true }',))))
    )
    for age in (1800, 900):
        document = listener(replace(lab.config, max_connection_age=age), lab.site.placement)
        lab.site.change("host", {LISTENER_KEY: document})
        eventually(
            lambda text=document: lab.proxy.stats().listener == version_of(text), "the listener is in force"
        )
        assert probe(lab, "good", "/admin", 403)()
        assert probe(lab, None, "/new", 403)()


def test_a_new_listener_without_an_operator_goes_on_with_what_was_pushed_too(own_lab: Lab) -> None:
    lab = own_lab
    lab.push_revocation(lab.revocation_text((1, 2)))
    lab.stop_operator()
    document = listener(replace(lab.config, max_connection_age=1800), lab.site.placement)
    lab.site.change("host", {LISTENER_KEY: document})
    eventually(lambda: lab.proxy.stats().listener == version_of(document), "the listener is in force")
    assert probe(lab, "good", "/admin", 403)()
