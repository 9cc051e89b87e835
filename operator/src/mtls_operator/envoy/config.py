"""What one proxy is configured for, and where its files and sockets are.

``ProxyConfig`` is the neutral model: everything that can differ between two hosts and still needs Envoy's own
configuration. Host names, rules, issuers, revocations and what the application is told about a certificate are not
here: they live in the pushed scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mtls_operator.api import names

Protocol = Literal["HTTP1", "HTTP2"]
MinTls = Literal["1.2", "1.3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Settings of the proxies of one host.

    ``host``: the name of the MTLSHost, a label of the counters.
    ``upstream_port``: where the application listens on 127.0.0.1. ``max_connection_age``: seconds after which
    connections are drained and single streams are reset. ``discovery_server_name``: DNS name that the
    operator's certificate must carry.
    """

    host: str
    upstream_port: int
    protocol: Protocol
    min_tls: MinTls
    max_connection_age: int
    discovery_host: str
    discovery_port: int
    discovery_server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Folders of the mounted files, and the sockets of the proxy.

    A pod always uses ``IN_POD``. Another placement runs the same configuration outside of a pod: tests and
    local mode give temporary folders, free ports and 127.0.0.1.
    """

    host_folder: str = names.HOST_MOUNT
    revocation_folder: str = names.REVOCATION_MOUNT
    server_folder: str = names.SERVER_MOUNT
    proxy_folder: str = names.PROXY_MOUNT
    run_folder: str = names.RUN_MOUNT
    address: str = "0.0.0.0"
    tls_port: int = names.TLS_PORT
    status_port: int = names.STATUS_PORT

    @property
    def rules_file(self) -> str:
        """Path of the mounted rules script."""
        return f"{self.host_folder}/{names.RULES_KEY}"

    @property
    def revocation_file(self) -> str:
        """Path of the mounted revocation script."""
        return f"{self.revocation_folder}/{names.REVOCATION_KEY}"

    @property
    def admin_socket(self) -> str:
        """Path of the Unix socket of Envoy's admin interface."""
        return f"{self.run_folder}/admin.sock"


IN_POD: Final = Placement()
