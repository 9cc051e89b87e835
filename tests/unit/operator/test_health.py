"""The ports for probes and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from tests.unit.cluster.api_server import closed_port

from mtls_operator.controller import health
from mtls_operator.controller.health import HealthServer
from mtls_operator.controller.run import Probes


@dataclass(slots=True)
class Ports:
    """A server whose answers a test sets."""

    server: HealthServer
    http: aiohttp.ClientSession
    health: int = 0
    metrics: int = 0
    alive: str = ""
    ready: str = ""

    async def get(self, port: int, path: str) -> tuple[int, str]:
        async with self.http.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    async with aiohttp.ClientSession() as http:
        made: Ports
        server = HealthServer(
            alive=lambda: made.alive, ready=lambda: made.ready, metrics=lambda: b"mtls_x 1\n"
        )
        made = Ports(server, http, await closed_port(), await closed_port())
        await server.start(health_port=made.health, metrics_port=made.metrics)
        yield made
        await server.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_is_answered_with_ok(ports: Ports, path: str) -> None:
    assert await ports.get(ports.health, path) == (200, "ok\n")


async def test_what_is_wrong_is_said_with_503(ports: Ports) -> None:
    ports.alive, ports.ready = "a worker has died", "the first lists are not complete"
    assert await ports.get(ports.health, "/healthz") == (503, "a worker has died\n")
    assert await ports.get(ports.health, "/readyz") == (503, "the first lists are not complete\n")


async def test_not_ready_is_not_dead(ports: Ports) -> None:
    ports.ready = "waiting"
    assert (await ports.get(ports.health, "/healthz"))[0] == 200


async def test_metrics_have_a_port_of_their_own(ports: Ports) -> None:
    """Network policies tell them apart by port: probes come from nodes, metrics from Prometheus."""
    assert await ports.get(ports.metrics, "/metrics") == (200, "mtls_x 1\n")
    assert (await ports.get(ports.health, "/metrics"))[0] == 404
    assert (await ports.get(ports.metrics, "/healthz"))[0] == 404


async def test_metrics_are_counted_once_a_second_however_many_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every pod of the cluster may ask, and the loop that counts carries the revocations."""
    counted = list[int]()

    def metrics() -> bytes:
        counted.append(1)
        return b"mtls_x %d\n" % len(counted)

    server = HealthServer(alive=str, ready=str, metrics=metrics)
    port = await closed_port()
    await server.start(health_port=await closed_port(), metrics_port=port)
    async with aiohttp.ClientSession() as http:
        ports = Ports(server, http)
        first = [await ports.get(port, "/metrics") for _ in range(20)]
        monkeypatch.setattr(health, "METRICS_SECONDS", 0.0)
        later = await ports.get(port, "/metrics")
    await server.stop()
    assert set(first) == {(200, "mtls_x 1\n")}
    assert later == (200, "mtls_x 2\n")


async def test_metrics_are_plain_text_for_prometheus(ports: Ports) -> None:
    async with ports.http.get(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_only_reading_is_answered(ports: Ports) -> None:
    async with ports.http.post(f"http://127.0.0.1:{ports.health}/healthz") as answer:
        assert answer.status == 405


async def test_after_the_stop_both_ports_are_closed(ports: Ports) -> None:
    await ports.server.stop()
    for port, path in ((ports.health, "/healthz"), (ports.metrics, "/metrics")):
        with pytest.raises(aiohttp.ClientConnectorError):
            await ports.get(port, path)


def test_a_process_without_an_operator_yet_is_alive_and_not_ready() -> None:
    probes = Probes()
    assert probes.alive() == ""
    assert probes.ready() == "the API server has not answered yet"
    assert probes.text() == b""
