"""The HTTP filters of a proxy, in order: revocation, rules, (trailers), gate, router.

Revocation and rules are Lua filters by extension discovery: pushed by the operator, and read from the mounted
file until then. The gate is native and static: it lets only those requests through for which the rules script
said "allow" as its last statement, so that a script that fails denies (guarantee G1).
"""

from __future__ import annotations

from typing import Final

from mtls_operator.api import names
from mtls_operator.envoy.clusters import OPERATOR
from mtls_operator.envoy.config import Placement, ProxyConfig
from mtls_operator.envoy.document import TYPE_PREFIX, Json, extension, typed
from mtls_operator.envoy.headers import trailer_filter

LUA: Final = "envoy.extensions.filters.http.lua.v3.Lua"
_RBAC: Final = "envoy.extensions.filters.http.rbac.v3.RBAC"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"

#: Filter state through which the scripts speak: names and values are fixed in the Lua files too.
DECISION: Final = "mtls.decision"
REVOKED: Final = "mtls.revoked"
#: Set by the listener, once for a connection.
CONNECTION: Final = "mtls.connection"

#: A starting proxy asks the operator for this long before it starts from the mounted file.
_FIRST_FETCH: Final = "2s"


def http_filters(config: ProxyConfig, placement: Placement) -> list[Json]:
    """Return the filter chain of every request."""
    trailers = [trailer_filter()] if config.protocol == "HTTP2" else []
    return [
        discovered_script(names.REVOCATION_FILTER, placement.revocation_file),
        discovered_script(names.RULES_FILTER, placement.rules_file),
        *trailers,
        gate(),
        router(),
    ]


def discovered_script(name: str, mounted: str) -> Json:
    """Return a Lua filter that the operator pushes, with the mounted file until it does."""
    return {
        "name": name,
        "config_discovery": {
            "config_source": _operator_stream(),
            "default_config": typed(LUA, {"stat_prefix": name, "default_source_code": {"filename": mounted}}),
            "type_urls": [TYPE_PREFIX + LUA],
        },
    }


def gate() -> Json:
    """Return the native filter that denies unless the rules script decided to allow."""
    decided = {"filter_state": {"key": DECISION, "string_match": {"exact": "allow"}}}
    rules = {
        "action": "ALLOW",
        "policies": {"decided": {"permissions": [{"any": True}], "principals": [decided]}},
    }
    return extension(names.GATE_FILTER, _RBAC, {"rules_stat_prefix": "mtls_gate_", "rules": rules})


def router() -> Json:
    """Return the last filter, without headers of Envoy's own."""
    return extension("router", _ROUTER, {"suppress_envoy_headers": True})


def _operator_stream() -> Json:
    # The back-off is bounded: otherwise proxies come back up to 30 s after the operator did. The node is sent
    # once per stream: repeated, it makes each acknowledgement 61 kB.
    grpc = {
        "cluster_name": OPERATOR,
        "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
    }
    return {
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": grpc}],
        },
        "resource_api_version": "V3",
        "initial_fetch_timeout": _FIRST_FETCH,
    }
