"""Puts the operator together, runs it, and takes it apart again on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog

from mtls_operator.api import names
from mtls_operator.cluster import Kind, KubernetesCluster, UnavailableError, connect
from mtls_operator.cluster.labelled import LabelledWatch
from mtls_operator.cluster.named import NamedWatches, Target
from mtls_operator.cluster.proxies import ProxyStatus
from mtls_operator.cluster.readiness import ReadinessProbe
from mtls_operator.controller import internal, keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.authority import AuthorityReconciler
from mtls_operator.controller.certificate import CertificateReconciler
from mtls_operator.controller.context import Context, utc_now
from mtls_operator.controller.crl_server import CrlServer
from mtls_operator.controller.dispatch import Dispatch
from mtls_operator.controller.handlers import WATCHED, registry_for, settings_for
from mtls_operator.controller.health import HealthServer
from mtls_operator.controller.host import HostReconciler
from mtls_operator.controller.internal import SERVER_LIFETIME, Internal
from mtls_operator.controller.issuer import Issuer
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.controller.keystores import KeystoreMaker
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.leftovers import Leftovers
from mtls_operator.controller.lists import Lists
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.pruning import Pruning
from mtls_operator.controller.queue import WorkQueue
from mtls_operator.controller.recorder import Recorder
from mtls_operator.controller.reports import Reports
from mtls_operator.controller.requests import RevocationRequests
from mtls_operator.controller.rotation import Rotation
from mtls_operator.controller.rule import RuleReconciler
from mtls_operator.controller.served import ServedLists
from mtls_operator.controller.serving import ServingCertificates
from mtls_operator.controller.settings import Settings
from mtls_operator.controller.trust import Trusts
from mtls_operator.controller.unchecked import Unchecked
from mtls_operator.controller.views import Views
from mtls_operator.controller.workers import Reconcile, Workers, interval_of
from mtls_operator.controller.world import World
from mtls_operator.push import DiscoveryServer, Report, ServerCredentials

_log = structlog.get_logger(__name__)

#: Work is due, yet nothing has succeeded for this long: the probe restarts the process.
STUCK_SECONDS = 300.0
_GRACE_SECONDS = 3.0
#: Streams end with the process anyway; proxies come back by themselves.
_STREAM_SECONDS = 0.5


@dataclass(slots=True)
class Operator:
    """Everything of one running operator."""

    context: Context
    cluster: KubernetesCluster
    discovery: DiscoveryServer
    dispatch: Dispatch
    workers: Workers
    metrics: Metrics
    watches: NamedWatches
    lists: LabelledWatch
    passwords: NamedWatches
    status_port: ProxyStatus
    internal: Internal
    served: ServedLists = field(default_factory=ServedLists)
    synced: bool = False

    def first_event(self) -> None:
        """Start to work: the first lists are complete."""
        if self.synced:
            return
        self.synced = True
        self.discovery.open()
        self.workers.start()
        _log.info("operator.synced")

    def alive(self) -> str:
        """Return what is wrong with the process itself."""
        if self.synced and not self.workers.alive:
            return "a worker has died"
        idle = time.monotonic() - self.workers.last_success
        if self.context.queue.ready_length() and idle > STUCK_SECONDS:
            return f"no reconcile has succeeded for {idle:.0f} s"
        return ""

    def ready(self) -> str:
        """Return why the operator does not work yet."""
        return "" if self.synced else "the first lists are not complete"

    def text(self) -> bytes:
        """Return the metrics."""
        snapshot = self.discovery.snapshot()
        self.metrics.streams.set(snapshot.streams)
        self.metrics.pushes.set(snapshot.pushes)
        self.metrics.refusals.set(snapshot.refusals)
        self.metrics.queue.set(self.context.queue.ready_length())
        return self.metrics.text()


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


async def build(settings: Settings, cluster: KubernetesCluster) -> Operator:
    """Wire everything; loads or makes the internal CA and starts the discovery server (not open yet)."""
    loop = asyncio.get_running_loop()
    queue: WorkQueue[Key] = WorkQueue(clock=loop.time, interval_of=interval_of)
    box: dict[str, Dispatch] = {}

    def on_report(report: Report) -> None:
        loop.call_soon_threadsafe(box["dispatch"].reported, report)

    discovery = DiscoveryServer(
        address=f"{settings.discovery_bind}:{settings.discovery_port}", on_report=on_report
    )
    context = Context(
        settings=settings,
        cluster=cluster,
        world=World(),
        queue=queue,
        push=discovery,
        reports=Reports(),
        recorder=Recorder(cluster, utc_now),
    )
    own = await internal.load(context)
    authorities = Authorities(context, Ledgers(context))
    dispatch = box["dispatch"] = Dispatch(
        context, authorities, discovery, Unchecked(context, _webhook_probe(own, settings).answers)
    )
    discovery.start(_credentials(own, settings))
    serving = ServingCertificates(context)

    def on_change(target: Target) -> None:
        hosts.source_changed(target)

    watches = NamedWatches(cluster, on_change)
    lists = LabelledWatch(
        cluster, Kind.CONFIG_MAP, names.LIST_LABEL, on_seen=dispatch.list_seen, on_gone=dispatch.list_gone
    )
    # Before any rule is looked at: a rule whose list is not known yet would be refused.
    await lists.load()
    keystores = KeystoreMaker(context)
    passwords = NamedWatches(cluster, lambda target: keystores.changed(*target[1:]))
    keystores.watches = passwords
    status_port = ProxyStatus()
    hosts = HostReconciler(context, authorities, serving, Trusts(context, own.seal), watches, status_port)
    metrics, served = Metrics(), ServedLists()
    return Operator(
        context=context,
        cluster=cluster,
        discovery=discovery,
        dispatch=dispatch,
        workers=Workers(
            queue,
            _reconcilers(context, authorities, own, hosts, keystores, served),
            metrics,
            settings.workers,
        ),
        metrics=metrics,
        watches=watches,
        lists=lists,
        passwords=passwords,
        status_port=status_port,
        internal=own,
        served=served,
    )


def _reconcilers(  # noqa: PLR0913, PLR0917 - everything that they are made of
    context: Context,
    authorities: Authorities,
    own: Internal,
    hosts: HostReconciler,
    keystores: KeystoreMaker,
    served: ServedLists,
) -> dict[Topic, Reconcile]:
    clock = asyncio.get_running_loop().time
    lists = Lists(context, authorities, served)
    leftovers = Leftovers(context, clock)
    authority = AuthorityReconciler(
        context,
        authorities,
        own,
        Rotation(context, authorities),
        RevocationRequests(context, authorities),
        lists,
        Pruning(context, authorities.ledgers, clock),
    )
    certificate = CertificateReconciler(
        context, authorities, Issuer(context, authorities, keystores), Views(context, keystores)
    )
    rule = RuleReconciler(context, hosts)

    async def rules(key: Key) -> float | None:
        return await rule.reconcile(key.namespace, key.name)

    return {
        Topic.INTERNAL: lambda _: own.reconcile(),
        Topic.AUTHORITY: lambda key: authority.reconcile(key.namespace),
        Topic.CERTIFICATE: lambda key: certificate.reconcile(key.namespace, key.name),
        Topic.HOST: lambda key: hosts.reconcile(key.namespace, key.name),
        Topic.RULE: rules,
        Topic.LISTS: lambda key: lists.reconcile(key.namespace),
        Topic.LEFTOVERS: lambda _: leftovers.reconcile(),
    }


def _credentials(own: Internal, settings: Settings) -> ServerCredentials:
    issued = own.server_certificate(settings.discovery_host)
    return ServerCredentials(
        certificate_chain_pem=issued.certificate_pem.encode(),
        key_pem=issued.key_pem,
        client_ca_pem=own.ca_pem.encode(),
    )


def _webhook_probe(own: Internal, settings: Settings) -> ReadinessProbe:
    host = f"{settings.webhook_service}.{settings.operator_namespace}.svc.{settings.cluster_domain}"
    return ReadinessProbe(f"https://{host}/readyz", own.ca_pem)


async def _rotate(operator: Operator) -> None:
    """Renew the discovery server's certificate at two thirds of its life, without a restart."""
    while True:
        await asyncio.sleep(SERVER_LIFETIME.total_seconds() * 2 / 3)
        operator.discovery.rotate(_credentials(operator.internal, operator.context.settings))


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 after a signal, 1 when a part died."""
    cluster = await connect(concurrency=max(16, settings.workers))
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
    parts = [
        asyncio.create_task(_watch(operator, stop), name="kopf"),
        asyncio.create_task(_rotate(operator), name="rotation"),
        asyncio.create_task(operator.lists.run(), name="lists"),
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


async def _watch(operator: Operator, stop: asyncio.Event) -> None:
    memo: Any = kopf.Memo()
    await kopf.operator(
        registry=registry_for(operator.dispatch, operator.first_event),
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
