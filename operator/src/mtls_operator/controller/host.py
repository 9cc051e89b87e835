"""Reconciles one MTLSHost: generated files, server certificate, pushed rules, and what every proxy says of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from mtls_operator.api import names
from mtls_operator.api.conditions import (
    Condition,
    condition_status,
    conditions_of,
    merge_conditions,
    ready,
    status_differs,
)
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cluster import Kind
from mtls_operator.cluster.named import NamedWatches, Target
from mtls_operator.cluster.proxies import ProxyStatus
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.serving import ServingCertificates
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.trust import Trusted, Trusts, targets_of
from mtls_operator.envoy import STATS_QUERY, StatsError, parse_proxy_stats
from mtls_operator.plan.authority import Phase
from mtls_operator.plan.held import Held
from mtls_operator.plan.host import (
    Configuration,
    Discovery,
    Serving,
    Trust,
    configure,
    host_objects,
    server_document,
    trust_document,
    wanted_files,
)
from mtls_operator.plan.host_status import HostView, status_of
from mtls_operator.plan.hostrules import (
    BrokenRule,
    FormerRule,
    HostRules,
    compile_rule,
    read_last_good,
    rules_for,
)
from mtls_operator.plan.objects import Document
from mtls_operator.plan.rollout import Files, Pod, Proxy, Rollout, Wanted, roll_out, rules_in_force
from mtls_operator.plan.trouble import Trouble
from mtls_operator.push import Scope, Script
from mtls_operator.rules import RuleError

_log = structlog.get_logger(__name__)

#: While a file is on its way to a proxy, its status port is read this often.
POLL_SECONDS = 2.0
#: When everything is current, it is still read this often: what is reported is what is there (G4).
RECHECK_SECONDS = 300.0
#: After a start proxies take this long to come back; until then a status that was right is left alone (G6).
REJOIN_SECONDS = 10.0
_NOTHING = Files("", "", "")


@dataclass(slots=True)
class HostState:
    """What the operator remembers of a host between two runs."""

    uid: str
    configuration: Configuration | None = None
    files: Files | None = None
    rules: HostRules | None = None
    rollout: Rollout | None = None
    rules_deployed: bool = False
    joining: bool = False
    last_good: Mapping[str, FormerRule] = field(default_factory=dict)
    polled: Mapping[str, float] = field(default_factory=dict)
    held: Held | None = None
    look_again: datetime | None = None


@dataclass(slots=True)
class HostReconciler:
    """One run brings a host's objects, its push and its status up to date."""

    context: Context
    authorities: Authorities
    serving: ServingCertificates
    trusts: Trusts
    watches: NamedWatches | None
    status_port: ProxyStatus
    states: dict[tuple[str, str], HostState] = field(default_factory=dict)
    _started: datetime | None = None

    @property
    def discovery(self) -> Discovery:
        """Where proxies find us."""
        settings = self.context.settings
        return Discovery(
            settings.discovery_host,
            settings.discovery_port,
            settings.operator_namespace,
            settings.proxy_metrics_from,
        )

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring a host up to date; return in how many seconds to look again."""
        host = self.context.world.hosts.get(namespace, name)
        if host is None or host.meta.deleting:
            self._gone(namespace, name)
            return None
        if isinstance(host, Broken):
            await self._report_broken(host)
            return None
        tenant = await self.authorities.load(namespace)
        if tenant is None:
            return None
        if tenant.publication is None and tenant.obstacle is None:
            self.context.queue.add(keys.authority(namespace))
        state = self._state(host)
        view, serving = await self._bring_up(host, tenant, state)
        state.joining = self._is_joining(host, view.rollout)
        if state.joining:
            return POLL_SECONDS
        await self._report(view)
        self._tell_rules(namespace, state)
        again = RECHECK_SECONDS if view.rollout.reason is None else POLL_SECONDS
        if view.rollout.reason in (Reason.NO_PODS, Reason.PODS_WITHOUT_PROXY):
            again = RECHECK_SECONDS
        renewal = self.serving.renewal(host) if serving is not None else None
        if renewal is not None:
            again = min(again, renewal)
        if state.look_again is not None:
            left = (state.look_again - self.context.now()).total_seconds()
            again = min(again, max(left, 1.0))
        return again

    def joining(self, namespace: str, name: str) -> bool:
        """Say whether the proxies of a host may still be on their way back to an operator that has just started."""
        state = self.states.get((namespace, name))
        return self._starting() and (state is None or state.rollout is None or state.joining)

    def _starting(self) -> bool:
        now = self.context.now()
        if self._started is None:
            self._started = now
        return abs(now - self._started) < timedelta(seconds=REJOIN_SECONDS)

    def _is_joining(self, host: Host, rollout: Rollout) -> bool:
        was_deployed = condition_status(host.status, ConditionType.DEPLOYED) is True
        return self._starting() and was_deployed and rollout.reason in _COMING_BACK

    async def _bring_up(
        self, host: Host, tenant: Tenant, state: HostState
    ) -> tuple[HostView, Serving | None]:
        context = self.context
        namespace, name = host.meta.key
        await self._compile_rules(namespace)
        state.rules = rules_for(
            name,
            context.world.rules.of(namespace).values(),
            state.last_good,
            context.world.lists_of(namespace),
        )
        serving, troubles = await self._certificate(host, tenant)
        trusted = await self._trusted(host, tenant, state)
        trusts = trusted.trusts
        conflict = self._conflict(host)
        programmed = trusted.obstacle
        if not conflict and programmed is None:
            programmed = await self._program(host, state, trusts, serving)
        elif programmed is None and state.configuration is None:
            programmed = Trouble(Reason.HOSTNAME_CONFLICT, "Nothing is generated for conflicting hostnames.")
        proxies = await self._proxies(host, state)
        rollout, state.rules_deployed = self._roll_out(state, tenant, proxies)
        state.rollout = rollout
        self._confirm(host, tenant, trusts, rollout, programmed)
        publication = tenant.publication
        return (
            HostView(
                host=host,
                conflict=conflict,
                trusts=trusts,
                troubles=(*troubles, *trusted.troubles),
                configuration=state.configuration,
                programmed=programmed,
                rules=state.rules,
                rollout=rollout,
                revocation_epoch=publication.epoch if publication is not None else 0,
                recovered=tenant.recovered,
                damaged=tenant.damaged,
                paged=tenant.paged,
                left_out=tenant.readable.parts.left_out if tenant.readable is not None else (),
                expiring="" if troubles else self.serving.expiring(host),
                now=context.now(),
            ),
            serving,
        )

    async def _compile_rules(self, namespace: str) -> None:
        """Compile what is new, one rule at a time: a namespace with many rules must not hold up the others."""
        lists = self.context.world.lists_of(namespace)
        for rule in tuple(self.context.world.rules.of(namespace).values()):
            if not isinstance(rule, BrokenRule):
                with contextlib.suppress(RuleError):
                    compile_rule(rule, lists)
                await asyncio.sleep(0)

    async def _certificate(self, host: Host, tenant: Tenant) -> tuple[Serving | None, tuple[Trouble, ...]]:
        self._watch_sources()
        return await self.serving.of(host, tenant.uid)

    async def _trusted(self, host: Host, tenant: Tenant, state: HostState) -> Trusted:
        """Return what a host trusts, and remember the last good copies of what its users brought."""
        if state.held is None:
            state.held = await self.trusts.held(host)
        trusted = await self.trusts.of(host, tenant, state.held)
        state.held, state.look_again = trusted.held, trusted.look_again
        return trusted

    def source_changed(self, target: Target) -> None:
        """Take in that an object that hosts refer to may have changed, and look at those hosts."""
        kind, namespace, name = target
        if kind is Kind.SECRET:
            self.serving.source_changed(namespace, name)
        self.trusts.source_changed(target)
        for host in self.context.world.hosts.of(namespace).values():
            if isinstance(host, Host) and target in targets_of(host):
                self.context.queue.add(keys.host(namespace, host.meta.name))

    def _watch_sources(self) -> None:
        """Watch the objects of users that hosts refer to, and no others."""
        hosts = [host for host in self.context.world.hosts if isinstance(host, Host)]
        wanted = {target for host in hosts for target in targets_of(host)}
        self.trusts.keep(wanted)
        if self.watches is None:
            return
        for target in wanted:
            self.watches.watch(target)
        self.watches.keep(wanted)

    async def _program(
        self, host: Host, state: HostState, trusts: tuple[Trust, ...], serving: Serving | None
    ) -> Trouble | None:
        """Write the objects and push the rules; what cannot be built leaves everything as it is."""
        context = self.context
        namespace, name = host.meta.key
        seen = context.world.written[Kind.CONFIG_MAP].get(namespace, names.host_config(name))
        if seen is not None and host.meta.uid not in seen.owners:
            return Trouble(
                Reason.CONFIG_CONFLICT,
                f"ConfigMap {names.host_config(name)} belongs to another object: delete it.",
            )
        assert state.rules is not None  # noqa: S101 - for the type checker; set by the caller
        epochs = [seen.epoch] if seen is not None and seen.epoch is not None else []
        if state.configuration is not None:
            epochs.append(state.configuration.epoch)
        built = configure(
            host,
            state.rules,
            trusts,
            self.discovery,
            previous_script=seen.script if seen is not None else "",
            seen=epochs,
            now=context.now(),
        )
        if isinstance(built, Trouble):
            return built
        if serving is None:
            return Trouble(
                Reason.SECRET_NOT_FOUND, "There is no server certificate yet: see condition ResolvedRefs."
            )
        copies = self._last_good(host, state)
        if isinstance(copies, Trouble):
            return copies
        state.configuration, state.files = built, wanted_files(built, serving)
        state.last_good = state.rules.former()
        context.push.publish(Scope(namespace, name), Script(names.RULES_FILTER, built.version, built.script))
        documents = [server_document(host, serving), *host_objects(host, built, self.discovery), *copies]
        await asyncio.gather(*(context.ensure(document) for document in documents))
        if not copies:
            await context.remove(
                Kind.CONFIG_MAP, namespace, names.trust_config(name), owner_uid=host.meta.uid
            )
        if not host.network_policy:
            await context.remove(
                Kind.NETWORK_POLICY, namespace, names.host_config(name), owner_uid=host.meta.uid
            )
        return None

    def _last_good(self, host: Host, state: HostState) -> list[Document] | Trouble:
        """Return the object with the last good copies; none for a host whose users brought nothing."""
        if not host.client_cas.trusted or state.held is None:
            return []
        name = names.trust_config(host.meta.name)
        seen = self.context.world.written[Kind.CONFIG_MAP].get(host.meta.namespace, name)
        if seen is not None and host.meta.uid not in seen.owners:
            return Trouble(Reason.CONFIG_CONFLICT, f"ConfigMap {name} belongs to another object: delete it.")
        document = trust_document(host, state.held, self.trusts.seal)
        return document if isinstance(document, Trouble) else [document]

    async def _proxies(self, host: Host, state: HostState) -> list[Proxy]:
        """Return the host's proxies; status ports are read where the files are not known to be current."""
        reports = self.context.reports
        pods = [
            pod
            for pod in self.context.world.pods.of(host.meta.namespace).values()
            if pod.host == host.meta.name
        ]
        now = self.context.now().timestamp()
        due = [
            pod
            for pod in pods
            if pod.running
            and pod.injected
            and pod.address
            and (
                reports.files.get(pod.uid) != state.files
                or now - state.polled.get(pod.uid, 0.0) >= RECHECK_SECONDS
            )
        ]
        await asyncio.gather(*(self._read_files(pod) for pod in due))
        state.polled = {pod.uid: now if pod in due else state.polled.get(pod.uid, 0.0) for pod in pods}
        return reports.proxies(pods)

    async def _read_files(self, pod: Pod) -> None:
        text = await self.status_port.read(pod.address, STATS_QUERY)
        try:
            stats = parse_proxy_stats(text or "")
        except StatsError:
            self.context.reports.files.pop(pod.uid, None)
            return
        self.context.reports.files[pod.uid] = Files(
            listener=stats.listener, client_ca=stats.client_ca, server=stats.server_certificate
        )

    def _roll_out(self, state: HostState, tenant: Tenant, proxies: list[Proxy]) -> tuple[Rollout, bool]:
        wanted = Wanted(
            rules=state.configuration.version if state.configuration is not None else "",
            revocation=tenant.publication.version if tenant.publication is not None else "",
            files=state.files if state.files is not None else _NOTHING,
        )
        rollout = roll_out(wanted, proxies)
        if rollout.reason is None and (state.configuration is None or tenant.publication is None):
            rollout = Rollout(
                rollout.pods,
                rollout.injected,
                rollout.connected,
                0,
                Reason.PENDING,
                "The configuration is not written yet.",
            )
        return rollout, rules_in_force(wanted, proxies)

    def _confirm(
        self,
        host: Host,
        tenant: Tenant,
        trusts: tuple[Trust, ...],
        rollout: Rollout,
        programmed: Trouble | None,
    ) -> None:
        """Keep which issuers every proxy of a host trusts and has a list of: a rotation waits for its new one."""
        key = "/".join(host.meta.key)
        there = programmed is None and rollout.reason in (None, Reason.NO_PODS)
        listed = tenant.publication.issuers if tenant.publication is not None else frozenset()
        confirmed = frozenset(trust.digest for trust in trusts) & listed if there else frozenset()
        if tenant.confirmed.get(key) != confirmed:
            tenant.confirmed[key] = confirmed
            if any(stored.phase is Phase.PREPARED for stored in tenant.generations):
                self.context.queue.add(keys.authority(tenant.namespace))

    def _conflict(self, host: Host) -> str:
        """Return which hostname an older host of the namespace has already; empty when none."""
        mine = set(host.hostnames)
        for other in self.context.world.hosts.of(host.meta.namespace).values():
            if isinstance(other, Broken) or other.meta.uid == host.meta.uid or other.meta.deleting:
                continue
            older = (other.meta.created, other.meta.name) < (host.meta.created, host.meta.name)
            taken = sorted(mine & set(other.hostnames))
            if older and taken:
                return f"{', '.join(taken)} belongs to MTLSHost {other.meta.name}, which is older: remove it from one."
        return ""

    def _state(self, host: Host) -> HostState:
        key = host.meta.key
        state = self.states.get(key)
        if state is None or state.uid != host.meta.uid:
            state = self.states[key] = HostState(host.meta.uid)
            seen = self.context.world.written[Kind.CONFIG_MAP].get(
                host.meta.namespace, names.host_config(key[1])
            )
            if seen is not None and host.meta.uid in seen.owners:
                state.last_good = read_last_good(seen.text)
        return state

    def _gone(self, namespace: str, name: str) -> None:
        state = self.states.pop((namespace, name), None)
        if state is not None:
            self.serving.forget(state.uid)
            self._watch_sources()
        self.context.push.withdraw(Scope(namespace, name), names.RULES_FILTER)
        for rule in self.context.world.rules.of(namespace):
            self.context.queue.add(keys.rule(namespace, rule))

    async def _report(self, view: HostView) -> None:
        host = view.host
        status = status_of(view)
        if not status_differs(host.status, status):
            return
        body = {"metadata": {"namespace": host.meta.namespace, "name": host.meta.name}, "status": status}
        await self.context.patch_status(Kind.HOST, body, host.status)
        self._announce(host, status)

    def _announce(self, host: Host, status: Mapping[str, Any]) -> None:
        """Post an Event when Ready changes, or changes its reason, and when the server certificate ends soon."""
        expiring = _expiring(status)
        if expiring and not _expiring(host.status):
            reason = Reason.SERVING_CERTIFICATE_EXPIRING.value
            self.context.recorder.record(
                names.HOST_KIND, host.meta, reason=reason, message=expiring, warning=True
            )
        before = _ready_of(host.status)
        after = _ready_of(status)
        if after is None or (before is not None and before[:2] == after[:2]):
            return
        self.context.recorder.record(
            names.HOST_KIND,
            host.meta,
            reason=after[1],
            message=after[2],
            warning=after[0] != "True" and after[1] not in _ON_THE_WAY,
        )

    async def _report_broken(self, broken: Broken) -> None:
        meta = broken.meta
        accepted = Condition(
            ConditionType.ACCEPTED,
            status=False,
            reason=Reason.INVALID_SPEC,
            message=f"{broken.error} The last good configuration stays in force.",
            observed_generation=meta.generation,
        )
        conditions = [accepted, ready([accepted], [ConditionType.ACCEPTED])]
        status = {key: value for key, value in broken.status.items() if key != "conditions"}
        status["conditions"] = merge_conditions(
            conditions_of(broken.status), conditions, now=self.context.now()
        )
        if status_differs(broken.status, status):
            body = {"metadata": {"namespace": meta.namespace, "name": meta.name}, "status": status}
            await self.context.patch_status(Kind.HOST, body, broken.status)

    def _tell_rules(self, namespace: str, state: HostState) -> None:
        assert state.rules is not None  # noqa: S101 - for the type checker; set by the run before
        for outcome in state.rules.outcomes:
            self.context.queue.add(keys.rule(namespace, outcome.name))


_COMING_BACK = (Reason.PROXY_DISCONNECTED, Reason.PROXY_PENDING, Reason.PENDING)
_ON_THE_WAY = (Reason.PROXY_PENDING.value, Reason.PENDING.value, Reason.NO_PODS.value)


def _ready_of(status: Mapping[str, Any]) -> tuple[str, str, str] | None:
    for condition in conditions_of(status):
        if condition.get("type") == ConditionType.READY.value:
            return str(condition["status"]), str(condition["reason"]), str(condition["message"])
    return None


def _expiring(status: Mapping[str, Any]) -> str:
    """Return what a status says of a server certificate that ends soon; empty: nothing."""
    for condition in conditions_of(status):
        if condition.get("reason") == Reason.SERVING_CERTIFICATE_EXPIRING.value:
            return str(condition["message"])
    return ""
