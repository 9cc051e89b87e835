"""The bootstrap of a proxy: what it reads once, at its start.

Everything that may change while the proxy runs is elsewhere: the listener and certificates in watched files,
the scripts on the discovery stream. The node's identity comes from the command line (``--service-node``).
"""

from __future__ import annotations

from typing import Final

from mtls_operator.api import names
from mtls_operator.envoy import clusters
from mtls_operator.envoy.config import IN_POD, Placement, ProxyConfig
from mtls_operator.envoy.document import Json, extension, render
from mtls_operator.envoy.stats import KEPT_PREFIXES
from mtls_operator.envoy.status import status_listener

_CONNECTIONS: Final = (
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
#: Connections of clients per proxy; more are closed at once. Keeps a flood within the sidecar's memory.
MAX_CLIENT_CONNECTIONS: Final = 5_000
_OWNER_ONLY: Final = 0o600


def bootstrap(config: ProxyConfig, placement: Placement = IN_POD) -> str:
    """Return the bootstrap file of a proxy (``envoy -c``)."""
    return render(
        {
            "admin": {"address": {"pipe": {"path": placement.admin_socket, "mode": _OWNER_ONLY}}},
            "dynamic_resources": {"lds_config": _listener_file(placement)},
            "static_resources": {
                "listeners": [status_listener(placement)],
                "clusters": [
                    clusters.application(config),
                    clusters.operator(config, placement),
                    clusters.admin(placement),
                ],
            },
            "overload_manager": _overload(),
            "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": _kept_stats()}}},
        }
    )


def _listener_file(placement: Placement) -> Json:
    folder = placement.host_folder
    source = {"path": f"{folder}/{names.LISTENER_KEY}", "watched_directory": {"path": folder}}
    return {"path_config_source": source, "resource_api_version": "V3"}


def _overload() -> Json:
    monitor = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        _CONNECTIONS,
        {"max_active_downstream_connections": MAX_CLIENT_CONNECTIONS},
    )
    return {"resource_monitors": [monitor]}


def _kept_stats() -> list[Json]:
    return [{"prefix": prefix} for prefix in KEPT_PREFIXES]
