"""Servers, connections and Envoys for the tests of the discovery server; all are stopped at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.push.authority import NAMESPACE, NAMESPACE_UID, InternalAuthority, KeyPair
from tests.integration.push.envoys import Envoy, start_envoy
from tests.integration.push.proxies import Play, Proxy, connect
from tests.integration.push.served import Reports, Served
from tests.support.envoy import eventually

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
def play(authority: InternalAuthority) -> Iterator[Play]:
    """Play proxies, each on its own connection: with the certificate given, that of ``shop``, or (``None``) none."""
    playing: list[Proxy] = []
    own = authority.proxy()

    def start(
        port: int, pair: KeyPair | None = own, *, trusted: bytes = authority.certificate, **options: int
    ) -> Proxy:
        playing.append(Proxy(connect(port, trusted=trusted, pair=pair, **options)))
        return playing[-1]

    yield start
    for each in playing:
        each.close()
    eventually(lambda: not _client_threads(), "the end of the client's threads")


def _client_threads() -> list[str]:
    """Return the threads of gRPC's client, by the function that each runs."""
    ours = ("(channel_spin)", "(consume_request_iterator)", "(_read)")
    return [each.name for each in threading.enumerate() if each.name.endswith(ours)]


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
