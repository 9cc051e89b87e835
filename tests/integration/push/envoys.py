"""The real Envoy with two pushed filters and nothing else."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.push.authority import SERVER_NAME, KeyPair
from tests.integration.push.served import DEADLINE

from mtls_operator.api import names
from mtls_operator.push import Pod, messages


@dataclass(slots=True)
class Envoy:
    """A running Envoy whose two filters come from a discovery server."""

    process: subprocess.Popen[bytes]
    folder: Path
    connection: http.client.HTTPConnection = field(init=False)
    admin: http.client.HTTPConnection = field(init=False)

    def get(self, path: str = "/") -> tuple[int, str]:
        """Return status and body, on the one connection that stays open."""
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        return response.status, response.read().decode()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)

    def stat(self, name: str) -> str:
        self.admin.request("GET", f"/stats?filter={name}")
        return self.admin.getresponse().read().decode()


def start_envoy(folder: Path, port: int, *, pod: Pod, pair: KeyPair, trusted: bytes) -> Envoy:
    """Start an Envoy whose filters are pushed by the server at a port, and wait until it serves."""
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "ca.crt").write_bytes(trusted)
    (folder / "envoy.json").write_text(json.dumps(_bootstrap(folder, port)))
    options = {
        "-c": folder / "envoy.json",
        "--service-node": names.node_id(pod.namespace, pod.name, pod.uid),
        "--service-cluster": "mtls",
        "--concurrency": "1",
        "-l": "warn",
        "--admin-address-path": folder / "admin",
    }
    arguments = [str(part) for option in options.items() for part in option]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("envoy")), *arguments, "--disable-hot-restart"],
            stdout=output,
            stderr=output,
        )
    result = Envoy(process, folder)
    try:
        result.admin = _http(_until(lambda: _admin_port(folder)))
        result.connection = _http(_until(lambda: _listener_port(result.admin)))
    except BaseException:
        result.stop()
        raise
    return result


def _http(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)


def _until(attempt: Callable[[], int | None]) -> int:
    """Ask again until there is an answer, at most for the deadline."""
    pause, end = threading.Event(), time.monotonic() + DEADLINE
    while time.monotonic() < end:
        answer = attempt()
        if answer is not None:
            return answer
        pause.wait(0.02)
    raise AssertionError("Envoy did not come up")


def _admin_port(folder: Path) -> int | None:
    path = folder / "admin"
    text = path.read_text() if path.exists() else ""
    return int(text.rpartition(":")[2]) if ":" in text else None


def _listener_port(admin: http.client.HTTPConnection) -> int | None:
    admin.request("GET", "/ready")
    if admin.getresponse().read() != b"LIVE\n":
        return None
    admin.request("GET", "/listeners?format=json")
    found = json.loads(admin.getresponse().read()).get("listener_statuses", [])
    return found[0]["local_address"]["socket_address"]["port_value"] if found else None


def _bootstrap(folder: Path, port: int) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions."
    local = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    router = {"name": "router", "typed_config": {"@type": f"{types}filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{types}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [*(_pushed(each) for each in (names.REVOCATION_FILTER, names.RULES_FILTER)), router],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "admin": {"address": local},
        "static_resources": {
            "listeners": [{"name": "in", "address": local, "filter_chains": [chain]}],
            "clusters": [_discovery_cluster(folder, port)],
        },
    }


def _pushed(name: str) -> dict[str, Any]:
    start = f"-- {name} mounted\nfunction envoy_on_request(h) end\n"
    service = {
        "envoy_grpc": {
            "cluster_name": "mtls-operator",
            "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
        }
    }
    return {
        "name": name,
        "config_discovery": {
            "config_source": {
                "resource_api_version": "V3",
                "initial_fetch_timeout": "2s",
                "api_config_source": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [service],
                },
            },
            "default_config": {
                "@type": messages.LUA_TYPE,
                "stat_prefix": name,
                "default_source_code": {"inline_string": start},
            },
            "type_urls": [messages.LUA_TYPE],
        },
    }


def _discovery_cluster(folder: Path, port: int) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions."
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return {
        "name": "mtls-operator",
        "type": "STATIC",
        "connect_timeout": "1s",
        "wait_for_warm_on_init": False,
        "load_assignment": {
            "cluster_name": "mtls-operator",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{types}upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "0.3s", "timeout": "1s"}}
                },
            }
        },
        "transport_socket": {
            "name": "tls",
            "typed_config": {
                "@type": f"{types}transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": SERVER_NAME,
                "common_tls_context": {
                    "tls_certificates": [
                        {
                            "certificate_chain": {"filename": str(folder / "tls.crt")},
                            "private_key": {"filename": str(folder / "tls.key")},
                        }
                    ],
                    "validation_context": {
                        "trusted_ca": {"filename": str(folder / "ca.crt")},
                        "match_typed_subject_alt_names": [
                            {"san_type": "DNS", "matcher": {"exact": SERVER_NAME}}
                        ],
                    },
                },
            },
        },
    }
