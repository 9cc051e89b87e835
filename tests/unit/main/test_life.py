"""The operator's process while the API server is away: it waits, says so, and ends when told to."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.cluster.api_server import ApiServer, closed_port, running
from tests.unit.main.process import kubeconfig, started

DEADLINE = 30.0


@dataclass(slots=True)
class Waiting:
    """A process and the addresses of its ports."""

    process: asyncio.subprocess.Process
    health: str
    metrics: str

    async def line(self, event: str) -> dict[str, Any]:
        """Return the next line of the log with this event."""
        assert self.process.stderr is not None
        while text := await self.process.stderr.readline():
            line: dict[str, Any] = json.loads(text)
            if line["event"] == event:
                return line
        raise AssertionError(f"the log ended without {event}")

    async def ended(self) -> int:
        """Read the rest of the log and return the exit code."""
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


async def begin(folder: Path, server: str) -> Waiting:
    health, metrics = await closed_port(), await closed_port()
    process = await started(
        "run",
        KUBECONFIG=kubeconfig(folder, server),
        MTLS_HEALTH_PORT=str(health),
        MTLS_METRICS_PORT=str(metrics),
        MTLS_DISCOVERY_PORT=str(await closed_port()),
        MTLS_DISCOVERY_BIND="127.0.0.1",
    )
    return Waiting(process, f"http://127.0.0.1:{health}", f"http://127.0.0.1:{metrics}")


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    """An operator whose API server refuses connections, and that has tried once."""
    operator = await begin(tmp_path, f"http://127.0.0.1:{await closed_port()}")
    async with asyncio.timeout(DEADLINE):
        line = await operator.line("operator.waiting")
    assert "/apis" in line["error"]
    yield operator
    if operator.process.returncode is None:
        operator.process.kill()
        await operator.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_it_waits_ends_it_with_success(waiting: Waiting, number: signal.Signals) -> None:
    async with asyncio.timeout(DEADLINE):
        waiting.process.send_signal(number)
        await waiting.line("operator.stopped")
        assert await waiting.ended() == 0


async def test_while_it_waits_it_is_alive_and_not_ready(waiting: Waiting) -> None:
    """A restart would not bring the API server back, and each one makes the kubelet wait longer."""
    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as http:
        async with http.get(f"{waiting.health}/healthz") as answer:
            assert answer.status == 200
        async with http.get(f"{waiting.health}/readyz") as answer:
            assert answer.status == 503
            assert await answer.text() == "the API server has not answered yet\n"
        async with http.get(f"{waiting.metrics}/metrics") as answer:
            assert answer.status == 200


async def test_it_tries_again_with_growing_pauses(waiting: Waiting) -> None:
    async with asyncio.timeout(DEADLINE):
        pauses = [(await waiting.line("operator.waiting"))["retry_in"] for _ in range(2)]
    assert pauses == [1.0, 2.0]


async def test_a_signal_ends_it_also_while_the_api_server_keeps_it_waiting_for_an_answer(
    tmp_path: Path,
) -> None:
    """The pod has 15 seconds to end; a request may take 30."""
    asked, answering = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        await answering.wait()
        return web.json_response({})

    async with running() as server, asyncio.timeout(DEADLINE):
        server.calls(answer)
        operator = await begin(tmp_path, server.url)
        await asked.wait()
        operator.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await operator.ended() == 0
        answering.set()


async def test_an_api_server_that_refuses_it_for_good_ends_it_with_an_error(tmp_path: Path) -> None:
    """Missing rights are not an outage: the pod has to show it."""
    async with running() as server, asyncio.timeout(DEADLINE):
        refusing(server)
        operator = await begin(tmp_path, server.url)
        assert operator.process.stderr is not None
        text = (await operator.process.stderr.read()).decode()
        assert await operator.process.wait() == 1
    assert "secrets is forbidden" in text
    assert "t0ken" not in text


def refusing(server: ApiServer) -> None:
    server.refuses(403, "Forbidden", message="secrets is forbidden")
