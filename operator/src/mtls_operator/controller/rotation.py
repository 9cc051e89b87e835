"""Takes a namespace's CA through its rotation: one durable step after the other, none before all have confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cluster import Kind
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import issued_in
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.seen_certificates import facts_of
from mtls_operator.controller.tenant import Tenant
from mtls_operator.plan.authority import Phase
from mtls_operator.plan.rotation import (
    Confirmations,
    Move,
    Step,
    living_generations,
    next_step,
    rotation_time,
)

_log = structlog.get_logger(__name__)

#: While an old CA waits for the end of its leaves, this often is looked whether the last has ended.
LOOK_SECONDS: Final = 3600.0
#: More steps than one rotation has: the end of a loop that would not end by itself.
_STEPS: Final = 8


@dataclass(slots=True)
class Rotation:
    """Rotates the CA of each namespace when it is time, or when an administrator asks for it."""

    context: Context
    authorities: Authorities
    _waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def advance(self, tenant: Tenant) -> float:
        """Take the steps that can be taken now; return in how many seconds to look again."""
        for _ in range(_STEPS):
            step = self._next(tenant)
            if step is None:
                break
            await self._take(tenant, step)
            self._tell(tenant, step)
        return self._again(tenant)

    def _next(self, tenant: Tenant) -> Step | None:
        if not tenant.generations:
            return None
        now = self.context.now()
        confirmations = Confirmations(self._confirmed(tenant))
        self._log_waiting(tenant, confirmations)
        retiring = any(stored.phase is Phase.RETIRING for stored in tenant.generations)
        living = (
            living_generations(tenant.generations, tenant.ledger, self._held(tenant), now=now)
            if retiring
            else frozenset[int]()
        )
        return next_step(tenant.generations, confirmations=confirmations, living=living, now=now)

    async def _take(self, tenant: Tenant, step: Step) -> None:
        if step.move is Move.PREPARE:
            await self.authorities.prepare(tenant)
        elif step.move is Move.OPEN:
            await self.authorities.open(tenant, step.stored)
        else:
            phase = Phase.RETIRED if step.move is Move.RETIRE else step.phase
            await self.authorities.close(tenant, step.stored, phase)

    def _confirmed(self, tenant: Tenant) -> dict[str, frozenset[str] | None]:
        """Return what the proxies of every host that trusts this CA have; a host without any configuration has none."""
        world = self.context.world
        found: dict[str, frozenset[str] | None] = {}
        for name, host in world.hosts.of(tenant.namespace).items():
            if isinstance(host, Host) and (not host.client_cas.managed or host.meta.deleting):
                continue
            written = world.written[Kind.CONFIG_MAP].get(tenant.namespace, names.host_config(name))
            if written is not None:
                key = f"{tenant.namespace}/{name}"
                found[key] = None if isinstance(host, Broken) else tenant.confirmed.get(key)
        return found

    def _held(self, tenant: Tenant) -> dict[str, datetime]:
        """Return every serial number that objects and Secrets of the namespace hold, with its end."""
        world = self.context.world
        held: dict[str, datetime] = {}
        for serials in tenant.unreported.values():
            held |= serials
        for certificate in world.certificates.of(tenant.namespace).values():
            serial, end = certificate.status.get("serialNumber"), certificate.status.get("notAfter")
            if serial and end:
                held[str(serial)] = parse_timestamp(str(end))
        for written in issued_in(world, tenant.namespace):
            facts = facts_of(written.certificate)
            if facts is not None:
                held[facts.serial] = facts.not_after
        return held

    def _tell(self, tenant: Tenant, step: Step) -> None:
        """Wake everything that rests on the CAs, and say on the hosts what happened."""
        namespace, queue, world = tenant.namespace, self.context.queue, self.context.world
        name = names.authority_secret(namespace, step.stored.generation)
        _log.info("authority.rotation", namespace=namespace, step=step.move.value, authority=name)
        queue.add(keys.authority(namespace))
        for certificate in world.certificates.of(namespace):
            queue.add(keys.certificate(namespace, certificate))
        for host in world.hosts.of(namespace).values():
            queue.add(keys.host(namespace, host.meta.name))
            self.context.recorder.record(
                names.HOST_KIND, host.meta, reason=Reason.CA_ROTATION.value, message=_MESSAGES[step.move]
            )

    def _log_waiting(self, tenant: Tenant, confirmations: Confirmations) -> None:
        prepared = next((stored for stored in tenant.generations if stored.phase is Phase.PREPARED), None)
        missing = confirmations.missing(prepared.authority.digest) if prepared is not None else ()
        if missing and self._waiting.get(tenant.namespace) != missing:
            _log.info("authority.rotation.waiting", namespace=tenant.namespace, hosts=missing)
        self._waiting[tenant.namespace] = missing

    def _again(self, tenant: Tenant) -> float:
        stored = tenant.stored
        if stored is None or any(one.phase is Phase.RETIRING for one in tenant.generations):
            return LOOK_SECONDS
        return max(1.0, (rotation_time(stored) - self.context.now()).total_seconds())


_MESSAGES: Final = {
    Move.PREPARE: "A new CA was made; it signs once every proxy trusts it.",
    Move.CLOSE: "The old CA signs no more; the new one takes over.",
    Move.OPEN: "The new CA signs now; certificates with a key of ours are issued anew.",
    Move.RETIRE: "The old CA was taken out of every bundle: its certificates count no more.",
}
