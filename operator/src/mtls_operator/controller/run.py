"""Runs the operator, and takes it apart again on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import kopf
import structlog

from mtls_operator.cluster import KubernetesCluster, UnavailableError, connect
from mtls_operator.controller import keys
from mtls_operator.controller.crl_server import CrlServer
from mtls_operator.controller.first_lists import FirstLists
from mtls_operator.controller.handlers import WATCHED, registry_for, settings_for
from mtls_operator.controller.health import HealthServer
from mtls_operator.controller.internal import SERVER_LIFETIME
from mtls_operator.controller.settings import Settings
from mtls_operator.controller.wiring import Operator, build, credentials
from mtls_operator.controller.workers import RESERVED

_log = structlog.get_logger(__name__)
_GRACE_SECONDS = 3.0
#: How often is looked whether the discovery server needs a new certificate.
_LOOK_SECONDS = 60.0
#: Streams end with the process anyway; proxies come back by themselves.
_STREAM_SECONDS = 0.5


@dataclass(slots=True)
class Probes:
    """What the health ports answer, also while there is no operator yet because the API server does not answer.

    A process that waits is alive: restarting it would only add the kubelet's growing pauses to the outage.
    """

    operator: Operator | None = None

    def alive(self) -> str:
        """Return what is wrong with the process itself."""
        return self.operator.alive() if self.operator is not None else ""

    def ready(self) -> str:
        """Return why the operator does not work yet."""
        return self.operator.ready() if self.operator is not None else "the API server has not answered yet"

    def text(self) -> bytes:
        """Return the metrics; none while there is nothing to count."""
        return self.operator.text() if self.operator is not None else b""


async def _rotate(operator: Operator) -> None:
    """Renew the discovery server's certificate at two thirds of its life, without a restart.

    By the clock that proxies compare it with: it may be set, and go on while this machine sleeps.
    """
    made = operator.context.now()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = operator.context.now()
        if made <= now < made + SERVER_LIFETIME * 2 / 3:
            continue
        operator.discovery.rotate(credentials(operator.internal, operator.context.settings))
        made = now


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 after a signal, 1 when a part died."""
    cluster = await connect(concurrency=max(16, settings.workers + RESERVED))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    probes = Probes()
    health = HealthServer(alive=probes.alive, ready=probes.ready, metrics=probes.text)
    await health.start(health_port=settings.health_port, metrics_port=settings.metrics_port)
    operator = probes.operator = await _start(settings, cluster, stop)
    if operator is None:
        await health.stop()
        await cluster.close()
        _log.info("operator.stopped")
        return 0
    crls = CrlServer(operator.served, operator.context.now)
    if settings.crl_port:
        await crls.start(settings.crl_port)
    operator.context.queue.add(keys.INTERNAL)
    first = FirstLists(cluster, WATCHED)
    parts = [
        asyncio.create_task(_watch(operator, first, stop), name="kopf"),
        asyncio.create_task(_rotate(operator), name="rotation"),
        asyncio.create_task(operator.lists.run(), name="lists"),
        asyncio.create_task(_begin(operator, first, stop), name="first lists"),
        asyncio.create_task(operator.given.run(), name="given"),
        asyncio.create_task(operator.grants.run(), name="grants"),
    ]
    stopping = asyncio.create_task(stop.wait(), name="signal")
    done, _ = await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
    # Kopf answers signals too, and then returns; a part that fails raises.
    died = [task for task in done if task.cancelled() or task.exception() is not None]
    for task in died:
        error = None if task.cancelled() else task.exception()
        _log.error("operator.part.died", part=task.get_name(), error=repr(error))
    _log.info("operator.stopping")
    stop.set()
    await _stop(operator, health, crls, parts)
    return 1 if died else 0


async def _start(settings: Settings, cluster: KubernetesCluster, stop: asyncio.Event) -> Operator | None:
    """Build the operator, waiting for an API server that does not answer yet; None when told to stop before."""
    delay = 0.5
    while not stop.is_set():
        try:
            return await _unless(stop, _build_when_served(settings, cluster))
        except UnavailableError as error:
            _log.warning("operator.waiting", error=str(error), retry_in=delay)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=delay)
        delay = min(delay * 2, 15.0)
    return None


async def _build_when_served(settings: Settings, cluster: KubernetesCluster) -> Operator:
    """Build the operator once every kind is served: kopf looks only once, and never watches what is missing then."""
    missing = await cluster.unserved(WATCHED)
    if missing:
        kinds = ", ".join(kind.kind for kind in missing)
        raise UnavailableError(f"the API server does not serve {kinds} yet: are the definitions installed?")
    return await build(settings, cluster)


async def _unless(stop: asyncio.Event, building: Coroutine[Any, Any, Operator]) -> Operator | None:
    """Return what is built; None when told to stop before: an API server that hangs does not hold up the end."""
    task, stopping = asyncio.create_task(building), asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def _begin(operator: Operator, first: FirstLists, stop: asyncio.Event) -> None:
    """Let the work begin once everything has been seen, unless the end came first; like every part, do not end."""
    await first.wait()
    if not stop.is_set():
        operator.begin()
    await asyncio.Event().wait()


async def _watch(operator: Operator, first: FirstLists, stop: asyncio.Event) -> None:
    memo: Any = kopf.Memo()
    await kopf.operator(
        registry=registry_for(operator.dispatch, first),
        settings=settings_for(kopf.OperatorSettings()),
        memo=memo,
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
    )


async def _stop(
    operator: Operator, health: HealthServer, crls: CrlServer, parts: list[asyncio.Task[None]]
) -> None:
    """Stop in the order in which nothing is lost: no new work, Events out, streams closed, connections closed."""
    operator.pulse.stop()
    await operator.workers.stop()
    await operator.watches.close()
    await operator.passwords.close()
    await operator.context.recorder.drain()
    await asyncio.wait(parts, timeout=_GRACE_SECONDS)
    for task in parts:
        task.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    await asyncio.to_thread(operator.discovery.stop, _STREAM_SECONDS)
    await crls.stop()
    await health.stop()
    await operator.status_port.close()
    await operator.cluster.close()
    _log.info("operator.stopped")
