"""The status port: three pages to read, nothing to do."""

from __future__ import annotations

import stat

import pytest
from tests.support.lab import Lab


@pytest.mark.parametrize("path", ["/ready", "/stats", "/metrics", "/ready?x=1", "/stats?usedonly"])
def test_this_page_is_shown(lab: Lab, path: str) -> None:
    status, body = lab.proxy.status(path)
    assert (status, bool(body)) == (200, True)


def test_metrics_are_in_the_format_of_prometheus(lab: Lab) -> None:
    assert "# TYPE envoy_http_rbac" in lab.proxy.status("/metrics?filter=rbac")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config_dump",
        "/certs",
        "/clusters",
        "/help",
        "/server_info",
        "/stats/recentlookups",
        "/stats/prometheus",
        "/stats/../config_dump",
        "/ready/../config_dump",
        "//config_dump",
        "/ready/",
        "/ready;x",
        "/quitquitquit",
        "/logging",
        "/drain_listeners",
        "/runtime_modify?x=1",
        "/metrics/",
    ],
)
def test_no_other_page_is_shown(lab: Lab, path: str) -> None:
    assert lab.proxy.status(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("path", ["/ready", "/stats", "/metrics", "/quitquitquit", "/logging?level=trace"])
def test_only_get_is_answered(lab: Lab, method: str, path: str) -> None:
    assert lab.proxy.status(path, method)[0] == 404


@pytest.mark.parametrize("path", ["/stats%2f..%2fconfig_dump", "/ready%5c..%5cconfig_dump"])
def test_escaped_slashes_are_refused(lab: Lab, path: str) -> None:
    assert lab.proxy.status(path)[0] == 400


def test_the_admin_socket_is_the_proxys_own(lab: Lab) -> None:
    mode = (lab.site.root / "run" / "admin.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
