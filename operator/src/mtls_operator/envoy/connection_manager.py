"""The HTTP connection manager in front of the application: what is normalised, bounded and forwarded.

What a rule compares must be what the application receives: path and host are normalised here, before any
filter, and forwarded in that form.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.access_log import request_lines
from mtls_operator.envoy.clusters import APPLICATION
from mtls_operator.envoy.config import Placement, ProxyConfig
from mtls_operator.envoy.document import Json, extension
from mtls_operator.envoy.filters import http_filters
from mtls_operator.envoy.headers import strip_early
from mtls_operator.envoy.refusals import local_replies
from mtls_operator.envoy.rule_counters import rule_counters

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
#: First part of the statistics of requests (``http.mtls.*``).
STAT_PREFIX: Final = "mtls"


def connection_manager(config: ProxyConfig, placement: Placement) -> Json:
    """Return the network filter that serves the hosts of a proxy."""
    return extension(
        "http",
        _MANAGER,
        {
            "stat_prefix": STAT_PREFIX,
            "access_log": [request_lines(), *rule_counters(config.host)],
            "local_reply_config": local_replies(),
            "route_config": _routes(config),
            "http_filters": http_filters(config, placement),
            "early_header_mutation_extensions": [strip_early()],
            **_normalisation(),
            **_client(),
            **_bounds(config),
        },
    )


def _normalisation() -> Json:
    return {
        "normalize_path": True,
        "merge_slashes": True,
        # %2F and %5C: the client is sent to the path that they may mean, so that rules see that one.
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "strip_any_host_port": True,
        "strip_trailing_host_dot": True,
    }


def _client() -> Json:
    """Return what the application learns about the client: the connection's facts, not the client's word.

    The certificate's header is set for every certificate, a foreign or revoked one too. The rules script takes it
    away where it is not deserved or not wanted, which is thereby in force at once and needs no other listener.
    """
    return {
        # The peer's address is appended to x-forwarded-for, and x-forwarded-proto is ours.
        "use_remote_address": True,
        "server_header_transformation": "PASS_THROUGH",
        # The id that a refusal names and the log has is ours: nobody outside can choose it, or take another's.
        "generate_request_id": True,
        "preserve_external_request_id": False,
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
    }


def _bounds(config: ProxyConfig) -> Json:
    age = f"{config.max_connection_age}s"
    return {
        "common_http_protocol_options": {
            "headers_with_underscores_action": "DROP_HEADER",
            "max_headers_count": 100,
            "idle_timeout": f"{min(config.max_connection_age, 900)}s",
            "max_connection_duration": age,
            # max_connection_duration alone leaves running streams alone.
            "max_stream_duration": age,
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
        "max_request_headers_kb": 60,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "300s",
        "drain_timeout": "5s",
    }


def _routes(config: ProxyConfig) -> Json:
    # Envoy's default timeout of 15 s would cut long answers; an idle stream ends after stream_idle_timeout.
    route: Json = {"cluster": APPLICATION, "timeout": "0s"}
    if config.protocol == "HTTP1":
        route["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    return {
        "virtual_hosts": [
            {
                "name": "any",
                # Which names are ours is decided in the rules script, which changes without a new listener.
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": route}],
            }
        ]
    }
