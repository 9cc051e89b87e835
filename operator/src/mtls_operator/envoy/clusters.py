"""Clusters: the application, the operator's discovery service, and Envoy's own admin socket."""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy import sds
from mtls_operator.envoy.config import Placement, ProxyConfig
from mtls_operator.envoy.document import Json, extension, typed

APPLICATION: Final = "app"
OPERATOR: Final = "mtls-operator"
ADMIN: Final = "admin"

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UPSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"
#: Every address is an endpoint of its own (what the type STRICT_DNS was).
_RESOLUTION: Final[Json] = {
    "dns_refresh_rate": "5s",
    "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "5s"},
}
#: Envoy's default of 1024 would answer 503 for a busy pod; the limit that counts is the listener's.
_NO_LIMIT: Final = 1_000_000
#: Idle connections to the application are closed before common servers close them on their side (gunicorn
#: after 2 s, Node and uvicorn after 5 s), so that no request is sent into a closing connection. A new one on
#: the loopback interface costs microseconds.
_APPLICATION_IDLE: Final = "1s"


def application(config: ProxyConfig) -> Json:
    """Return the application of the pod, on 127.0.0.1."""
    protocol = "http2_protocol_options" if config.protocol == "HTTP2" else "http_protocol_options"
    options = {
        "explicit_http_config": {protocol: {}},
        "common_http_protocol_options": {"idle_timeout": _APPLICATION_IDLE},
    }
    return {
        "name": APPLICATION,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": _endpoint(APPLICATION, _socket("127.0.0.1", config.upstream_port)),
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": _NO_LIMIT, "max_pending_requests": _NO_LIMIT, "max_requests": _NO_LIMIT}
            ]
        },
        "typed_extension_protocol_options": _http_options(options),
    }


def operator(config: ProxyConfig, placement: Placement) -> Json:
    """Return the discovery service: HTTP/2 with keep-alive pings, mutual TLS 1.3, exact server name.

    Its address may be unresolvable (no DNS, no operator): the proxy starts all the same (guarantee G7).
    """
    ping = {"interval": "10s", "timeout": "5s"}
    options = {"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": ping}}}
    return {
        "name": OPERATOR,
        "cluster_type": extension("envoy.cluster.dns", _DNS_CLUSTER, _RESOLUTION),
        "wait_for_warm_on_init": False,
        "connect_timeout": "2s",
        "load_assignment": _endpoint(OPERATOR, _socket(config.discovery_host, config.discovery_port)),
        "typed_extension_protocol_options": _http_options(options),
        "transport_socket": _operator_tls(config, placement),
    }


def admin(placement: Placement) -> Json:
    """Return the admin socket, of which the status listener shows three read-only pages."""
    return {
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _endpoint(ADMIN, {"pipe": {"path": placement.admin_socket}}),
    }


def _operator_tls(config: ProxyConfig, placement: Placement) -> Json:
    folder = placement.host_folder
    common = {
        # Both bounds: a client's default maximum is TLS 1.2.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [
            sds.reference(sds.IDENTITY_SECRET, folder, sds.IDENTITY_SDS_KEY)
        ],
        "validation_context_sds_secret_config": sds.reference(
            sds.OPERATOR_CA_SECRET, folder, sds.OPERATOR_CA_SDS_KEY
        ),
    }
    tls = {"sni": config.discovery_server_name, "common_tls_context": common}
    return extension("tls", _UPSTREAM_TLS, tls)


def _http_options(options: Json) -> Json:
    return {_HTTP_OPTIONS: typed(_HTTP_OPTIONS, options)}


def _socket(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _endpoint(cluster: str, address: Json) -> Json:
    return {
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    }
