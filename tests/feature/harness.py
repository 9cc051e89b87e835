"""The whole operator in one process: its real loop on a cluster in memory, with proxies that answer when told to.

Only four things are not the product's own: the API server, the discovery server (what was published is kept, and
proxies answer it), the status port, and time. Everything else is wired as the product wires it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.builders import NAMESPACE
from tests.support.fake_cluster import Crash, FakeClient, FakeCluster, Write

from mtls_operator.api import names
from mtls_operator.cluster import Body, Kind
from mtls_operator.controller import internal
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.clock import Pulse
from mtls_operator.controller.context import Context
from mtls_operator.controller.dispatch import Dispatch
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.grants import Grants
from mtls_operator.controller.handlers import WATCHED
from mtls_operator.controller.held_copies import HeldCopies
from mtls_operator.controller.host import HostReconciler
from mtls_operator.controller.keys import Key
from mtls_operator.controller.keystores import KeystoreMaker
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.queue import WorkQueue
from mtls_operator.controller.recorder import Recorder
from mtls_operator.controller.reports import Reports
from mtls_operator.controller.served import ServedLists
from mtls_operator.controller.serving import ServingCertificates
from mtls_operator.controller.settings import Settings
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.trust import Trusts
from mtls_operator.controller.unchecked import Unchecked
from mtls_operator.controller.wiring import pulse_of, reconcilers
from mtls_operator.controller.workers import Workers, interval_of, is_urgent
from mtls_operator.controller.world import World
from mtls_operator.envoy import version_of
from mtls_operator.envoy.sds import CLIENT_CA_SECRET, SERVER_SECRET
from mtls_operator.pki import index_of, parse_serial, read_certificate
from mtls_operator.plan.ledger import RECORDS_KEY, Entry, Record, decode, latest
from mtls_operator.push import Pod as PushedPod
from mtls_operator.push import Report, ReportKind, Scope, Script

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: How long nothing may be due before the operator counts as idle, in (virtual) seconds.
QUIET = 0.4
_SETTLE_DEADLINE = 120.0


class StrictMetrics(Metrics):
    """Remembers failures: a bug in a reconciler is a failed test, whatever came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[tuple[str, str]] = []

    def failed(self, topic: str, kind: str) -> None:
        self.failures.append((topic, kind))
        super().failed(topic, kind)


@dataclass(slots=True)
class Discovery:
    """Stands in for the discovery server: keeps what is wanted in each scope, and the pods that it was told of."""

    on_publish: Callable[[Scope, Script], None]
    published: dict[tuple[Scope, str], Script] = field(default_factory=dict)
    history: list[Script] = field(default_factory=list)
    pods: dict[str, PushedPod] = field(default_factory=dict)
    namespaces: dict[str, str | None] = field(default_factory=dict)

    def publish(self, scope: Scope, script: Script) -> None:
        if self.published.get((scope, script.name)) == script:
            return
        self.published[scope, script.name] = script
        self.history.append(script)
        self.on_publish(scope, script)

    def withdraw(self, scope: Scope, name: str) -> None:
        self.published.pop((scope, name), None)

    def set_pod(self, pod: PushedPod) -> None:
        self.pods[pod.uid] = pod

    def remove_pod(self, namespace: str, uid: str) -> None:  # noqa: ARG002 - as the real one
        self.pods.pop(uid, None)

    def set_namespace(self, namespace: str, uid: str | None) -> None:
        self.namespaces[namespace] = uid


@dataclass(slots=True)
class Watches:
    """Stands in for the watches of single objects: remembers what is watched."""

    targets: set[tuple[Kind, str, str]] = field(default_factory=set)

    def watch(self, target: tuple[Kind, str, str]) -> None:
        self.targets.add(target)

    def keep(self, wanted: set[tuple[Kind, str, str]]) -> None:
        self.targets &= wanted


@dataclass(slots=True)
class Proxy:
    """A sidecar: which scripts it runs. ``obedient``: it acknowledges by itself; ``fresh``: its files are current."""

    pod: PushedPod
    address: str
    connected: bool = False
    obedient: bool = True
    fresh: bool = True
    stats: str | None = None
    runs: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StatusPort:
    """Stands in for the status ports: a proxy's files are those that the cluster holds, as after the kubelet."""

    lab: Lab

    async def read(self, address: str, path: str) -> str | None:  # noqa: ARG002 - as the real one
        await asyncio.sleep(0.001)
        proxy = next((one for one in self.lab.proxies.values() if one.address == address), None)
        if proxy is None:
            return None
        if proxy.stats is not None:
            return proxy.stats
        return self.lab.files_of(proxy) if proxy.fresh else ""


@dataclass(slots=True)
class Feed:
    """Delivers watch events in order for each kind, each kind after a delay of its own."""

    deliver: Callable[[Kind, str, Body], None]
    delays: Mapping[Kind, float]
    held: set[Kind] = field(default_factory=set)
    waiting: dict[Kind, deque[tuple[str, Body]]] = field(default_factory=dict)
    stopped: bool = False

    def take(self, kind: Kind, event: str, body: Body) -> None:
        self.waiting.setdefault(kind, deque()).append((event, body))
        delay = self.delays.get(kind, 0.002)
        asyncio.get_running_loop().call_later(delay, self._next, kind)

    def _next(self, kind: Kind) -> None:
        queue = self.waiting[kind]
        if kind in self.held or not queue or self.stopped:
            return
        event, body = queue.popleft()
        self.deliver(kind, event, body)

    def release(self, kind: Kind) -> None:
        """Deliver everything of a kind that was held back."""
        self.held.discard(kind)
        while self.waiting.get(kind):
            self._next(kind)

    @property
    def idle(self) -> bool:
        return not any(queue for kind, queue in self.waiting.items() if kind not in self.held)


@dataclass(slots=True)
class Process:
    """One life of the operator."""

    lab: Lab
    client: FakeClient
    context: Context
    discovery: Discovery
    dispatch: Dispatch
    authorities: Authorities
    hosts: HostReconciler
    serving: ServingCertificates
    served: ServedLists
    keystores: KeystoreMaker
    workers: Workers
    metrics: StrictMetrics
    feed: Feed
    lists: Feed
    given: Feed
    pulse: Pulse
    grants: Feed
    stop_watch: Callable[[], None] = lambda: None
    stop_lists: Callable[[], None] = lambda: None
    stop_given: Callable[[], None] = lambda: None
    stop_grants: Callable[[], None] = lambda: None

    def deliver(self, kind: Kind, event: str, body: Body) -> None:
        """Do what our handler does with an event of kopf's."""
        if event != "DELETED":
            self.dispatch.observe(kind, body)
        self.dispatch.changed(kind, body, gone=event == "DELETED")

    def deliver_list(self, _: Kind, event: str, body: Body) -> None:
        """Do what the watch of named lists does with an event."""
        if event == "DELETED":
            self.dispatch.list_gone(body["metadata"]["namespace"], body["metadata"]["name"])
        else:
            self.dispatch.list_seen(body)

    def deliver_given(self, _: Kind, event: str, body: Body) -> None:
        """Do what the watch of issuing CAs does with an event: it looks at the operator's namespace alone."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        if namespace != names.OPERATOR_NAMESPACE:
            return
        if event == "DELETED":
            self.dispatch.given_gone(namespace, name)
        else:
            self.dispatch.given_seen(body)

    def deliver_grant(self, _: Kind, event: str, body: Body) -> None:
        """Do what the watch of grants does with an event."""
        if event == "DELETED":
            self.dispatch.grant_gone(body["metadata"]["namespace"], body["metadata"]["name"])
        else:
            self.dispatch.grant_seen(body)

    @property
    def idle(self) -> bool:
        queue = self.context.queue
        soon = asyncio.get_running_loop().time() + QUIET
        return (
            not queue._running
            and all(due > soon for due in queue._due.values())
            and self.feed.idle
            and self.lists.idle
            and self.given.idle
            and self.grants.idle
            and not self.dispatch._settling
            and not self.context.recorder._tasks
        )

    def tenant(self, namespace: str = NAMESPACE) -> Tenant:
        """Return what is in memory of a namespace."""
        return self.authorities.tenants[namespace]

    async def stop(self) -> None:
        """Die: nothing of this process reaches the cluster any more."""
        self.client.dead = True
        self.pulse.stop()
        if not self.feed.stopped:
            self.stop_watch()
            self.stop_lists()
            self.stop_given()
            self.stop_grants()
        self.feed.stopped = self.lists.stopped = self.given.stopped = self.grants.stopped = True
        await self.workers.stop()
        await asyncio.gather(*self.context.recorder._tasks, return_exceptions=True)


@dataclass(slots=True)
class Lab:
    """A cluster, its proxies, and the operator in it."""

    log_lines: list[Any]
    skew: timedelta = timedelta()
    delays: dict[Kind, float] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    workers: int = 4
    random: random.Random = field(default_factory=lambda: random.Random(7))
    cluster: FakeCluster = field(init=False)
    process: Process = field(init=False)
    processes: list[Process] = field(default_factory=list)
    old_page: Body = field(default_factory=dict)
    webhook_is_there: bool = True
    settings: Settings = field(default_factory=Settings)
    ticks: Iterator[int] = field(default_factory=itertools.count)
    #: Seconds between two looks at the clock: seldom, since a test lets months pass.
    beat: float = 3600.0
    #: Told of every script that any process publishes.
    listeners: list[Callable[[Scope, Script], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = FakeCluster(now=self.now)
        self.cluster.make_namespace(names.OPERATOR_NAMESPACE)
        self.cluster.make_namespace(NAMESPACE)

    # Time

    def now(self) -> datetime:
        """Return the time that the operator and the API server see: a little later each time that it is asked for."""
        since = timedelta(seconds=asyncio.get_running_loop().time() - 1000.0, microseconds=next(self.ticks))
        return START + since + self.skew

    async def webhook_answers(self) -> bool:
        """Answer the operator's question whether the webhook is there."""
        return self.webhook_is_there

    # Life of the operator

    async def start(
        self, *, crash_at: int | None = None, crash_after: bool = False, paused: asyncio.Event | None = None
    ) -> Process:
        """Start the operator with no memory: everything is listed, then the work begins."""
        client = FakeClient(self.cluster, crash_at=crash_at, crash_after=crash_after, paused=paused)
        loop = asyncio.get_running_loop()
        queue: WorkQueue[Key] = WorkQueue(clock=loop.time, interval_of=interval_of, is_urgent=is_urgent)
        context = Context(
            settings=replace(self.settings, webhook_configuration=""),
            cluster=client,
            world=World(),
            queue=queue,
            push=None,  # type: ignore[arg-type]  # set below: each needs the other
            reports=Reports(),
            recorder=Recorder(client, self.now),
            now=self.now,
            entropy=self.random.randbytes,
        )
        discovery = Discovery(on_publish=self._offered)
        context.push = discovery
        own = await internal.load(context)
        authorities = Authorities(context, Ledgers(context))
        unchecked = Unchecked(context, self.webhook_answers)
        copies = HeldCopies(context, own.seal)
        granting = Granting(context, authorities, Grants(context.world), copies)
        dispatch = Dispatch(context, authorities, discovery, granting, unchecked)  # type: ignore[arg-type]  # the part that it uses
        serving = ServingCertificates(context)
        hosts = HostReconciler(
            context,
            authorities,
            serving,
            Trusts(context, copies, granting),
            Watches(),
            StatusPort(self),
        )  # type: ignore[arg-type]
        keystores = KeystoreMaker(context, Watches())
        metrics = StrictMetrics()
        served = ServedLists()
        of_topics = reconcilers(context, authorities, own, hosts, keystores, served)
        workers = Workers(queue, of_topics, metrics, self.workers)
        process = Process(
            lab=self,
            client=client,
            context=context,
            discovery=discovery,
            dispatch=dispatch,
            authorities=authorities,
            hosts=hosts,
            serving=serving,
            served=served,
            keystores=keystores,
            workers=workers,
            metrics=metrics,
            feed=Feed(lambda *event: process.deliver(*event), self.delays),  # noqa: PLW0108 - not bound yet
            pulse=replace(pulse_of(context, dispatch), beat_seconds=self.beat),
            lists=Feed(lambda *event: process.deliver_list(*event), self.delays),  # noqa: PLW0108 - as above
            given=Feed(lambda *event: process.deliver_given(*event), self.delays),  # noqa: PLW0108 - as above
            grants=Feed(lambda *event: process.deliver_grant(*event), self.delays),  # noqa: PLW0108 - as above
        )
        process.pulse.start()
        self.process = process
        self.processes.append(process)
        process.stop_watch = self.cluster.watch(WATCHED, process.feed.take)
        for body in self.cluster.all(Kind.CONFIG_MAP, None, names.LIST_LABEL):
            dispatch.list_seen(body)
        for body in self.cluster.all(Kind.CONFIG_MAP, None, names.GRANT_LABEL):
            dispatch.grant_seen(body)
        process.stop_grants = self.cluster.watch({Kind.CONFIG_MAP: names.GRANT_LABEL}, process.grants.take)
        process.stop_lists = self.cluster.watch({Kind.CONFIG_MAP: names.LIST_LABEL}, process.lists.take)
        for body in self.cluster.all(Kind.SECRET, names.OPERATOR_NAMESPACE, names.ISSUING_CA_LABEL):
            dispatch.given_seen(body)
        process.stop_given = self.cluster.watch({Kind.SECRET: names.ISSUING_CA_LABEL}, process.given.take)
        listed = [
            (kind, body) for kind, labels in WATCHED.items() for body in self.cluster.all(kind, None, labels)
        ]
        random.Random(len(self.processes)).shuffle(listed)  # the kinds are listed beside each other
        for kind, body in listed:
            dispatch.observe(kind, body)
            dispatch.changed(kind, body, gone=False, listed=True)
        workers.start()
        for proxy in self.proxies.values():
            if proxy.connected:
                self._connected(proxy)
        return process

    async def stop(self) -> None:
        """Stop the operator and forget its memory."""
        await self.process.stop()

    async def restart(self) -> Process:
        """Kill the operator and start another one."""
        await self.stop()
        return await self.start()

    async def close(self) -> None:
        """End every process that is left."""
        for process in self.processes:
            await process.stop()

    async def settle(self, *, failures: bool = False) -> None:
        """Let the operator work until nothing is due soon; fail on a bug, and on any failure unless expected."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETTLE_DEADLINE
        process = self.process
        while not process.idle:
            if process.client.dead:
                raise Crash
            if loop.time() > deadline:
                queue = process.context.queue
                raise AssertionError(f"still busy: running {queue._running}, due {queue._due}")
            await asyncio.sleep(0.01)
        if process.client.dead:
            raise Crash
        self.check_failures(failures=failures)

    def check_failures(self, *, failures: bool = False) -> None:
        """Fail on a reconcile that crashed, or failed at all."""
        bugs = [failure for failure in self.process.metrics.failures if failure[1] == "bug"]
        crashes = [line for line in self.log_lines if line["event"] == "reconcile.crashed"]
        assert not bugs, (bugs, crashes)
        assert failures or not self.process.metrics.failures, self.process.metrics.failures

    async def pass_time(self, **duration: float) -> None:
        """Let time pass; the operator works meanwhile."""
        await asyncio.sleep(timedelta(**duration).total_seconds())
        await self.settle()

    async def pass_time_with_failures(self, **duration: float) -> None:
        """Let time pass in which failed reconciles are to be expected, bugs are not."""
        await asyncio.sleep(timedelta(**duration).total_seconds())
        await self.settle(failures=True)

    def resync(self) -> None:
        """Do what a new list of everything does."""
        for kind, labels in WATCHED.items():
            for body in self.cluster.all(kind, None, labels):
                self.process.dispatch.observe(kind, body)
                self.process.dispatch.changed(kind, body, gone=False, listed=True)

    def source_changed(self, name: str, kind: Kind = Kind.SECRET) -> None:
        """Do what the watch of an object of a user does."""
        self.process.hosts.source_changed((kind, NAMESPACE, name))

    def password_changed(self, secret: str) -> None:
        """Do what the watch of the Secret with a keystore's password does."""
        self.process.keystores.changed(NAMESPACE, secret)

    # What is there

    def writes(self) -> list[Write]:
        """Return the writes since the last call, and forget them."""
        made, self.cluster.writes[:] = list(self.cluster.writes), []
        return made

    def status(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """Return the status of an object."""
        status: dict[str, Any] = self.cluster.read(kind, namespace, name).get("status") or {}
        return status

    def condition(
        self, kind: Kind, name: str, of_type: str, namespace: str = NAMESPACE
    ) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        for condition in self.status(kind, name, namespace).get("conditions", ()):
            if condition["type"] == of_type:
                return condition["status"], condition["reason"], condition["message"]
        raise AssertionError(f"{kind.kind} {name} has no condition {of_type}")

    def state(self, name: str = "gateway", namespace: str = NAMESPACE) -> str:
        """Return the state of a ClientCertificate."""
        return str(self.status(Kind.CERTIFICATE, name, namespace).get("state"))

    def serial(self, name: str = "gateway", namespace: str = NAMESPACE) -> str:
        """Return the serial number of the certificate in the Secret of that name."""
        body = self.cluster.read(Kind.SECRET, namespace, name)
        return read_certificate(b64decode(body["data"][names.TLS_CERT_KEY])).serial

    def ledger(self, namespace: str = NAMESPACE) -> dict[str, Record]:
        """Return what the ledger in the cluster says, of every life of the namespace."""
        records: list[Record] = []
        for page in self.ledger_pages(namespace):
            records += decode(page["data"][RECORDS_KEY])[0]
        return latest(records)

    def ledger_pages(self, namespace: str = NAMESPACE) -> list[Body]:
        """Return the pages of the ledger."""
        labels = f"{names.ROLE_LABEL}=ledger,{names.NAMESPACE_LABEL}={namespace}"
        return self.cluster.all(Kind.CONFIG_MAP, names.OPERATOR_NAMESPACE, labels)

    def revoked_in_ledger(self, namespace: str = NAMESPACE) -> set[str]:
        """Return the serial numbers that the ledger says are revoked."""
        return {s for s, record in self.ledger(namespace).items() if record.entry is Entry.REVOKED}

    def authority_secrets(self, namespace: str = NAMESPACE) -> list[Body]:
        """Return the Secrets of the namespace's managed CAs."""
        labels = f"{names.ROLE_LABEL}=authority,{names.NAMESPACE_LABEL}={namespace}"
        return self.cluster.all(Kind.SECRET, names.OPERATOR_NAMESPACE, labels)

    def revocation_script(self, namespace: str = NAMESPACE) -> str:
        """Return the script that is pushed to a namespace's proxies."""
        return self.process.discovery.published[Scope(namespace), names.REVOCATION_FILTER].text

    def is_refused(self, serial: str, namespace: str = NAMESPACE) -> bool:
        """Say whether the proxies refuse a serial number, and the list for people says the same."""
        refused = self.proxies_refuse(serial, namespace)
        data = self.cluster.read(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)["data"]
        readable = data[names.REVOKED_JSON_KEY]
        assert (serial in readable) == refused, f"the readable list disagrees: {readable}"
        return refused

    def proxies_refuse(self, serial: str, namespace: str = NAMESPACE) -> bool:
        """Say whether the proxies refuse a serial number: by what is pushed, and by the mounted file, which agree."""
        pushed = revokes(self.revocation_script(namespace), serial)
        data = self.cluster.read(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)["data"]
        mounted = revokes(data[names.REVOCATION_KEY], serial)
        assert pushed == mounted, "pushed and mounted list disagree"
        return pushed

    def events(self, namespace: str = NAMESPACE) -> list[tuple[str, str, str]]:
        """Return type, reason and message of the Events."""
        return [(e["type"], e["reason"], e["message"]) for e in self.cluster.all(Kind.EVENT, namespace)]

    def client_secrets(self, namespace: str = NAMESPACE) -> dict[str, str]:
        """Return the serial number of each Secret that holds a client certificate."""
        labels = f"{names.ROLE_LABEL}=certificate"
        return {
            body["metadata"]["name"]: self.serial(body["metadata"]["name"], namespace)
            for body in self.cluster.all(Kind.SECRET, namespace, labels)
        }

    # Proxies

    def run_pod(self, body: Body, *, obedient: bool = True) -> Proxy:
        """Make a pod whose sidecar connects; unless ``obedient``, it acknowledges only when told to."""
        made = self.cluster.make(body)
        metadata = made["metadata"]
        pushed = PushedPod(
            metadata["namespace"], metadata["name"], metadata["uid"], metadata["labels"][names.HOST_LABEL]
        )
        proxy = Proxy(pushed, made["status"]["podIP"], obedient=obedient)
        self.proxies[pushed.uid] = proxy
        self.connect(proxy)
        return proxy

    def connect(self, proxy: Proxy) -> None:
        """Let a proxy connect."""
        proxy.connected = True
        if self.processes and not self.process.client.dead:
            self._connected(proxy)

    def disconnect(self, proxy: Proxy) -> None:
        """Cut a proxy off."""
        proxy.connected = False
        for resource in (names.RULES_FILTER, names.REVOCATION_FILTER):
            self._report(proxy, resource, ReportKind.DISCONNECTED, version=proxy.runs.get(resource, ""))

    def ack(
        self, proxy: Proxy, resources: Iterable[str] = (names.RULES_FILTER, names.REVOCATION_FILTER)
    ) -> None:
        """Let a proxy acknowledge what is published for it now."""
        for resource in resources:
            script = self._wanted(proxy, resource)
            if script is not None:
                proxy.runs[resource] = script.version
                self._report(proxy, resource, ReportKind.ACKNOWLEDGED, version=script.version)

    def refuse(self, proxy: Proxy, resource: str, error: str) -> None:
        """Let a proxy refuse what is published for it now."""
        script = self._wanted(proxy, resource)
        assert script is not None
        before = proxy.runs.get(resource, "")
        self._report(proxy, resource, ReportKind.REFUSED, version=before, error=error, refused=script.version)

    def files_of(self, proxy: Proxy) -> str:
        """Return the statistics of a proxy whose files are those of the cluster."""
        host, namespace = proxy.pod.host, proxy.pod.namespace
        config = self.cluster.find(Kind.CONFIG_MAP, namespace, names.host_config(host))
        server = self.cluster.find(Kind.SECRET, namespace, names.server_secret(host))
        if config is None or server is None:
            return ""
        files = {key: text.encode() for key, text in config.get("data", {}).items()}
        files |= {key: b64decode(text) for key, text in server.get("data", {}).items()}
        lines = {
            f"sds.{SERVER_SECRET}": names.SERVER_SDS_KEY,
            f"sds.{CLIENT_CA_SECRET}": names.CLIENT_CA_SDS_KEY,
            "listener_manager.lds": names.LISTENER_KEY,
        }
        try:
            versions = {name: version_of(files[key].decode()) for name, key in lines.items()}
        except (KeyError, ValueError):
            return ""  # somebody took one away or damaged it: a proxy that starts now has nothing to run
        return "".join(f'{name}.version_text: "{version}"\n' for name, version in versions.items())

    def _wanted(self, proxy: Proxy, resource: str) -> Script | None:
        host = None if resource == names.REVOCATION_FILTER else proxy.pod.host
        return self.process.discovery.published.get((Scope(proxy.pod.namespace, host), resource))

    def _connected(self, proxy: Proxy) -> None:
        for resource in (names.RULES_FILTER, names.REVOCATION_FILTER):
            self._report(proxy, resource, ReportKind.CONNECTED, version=proxy.runs.get(resource, ""))
        if proxy.obedient:
            asyncio.get_running_loop().call_later(0.001, self.ack, proxy)

    def _offered(self, scope: Scope, script: Script) -> None:
        for listen in self.listeners:
            listen(scope, script)
        for proxy in self.proxies.values():
            pod = proxy.pod
            if (
                proxy.connected
                and proxy.obedient
                and scope in (Scope(pod.namespace), Scope(pod.namespace, pod.host))
            ):
                asyncio.get_running_loop().call_later(0.003, self.ack, proxy, (script.name,))

    def _report(
        self,
        proxy: Proxy,
        resource: str,
        kind: ReportKind,
        *,
        version: str,
        error: str = "",
        refused: str = "",
    ) -> None:
        if self.process.client.dead:
            return
        at = self.now().timestamp()
        self.process.dispatch.reported(Report(proxy.pod, resource, kind, version, error, at, refused))


def revokes(script: str, serial: str) -> bool:
    """Say whether a revocation script lists a serial number, reading the text that the Lua code reads."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    index = index_of(parse_serial(serial))
    body = script.split("local lists = ", 1)[1].split("local decide", 1)[0]
    for first, text in re.findall(r'= \{(\d+), "([^"]*)"\}', body):
        place = index - int(first)
        if 0 <= place // 6 < len(text) and alphabet.index(text[place // 6]) >> place % 6 & 1:
            return True
    return False
