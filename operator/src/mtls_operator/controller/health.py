"""The operator's own HTTP ports: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

#: An answer with metrics counts for as long: everybody may ask, and counting goes over all that is there.
METRICS_SECONDS: Final = 1.0


class HealthServer:
    """Answers probes from two functions that say what is wrong; an empty answer is good."""

    def __init__(
        self, *, alive: Callable[[], str], ready: Callable[[], str], metrics: Callable[[], bytes]
    ) -> None:
        self._alive, self._ready, self._metrics = alive, ready, metrics
        self._runners: list[web.AppRunner] = []
        self._counted: tuple[float, bytes] | None = None

    async def start(self, *, health_port: int, metrics_port: int) -> None:
        """Listen on both ports."""
        probes = web.Application()
        probes.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
        metrics = web.Application()
        metrics.add_routes([web.get("/metrics", self._metricsz)])
        for app, port in ((probes, health_port), (metrics, metrics_port)):
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", port).start()
            self._runners.append(runner)

    async def stop(self) -> None:
        """Close both ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready())

    async def _metricsz(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        if self._counted is None or now >= self._counted[0] + METRICS_SECONDS:
            self._counted = now, self._metrics()
        return web.Response(body=self._counted[1], content_type="text/plain", charset="utf-8")


def _answer(problem: str) -> web.Response:
    if problem:
        return web.Response(status=503, text=f"{problem}\n")
    return web.Response(text="ok\n")
