"""The status listener: three read-only pages of Envoy's admin interface, and nothing else.

The admin interface itself is a Unix socket that only the proxy's user can open; it can stop the proxy and
shows its configuration. The kubelet, the operator and Prometheus need ``/ready``, ``/stats``, ``/metrics``.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.clusters import ADMIN
from mtls_operator.envoy.config import Placement
from mtls_operator.envoy.document import Json, extension

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
#: Path that is served -> path of the admin interface.
_PAGES: Final = {"/ready": "/ready", "/stats": "/stats", "/metrics": "/stats/prometheus"}


def status_listener(placement: Placement) -> Json:
    """Return the listener of the port ``mtls-status``."""
    manager = {
        "stat_prefix": "status",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"idle_timeout": "60s", "max_headers_count": 50},
        "request_headers_timeout": "5s",
        "max_request_headers_kb": 8,
        "route_config": {"virtual_hosts": [{"name": "status", "domains": ["*"], "routes": _routes()}]},
        "http_filters": [extension("router", _ROUTER, {})],
    }
    return {
        "name": "mtls-status",
        "stat_prefix": "status",
        "address": {"socket_address": {"address": placement.address, "port_value": placement.status_port}},
        "per_connection_buffer_limit_bytes": 32_768,
        # Its probes must be answered when the clients of the other listener use up every connection.
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [extension("http", _MANAGER, manager)]}],
    }


def _routes() -> list[Json]:
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    pages: list[Json] = [
        {
            "match": {"path": path, "headers": get},
            "route": {"cluster": ADMIN, "timeout": "5s", "prefix_rewrite": page},
        }
        for path, page in _PAGES.items()
    ]
    return [*pages, {"match": {"prefix": "/"}, "direct_response": {"status": 404}}]
