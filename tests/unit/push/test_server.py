"""The front of the server before it runs: what a publication may be."""

from __future__ import annotations

import pytest
from tests.unit.push.builders import ALL, HOST, NAMESPACE

from mtls_operator.api import names
from mtls_operator.push import DiscoveryServer, Script, ScriptRefused, Snapshot


@pytest.fixture
def server() -> DiscoveryServer:
    return DiscoveryServer(address="127.0.0.1:0", on_report=lambda _: None)


def script(version: str, text: str) -> Script:
    return Script(names.RULES_FILTER, version, text)


def test_the_same_script_can_be_published_any_number_of_times(server: DiscoveryServer) -> None:
    server.publish(HOST, script("v1", "a"))
    server.publish(HOST, script("v1", "a"))
    assert len(server._calls) == 1


@pytest.mark.parametrize("second", [script("v1", "b"), script("v2", "a")])
def test_a_version_that_does_not_stand_for_its_text_is_refused(
    server: DiscoveryServer, second: Script
) -> None:
    """Otherwise a proxy that runs the old text under that version would never get the new one."""
    server.publish(HOST, script("v1", "a"))
    with pytest.raises(ScriptRefused):
        server.publish(HOST, second)


def test_a_bad_script_is_refused_in_the_callers_thread(server: DiscoveryServer) -> None:
    with pytest.raises(ScriptRefused):
        server.publish(HOST, script("v1", "a\0"))
    with pytest.raises(ScriptRefused):
        server.publish(ALL, script("v1", "a"))


def test_after_a_withdrawal_or_another_life_of_the_namespace_everything_can_be_published(
    server: DiscoveryServer,
) -> None:
    server.set_namespace(NAMESPACE, "ns-uid-1")
    server.publish(HOST, script("v1", "a"))
    server.withdraw(HOST, names.RULES_FILTER)
    server.publish(HOST, script("v1", "b"))
    server.set_namespace(NAMESPACE, "ns-uid-2")
    server.publish(HOST, script("v1", "c"))
    server.set_namespace(NAMESPACE, None)
    server.publish(HOST, script("v1", "d"))


def test_a_server_that_never_started_counts_nothing(server: DiscoveryServer) -> None:
    assert server.snapshot() == Snapshot(streams=0, pending=0, pushes=0, refusals=0)
