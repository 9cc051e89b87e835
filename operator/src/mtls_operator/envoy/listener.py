"""The TLS listener of a proxy: one, nearly constant, delivered as a file (LDS).

TLS asks for a client certificate and never refuses one: rules decide per request and per path. Both kinds of
session resumption are off: a resumed session is not validated again.

Connections are numbered for the scripts, which ask about each certificate once and not at every request
(``connection.lua``). Envoy counts connections up from its start, so that no number comes twice.
"""

from __future__ import annotations

from typing import Final

from mtls_operator.api import names
from mtls_operator.envoy import filters, sds
from mtls_operator.envoy.config import IN_POD, Placement, ProxyConfig
from mtls_operator.envoy.connection_manager import connection_manager
from mtls_operator.envoy.document import Json, discovery_response, extension, typed

LISTENER: Final = "mtls"

_LISTENER: Final = "envoy.config.listener.v3.Listener"
_STATE: Final = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_INSPECTOR: Final = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_DOWNSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"

#: For TLS 1.2: forward secrecy and AEAD only (RFC 9325, 4.2). TLS 1.3 has nothing else.
_CIPHERS: Final = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
_VERSIONS: Final = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}


def listener(config: ProxyConfig, placement: Placement = IN_POD) -> str:
    """Return the listener file of a proxy."""
    chain = {
        "transport_socket": extension("tls", _DOWNSTREAM_TLS, _tls(config, placement)),
        "transport_socket_connect_timeout": "10s",
        "filters": [_number(), connection_manager(config, placement)],
    }
    address = {"address": placement.address, "port_value": placement.tls_port}
    fields = {
        "name": LISTENER,
        "stat_prefix": LISTENER,
        "address": {"socket_address": address},
        "per_connection_buffer_limit_bytes": 65_536,
        "listener_filters": [extension("tls", _INSPECTOR, {})],
        "listener_filters_timeout": "10s",
        "filter_chains": [chain],
    }
    return discovery_response([typed(_LISTENER, fields)])


def _number() -> Json:
    """Return the network filter that gives each connection its number."""
    number = {
        "object_key": filters.CONNECTION,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "%CONNECTION_ID%"}},
    }
    return extension("number", _STATE, {"on_new_connection": [number]})


def _tls(config: ProxyConfig, placement: Placement) -> Json:
    server = sds.reference(sds.SERVER_SECRET, placement.server_folder, names.SERVER_SDS_KEY)
    clients = sds.reference(sds.CLIENT_CA_SECRET, placement.host_folder, names.CLIENT_CA_SDS_KEY)
    return {
        "require_client_certificate": False,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {
                "tls_minimum_protocol_version": _VERSIONS[config.min_tls],
                "tls_maximum_protocol_version": "TLSv1_3",
                "cipher_suites": list(_CIPHERS),
            },
            "tls_certificate_sds_secret_configs": [server],
            "combined_validation_context": {
                "default_validation_context": sds.validation(),
                "validation_context_sds_secret_config": clients,
            },
        },
    }
