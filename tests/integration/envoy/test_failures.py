"""Guarantee G1: whatever fails, nobody gets in who should not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.envoy import Proxy, read_folder
from tests.support.lab import HOST, Lab

from mtls_operator.api.names import (
    CLIENT_CA_SDS_KEY,
    LISTENER_KEY,
    REVOCATION_FILTER,
    REVOCATION_KEY,
    RULES_FILTER,
    RULES_KEY,
    SERVER_SDS_KEY,
)
from mtls_operator.cli.proxy import ProxyError

CRASHING = "-- mtls-revocation {epoch}\nfunction envoy_on_request(handle) error('boom') end\n"
FIRST_FILES = [
    ("host", LISTENER_KEY),
    ("host", RULES_KEY),
    ("host", CLIENT_CA_SDS_KEY),
    ("revocation", REVOCATION_KEY),
    ("server", SERVER_SDS_KEY),
]
PRESENTED = ["good", "revoked", "foreign", "expired", "server-usage"]


@pytest.mark.parametrize("person", PRESENTED)
def test_a_crashed_revocation_script_refuses_every_certificate_everywhere(lab: Lab, person: str) -> None:
    lab.push_revocation(CRASHING.format(epoch=1))
    with lab.http1(person) as client:
        assert client.get("/", HOST).status == 403
        assert client.get("/admin", HOST).status == 403
    assert lab.upstream.inbox.all() == []


def test_a_crashed_revocation_script_changes_nothing_for_clients_without_a_certificate(lab: Lab) -> None:
    lab.push_revocation(CRASHING.format(epoch=2))
    with lab.http1() as client:
        assert client.get("/", HOST).status == 200
        assert client.get("/admin", HOST).status == 403


def test_a_crashed_revocation_script_does_not_matter_to_rules_that_read_no_certificate(lab: Lab) -> None:
    lab.push_revocation(CRASHING.format(epoch=3))
    lab.push_rules(replace(lab.rules, rules=(), reads_certificate=False))
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 200
        assert "x-forwarded-client-cert" not in str(client.get("/", HOST).seen)


@pytest.mark.parametrize(
    "body",
    [
        "error('boom')",
        "local nothing = nil; nothing.field = 1",
        "local function deeper() return 1 + deeper() end deeper()",
        "handle:headers():get(nil)",
        "handle:streamInfo():filterState():set('mtls.decision', 'envoy.string', 'deny')",
        "handle:streamInfo():filterState():set('mtls.decision', 'envoy.string', 'ready')",
        "",
    ],
)
def test_a_rules_script_that_fails_or_does_not_decide_denies(lab: Lab, body: str) -> None:
    lab.push_rules(f"-- mtls-rules 1\n-- {len(body)}\nfunction envoy_on_request(handle) {body} end\n")
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 403
    assert lab.upstream.inbox.all() == []


def test_a_rules_script_without_a_handler_denies(lab: Lab) -> None:
    lab.push_rules("-- mtls-rules 1\nlocal nothing = 1\n")
    with lab.http1("good") as client:
        assert client.get("/", HOST).status == 403


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_the_gate_closes_on_a_connection_that_had_been_let_in(lab: Lab, protocol: str) -> None:
    with getattr(lab, protocol)("good") as client:
        assert client.get("/admin", HOST).status == 200
        lab.push_rules("-- mtls-rules 1\nfunction envoy_on_request(handle) error('boom') end\n")
        assert client.get("/admin", HOST).status == 403


@pytest.mark.parametrize("body", ["if then", "error('while loading')"])
def test_a_push_that_does_not_load_is_refused_and_the_last_good_stays(lab: Lab, body: str) -> None:
    assert lab.operator is not None
    text = lab.operator.refusal(RULES_FILTER, f"-- mtls-rules 9\n{body}\n")
    assert "script load error" in text
    with lab.http1() as client:
        assert client.get("/admin", HOST).status == 403
        assert client.get("/", HOST).status == 200


def test_a_broken_revocation_push_does_not_hold_back_the_rules(lab: Lab) -> None:
    assert lab.operator is not None
    lab.operator.refusal(REVOCATION_FILTER, "-- mtls-revocation 9\nif then\n")
    lab.push_rules(replace(lab.rules, rules=()))
    with lab.http1() as client:
        assert client.get("/admin", HOST).status == 200
    with lab.http1("revoked") as client:
        assert client.get("/", HOST).status == 200


@pytest.fixture
def unstarted_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("unstarted"), connected=False, start=False)
    lab.proxy.close()
    yield lab
    lab.close()


def statuses(lab: Lab) -> list[int]:
    """Return what a good client gets; 0 when there is no connection, or no answer on it."""
    try:
        with lab.http1("good") as client:
            return [client.get(path, HOST).status for path in ("/", "/admin")]
    except OSError:
        return [0, 0]


def test_a_proxy_whose_first_rules_file_is_broken_lets_nobody_in(unstarted_lab: Lab) -> None:
    lab = unstarted_lab
    lab.site.change("host", {RULES_KEY: "-- mtls-rules 1\nif then\n"})
    lab.proxy = Proxy(lab.site).wait()
    assert statuses(lab) == [0, 0]
    assert lab.proxy.stats().listener == ""


@pytest.mark.parametrize(("folder", "file"), FIRST_FILES)
def test_a_proxy_without_one_of_its_files_lets_nobody_in(unstarted_lab: Lab, folder: str, file: str) -> None:
    lab = unstarted_lab
    files = read_folder(lab.site.root / folder)
    del files[file]
    (lab.site.root / folder / file).unlink()
    lab.site.mount(folder, files)
    lab.proxy = Proxy(lab.site)
    with contextlib.suppress(ProxyError):
        lab.proxy.wait()
    assert statuses(lab) == [0, 0]
