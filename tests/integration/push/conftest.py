"""Servers, connections and Envoys for the tests of the discovery server; all are stopped at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from tests.integration.push.authority import NAMESPACE, NAMESPACE_UID, InternalAuthority, KeyPair
from tests.integration.push.envoys import Envoy, start_envoy
from tests.integration.push.proxies import Dial, connect
from tests.integration.push.served import Reports, Served

from mtls_operator.push import DiscoveryServer, Limits, Pod, ServerCredentials

Serve = Callable[..., Served]
StartEnvoy = Callable[..., Envoy]


@pytest.fixture(scope="session")
def authority() -> InternalAuthority:
    return InternalAuthority()


@pytest.fixture
def pod() -> Pod:
    return Pod(NAMESPACE, "web-1", "pod-uid-1", "api")


@pytest.fixture
def serve(authority: InternalAuthority) -> Iterator[Serve]:
    """Start servers that know the namespace ``shop``."""
    running: list[DiscoveryServer] = []

    def start(
        *,
        port: int = 0,
        limits: Limits | None = None,
        is_open: bool = True,
        credentials: ServerCredentials | None = None,
    ) -> Served:
        reports = Reports()
        server = DiscoveryServer(address=f"127.0.0.1:{port}", on_report=reports, limits=limits)
        bound = server.start(credentials or authority.server())
        running.append(server)
        server.set_namespace(NAMESPACE, NAMESPACE_UID)
        if is_open:
            server.open()
        return Served(server, bound, reports)

    yield start
    for each in running:
        each.stop(1.0)


@pytest.fixture
def dial(authority: InternalAuthority) -> Iterator[Dial]:
    """Open connections, each its own, with the certificate given, that of ``shop``, or (``None``) without one."""
    opened: list[grpc.Channel] = []
    own = authority.proxy()

    def open_connection(port: int, pair: KeyPair | None = own, **options: int) -> grpc.Channel:
        opened.append(connect(port, trusted=authority.certificate, pair=pair, **options))
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def envoy(tmp_path: Path, authority: InternalAuthority) -> Iterator[StartEnvoy]:
    """Start real Envoys."""
    running: list[Envoy] = []

    def start(port: int, pod: Pod, pair: KeyPair | None = None) -> Envoy:
        folder = tmp_path / f"envoy-{len(running)}"
        folder.mkdir()
        own = pair or authority.proxy(pod.namespace)
        running.append(start_envoy(folder, port, pod=pod, pair=own, trusted=authority.certificate))
        return running[-1]

    yield start
    for each in running:
        each.stop()
