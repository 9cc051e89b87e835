"""Reconciles one MTLSHost: generated files, server certificate, pushed rules, and what every proxy says of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mtls_operator.api import names
from mtls_operator.api.conditions import condition_status
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cluster import ClusterError, Kind, RejectedError
from mtls_operator.cluster.named import NamedWatches, Target
from mtls_operator.cluster.proxies import ProxyStatus
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.claims import CONFLICT_SECONDS, CONFLICTS
from mtls_operator.controller.compiling import Compiling
from mtls_operator.controller.context import Context
from mtls_operator.controller.host_objects import HostObjects
from mtls_operator.controller.host_proxies import RECHECK_SECONDS, HostProxies, rollout_of
from mtls_operator.controller.host_state import HostState
from mtls_operator.controller.host_statuses import report, report_broken
from mtls_operator.controller.limits import filling
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.rotation import holds_up
from mtls_operator.controller.serving import ServingCertificates
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.trust import Trusted, Trusts, targets_of
from mtls_operator.plan.authority import Phase
from mtls_operator.plan.given import notice_of
from mtls_operator.plan.host import Serving
from mtls_operator.plan.host_status import HostView
from mtls_operator.plan.hostrules import read_last_good, rules_for
from mtls_operator.plan.rollout import Rollout
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import Trust
from mtls_operator.push import Scope

#: While a file is on its way to a proxy, its status port is read this often.
POLL_SECONDS = 2.0
#: After a start proxies take this long to come back; until then a status that was right is left alone (G6).
REJOIN_SECONDS = 10.0
#: Requests that fail this often one after the other are reported; one alone is soon forgotten.
PATIENCE = 3


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
    compiling: Compiling = field(init=False)
    _objects: HostObjects = field(init=False)
    _proxies: HostProxies = field(init=False)
    _started: datetime | None = None

    def __post_init__(self) -> None:
        self.compiling = Compiling(self.context.aside)
        self._objects = HostObjects(self.context, self.trusts)
        self._proxies = HostProxies(self.context, self.status_port)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring a host up to date; return in how many seconds to look again."""
        host = self.context.world.hosts.get(namespace, name)
        if host is None or host.meta.deleting:
            self._gone(namespace, name)
            return None
        if isinstance(host, Broken):
            tenant = self.authorities.known(namespace)
            unread = "it cannot be read, so that nobody knows what its proxies trust; mend or delete it."
            waits = holds_up(self.context.world, tenant, host, because=unread) if tenant is not None else None
            await report_broken(self.context, host, waits)
            return None
        tenant = await self.authorities.load(namespace)
        if tenant is None:
            return None
        if tenant.publication is None and tenant.obstacle is None:
            self.context.queue.add(keys.authority(namespace))
        state = self._state(host)
        followed = frozenset(state.followed())
        view, serving = await self._bring_up(host, tenant, state)
        state.joining = self._is_joining(host, view.rollout)
        if state.joining:
            return POLL_SECONDS
        await report(self.context, view)
        self._tell_rules(namespace, state, followed)
        if state.failure is not None:
            raise state.failure  # the work queue tries again, later each time
        again = RECHECK_SECONDS if view.rollout.reason is None else POLL_SECONDS
        if view.rollout.reason in (Reason.NO_PODS, Reason.PODS_WITHOUT_PROXY):
            again = RECHECK_SECONDS
        renewal = self.serving.renewal(host) if serving is not None else None
        if renewal is not None:
            again = min(again, renewal)
        if view.programmed is not None and view.programmed.reason in CONFLICTS:
            again = min(again, CONFLICT_SECONDS)
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
        objects, lists = tuple(context.world.rules.of(namespace).values()), context.world.lists_of(namespace)
        made_of = (objects, state.last_good, lists)
        if state.rules is None or made_of != state.rules_made_of:
            state.rules = rules_for(name, objects, state.last_good, lists)
            state.rules_made_of = made_of
        state.failure = None
        try:
            serving, troubles = await self._certificate(host, tenant)
            trusted = await self._trusted(host, tenant, state)
        except ClusterError as error:
            trouble = _unread(_persistent(state, error))
            serving, troubles, trusted = None, (trouble,), Trusted((), obstacle=trouble)
        trusts = trusted.trusts
        conflict = self._conflict(host)
        programmed = trusted.obstacle
        if not conflict and programmed is None:
            programmed = await self._write(host, state, trusts, serving)
        elif programmed is None:
            programmed = Trouble(
                Reason.HOSTNAME_CONFLICT,
                "Nothing is generated for conflicting hostnames; what was written before stays in force.",
            )
        state.programmed = programmed
        if state.failure is None:
            state.failures = 0
        proxies = await self._proxies.of(host, state)
        rollout, state.rules_deployed = rollout_of(state, tenant, proxies)
        state.rollout = rollout
        if state.rules_deployed or rollout.reason is Reason.NO_PODS:
            state.leaving = {}
        self._confirm(host, state, tenant, trusts, rollout, programmed)
        held_up = programmed.message if programmed is not None else rollout.message
        publication = tenant.publication
        rules, outdated = state.rules, False
        if programmed is not None and state.configuration is not None:
            # What could not be written is not what is in force.
            written, trusts = state.configuration.rules, state.configuration.trusts
            outdated = written.scripts != state.rules.scripts
            rules = replace(written, never_compiled=state.rules.never_compiled)
        return (
            HostView(
                host=host,
                conflict=conflict,
                trusts=trusts,
                troubles=(*troubles, *trusted.troubles, *_left_out(host, tenant)),
                configuration=state.configuration,
                programmed=programmed,
                rules=rules,
                rollout=rollout,
                revocation_epoch=publication.epoch if publication is not None else 0,
                recovered=tenant.recovered,
                damaged=tenant.damaged,
                paged=tenant.paged,
                left_out=tenant.readable.parts.left_out if tenant.readable is not None else (),
                expiring="" if troubles else self.serving.expiring(host),
                filling=filling(context, tenant),
                notes=trusted.notes,
                holds_up=holds_up(context.world, tenant, host, because=held_up),
                notice=notice_of(namespace, tenant.generations, tenant.given, now=context.now())
                if host.client_cas.managed
                else None,
                outdated=outdated,
                now=context.now(),
            ),
            serving,
        )

    async def _write(
        self, host: Host, state: HostState, trusts: tuple[Trust, ...], serving: Serving | None
    ) -> Trouble | None:
        """Write and push; say so where the API server goes on failing: the status must not stay as it was (G4)."""
        try:
            return await self._objects.write(host, state, trusts, serving)
        except ClusterError as error:
            return _unwritten(_persistent(state, error))

    async def _compile_rules(self, namespace: str) -> None:
        """Compile what is new: a namespace with many rules must not hold up the others."""
        lists = self.context.world.lists_of(namespace)
        for rule in tuple(self.context.world.rules.of(namespace).values()):
            await self.compiling.compile(rule, lists)

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

    def _confirm(  # noqa: PLR0913, PLR0917 - what a confirmation rests on
        self,
        host: Host,
        state: HostState,
        tenant: Tenant,
        trusts: tuple[Trust, ...],
        rollout: Rollout,
        programmed: Trouble | None,
    ) -> None:
        """Keep which issuers every proxy of a host trusts and has a list of: rotations wait for their new ones."""
        key = "/".join(host.meta.key)
        there = programmed is None and rollout.reason in (None, Reason.NO_PODS)
        listed = tenant.publication.issuers if tenant.publication is not None else frozenset()
        confirmed = frozenset(trust.digest for trust in trusts) & listed if there else frozenset()
        granters = frozenset(host.client_cas.managed_from)
        self._release(key, state.granters - granters)
        state.granters = granters
        for owner in (tenant, *map(self.authorities.known, sorted(granters))):
            if owner is None or owner.confirmed.get(key) == confirmed:
                continue
            owner.confirmed[key] = confirmed
            if owner.untrusted or any(stored.phase is Phase.PREPARED for stored in owner.generations):
                self.context.queue.add(keys.authority(owner.namespace))

    def _release(self, key: str, granters: frozenset[str]) -> None:
        """Forget what the proxies of a host said about CAs of namespaces that it trusts no more."""
        for granter in granters:
            owner = self.authorities.known(granter)
            if owner is not None:
                owner.confirmed.pop(key, None)
                self.context.queue.add(keys.authority(granter))

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
            self.trusts.forget(namespace, name)
            self._watch_sources()
            self._release(f"{namespace}/{name}", state.granters)
        self.context.push.withdraw(Scope(namespace, name), names.RULES_FILTER)
        for rule in self.context.world.rules.of(namespace):
            self.context.queue.add(keys.rule(namespace, rule))

    def _tell_rules(self, namespace: str, state: HostState, followed: frozenset[str]) -> None:
        """Look again at the rules of a host, and at those that its proxies followed before."""
        assert state.rules is not None  # noqa: S101 - for the type checker; set by the run before
        for name in followed.union(outcome.name for outcome in state.rules.outcomes):
            self.context.queue.add(keys.rule(namespace, name))


_COMING_BACK = (Reason.PROXY_DISCONNECTED, Reason.PROXY_PENDING, Reason.PENDING)


def _persistent(state: HostState, error: ClusterError) -> ClusterError:
    """Count a failure and return it where it is to be reported, raise it where the next try may well succeed."""
    state.failures += 1
    if not isinstance(error, RejectedError) and state.failures < PATIENCE:
        raise error
    state.failure = error
    return error


def _unread(error: ClusterError) -> Trouble:
    return Trouble(
        Reason.PENDING,
        f"The API server does not let the operator read what this host needs (status {error.status}); what was "
        "written before stays in force: see the operator's log. It is tried again.",
    )


def _unwritten(error: ClusterError) -> Trouble:
    return Trouble(
        Reason.PENDING,
        f"The API server does not take the objects of this host (status {error.status}), so that a pod that "
        "starts now gets what was written before: see the operator's log. It is tried again.",
    )


def _left_out(host: Host, tenant: Tenant) -> list[Trouble]:
    """Return what to say of namespaces whose revocations do not fit."""
    left_out = tenant.publication.left_out if tenant.publication is not None else ()
    return [
        Trouble(
            Reason.CONFIG_TOO_LARGE,
            f"The revocations of namespace {granter} do not fit beside the others of this namespace: rules that read "
            "certificates refuse all of its. Trust fewer namespaces here.",
        )
        for granter in host.client_cas.managed_from
        if granter in left_out
    ]
