"""Reading back what a proxy has in force."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.envoy import STATS_QUERY, ScriptStats, StatsError, parse_proxy_stats

TEXT = """\
extension_config_discovery.http_filter.mtls-revocation.version_text: ""
extension_config_discovery.http_filter.mtls-rules.version_text: "f00d"
listener_manager.lds.version_text: "1157e"
sds.mtls-client-ca.version_text: "c11e"
sds.mtls-server.version_text: "5e4e"
extension_config_discovery.http_filter.mtls-rules.control_plane.connected_state: 1
extension_config_discovery.http_filter.mtls-rules.update_rejected: 2
listener_manager.lds.update_rejected: 3
sds.mtls-client-ca.update_rejected: 4
sds.mtls-identity.key_rotation_failed: 5
"""


def test_versions_and_counters_are_read() -> None:
    stats = parse_proxy_stats(TEXT)
    assert (stats.server_certificate, stats.client_ca, stats.listener) == ("5e4e", "c11e", "1157e")
    assert stats.rules == ScriptStats(version="f00d", connected=True, rejected=2)
    assert stats.revocation == ScriptStats(version="", connected=False, rejected=0)
    assert (stats.rejected, stats.rotation_failed) == (7, 5)


def test_a_proxy_that_is_starting_has_nothing_in_force() -> None:
    stats = parse_proxy_stats("")
    assert (stats.server_certificate, stats.client_ca, stats.listener, stats.rules.version) == (
        "",
        "",
        "",
        "",
    )


def test_the_query_selects_exactly_the_lines_that_are_read() -> None:
    (pattern,) = parse_qs(urlsplit(STATS_QUERY).query)["filter"]
    for line in TEXT.splitlines():
        assert re.search(pattern, line.split(": ")[0])
    assert not re.search(pattern, "cluster.app.upstream_cx_total")


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        "sds.mtls-server.version_text: x",
        'sds.mtls-server.version_text: "',
        "sds.mtls-server.update_rejected: -1",
        "sds.mtls-server.update_rejected: many",
    ],
)
def test_another_text_is_an_error(line: str) -> None:
    with pytest.raises(StatsError):
        parse_proxy_stats(line)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse_proxy_stats(text)
    except StatsError:
        return
