"""Puts the operator together: every part once, and who knows whom. Nothing runs yet but the discovery server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from mtls_operator.api import names
from mtls_operator.cluster import Kind, KubernetesCluster
from mtls_operator.cluster.labelled import LabelledWatch
from mtls_operator.cluster.named import NamedWatches, Target
from mtls_operator.cluster.proxies import ProxyStatus
from mtls_operator.cluster.readiness import ReadinessProbe
from mtls_operator.controller import internal
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.authority import AuthorityReconciler
from mtls_operator.controller.certificate import CertificateReconciler
from mtls_operator.controller.clock import Pulse
from mtls_operator.controller.context import Context, utc_now
from mtls_operator.controller.dispatch import Dispatch
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.grants import Grants
from mtls_operator.controller.held_copies import HeldCopies
from mtls_operator.controller.host import HostReconciler
from mtls_operator.controller.internal import Internal
from mtls_operator.controller.issuer import Issuer
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.controller.keystores import KeystoreMaker
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.leftovers import Leftovers
from mtls_operator.controller.limits import observe_limits
from mtls_operator.controller.lists import Lists
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.notices import Notices
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
from mtls_operator.controller.workers import Reconcile, Workers, interval_of, is_urgent
from mtls_operator.controller.world import World
from mtls_operator.push import DiscoveryServer, Report, ServerCredentials

_log = structlog.get_logger(__name__)

#: Work is due, yet nothing has succeeded for this long: the probe restarts the process.
STUCK_SECONDS = 300.0


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
    given: LabelledWatch
    grants: LabelledWatch
    passwords: NamedWatches
    status_port: ProxyStatus
    internal: Internal
    pulse: Pulse
    served: ServedLists = field(default_factory=ServedLists)
    synced: bool = False

    def begin(self) -> None:
        """Start to work: the first lists are complete."""
        self.synced = True
        self.discovery.open()
        self.workers.start()
        self.pulse.start()
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
        observe_limits(self.metrics, self.context.world, self.dispatch.authorities)
        self.metrics.issuing_cas_to_give(
            tenant.notice.reason.value
            for tenant in self.dispatch.authorities.tenants.values()
            if tenant.notice is not None
        )
        return self.metrics.text()


async def build(settings: Settings, cluster: KubernetesCluster) -> Operator:
    """Wire everything; loads or makes the internal CA and starts the discovery server (not open yet)."""
    loop = asyncio.get_running_loop()
    queue: WorkQueue[Key] = WorkQueue(clock=loop.time, interval_of=interval_of, is_urgent=is_urgent)
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
    copies = HeldCopies(context, own.seal)
    granting = Granting(context, authorities, Grants(context.world), copies)
    dispatch = box["dispatch"] = Dispatch(
        context, authorities, discovery, granting, Unchecked(context, _webhook_probe(own, settings).answers)
    )
    discovery.start(credentials(own, settings))
    serving = ServingCertificates(context)

    def on_change(target: Target) -> None:
        hosts.source_changed(target)

    watches = NamedWatches(cluster, on_change)
    lists = LabelledWatch(
        cluster, Kind.CONFIG_MAP, names.LIST_LABEL, on_seen=dispatch.list_seen, on_gone=dispatch.list_gone
    )
    grants = LabelledWatch(
        cluster, Kind.CONFIG_MAP, names.GRANT_LABEL, on_seen=dispatch.grant_seen, on_gone=dispatch.grant_gone
    )
    # Before any rule or host is looked at: what is not known yet would be refused.
    await lists.load()
    given = LabelledWatch(
        cluster,
        Kind.SECRET,
        names.ISSUING_CA_LABEL,
        on_seen=dispatch.given_seen,
        on_gone=dispatch.given_gone,
        namespace=settings.operator_namespace,
    )
    # Before the first CA of a namespace: one that was given must not be forestalled by one of our own.
    await given.load()
    await grants.load()
    keystores = KeystoreMaker(context)
    passwords = NamedWatches(cluster, lambda target: keystores.changed(*target[1:]))
    keystores.watches = passwords
    status_port = ProxyStatus()
    trusts = Trusts(context, copies, granting)
    hosts = HostReconciler(context, authorities, serving, trusts, watches, status_port)
    metrics, served = Metrics(), ServedLists()
    return Operator(
        context=context,
        cluster=cluster,
        discovery=discovery,
        dispatch=dispatch,
        workers=Workers(
            queue,
            reconcilers(context, authorities, own, hosts, keystores, served),
            metrics,
            settings.workers,
        ),
        metrics=metrics,
        watches=watches,
        lists=lists,
        given=given,
        grants=grants,
        passwords=passwords,
        status_port=status_port,
        internal=own,
        pulse=pulse_of(context, dispatch),
        served=served,
    )


def pulse_of(context: Context, dispatch: Dispatch) -> Pulse:
    """Return what notices that time has jumped."""
    return Pulse(context.now, on_leap=dispatch.time_leapt, on_pause=dispatch.authorities.doubt)


def reconcilers(  # noqa: PLR0913, PLR0917 - everything that they are made of
    context: Context,
    authorities: Authorities,
    own: Internal,
    hosts: HostReconciler,
    keystores: KeystoreMaker,
    served: ServedLists,
) -> dict[Topic, Reconcile]:
    """Return what works on the keys of each topic."""
    clock = asyncio.get_running_loop().time
    lists, granting = Lists(context, authorities, served), hosts.trusts.granting
    leftovers = Leftovers(context, clock)
    authority = AuthorityReconciler(
        context,
        authorities,
        own,
        Rotation(context, authorities, granting),
        RevocationRequests(context, authorities),
        lists,
        Pruning(context, authorities.ledgers, clock),
        Notices(context, authorities),
        granting,
    )
    certificate = CertificateReconciler(
        context, authorities, Issuer(context, authorities, keystores), Views(context, keystores, granting)
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


def credentials(own: Internal, settings: Settings) -> ServerCredentials:
    """Return a new certificate of the discovery server, its key, and the CA of the proxies."""
    issued = own.server_certificate(settings.discovery_host)
    return ServerCredentials(
        certificate_chain_pem=issued.certificate_pem.encode(),
        key_pem=issued.key_pem,
        client_ca_pem=own.ca_pem.encode(),
    )


def _webhook_probe(own: Internal, settings: Settings) -> ReadinessProbe:
    host = f"{settings.webhook_service}.{settings.operator_namespace}.svc.{settings.cluster_domain}"
    return ReadinessProbe(f"https://{host}/readyz", own.ca_pem)
