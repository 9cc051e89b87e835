"""Takes a namespace's CA through its rotation: one durable step after the other, none before all have confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.holdings import issued_in
from mtls_operator.controller.observed import Broken
from mtls_operator.controller.seen_certificates import facts_of
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import World
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.rotation import (
    Confirmations,
    Move,
    Step,
    is_compromised,
    living_generations,
    next_step,
    rotation_time,
)

_log = structlog.get_logger(__name__)

#: While an old CA waits for the end of its leaves, this often is looked whether the last has ended.
LOOK_SECONDS: Final = 3600.0
#: A host that holds up a rotation for longer is told so: files take up to two minutes. It counts from the beginning of
#: the new CA's validity, which is five minutes before it was made.
PATIENCE: Final = timedelta(minutes=10)
#: More steps than one rotation has: the end of a loop that would not end by itself.
_STEPS: Final = 8


@dataclass(slots=True)
class Rotation:
    """Rotates the CA of each namespace when it is time, or when an administrator asks for it."""

    context: Context
    authorities: Authorities
    granting: Granting
    #: By the UID of a namespace: the hosts on which it was said that a rotation waits for them.
    _told: dict[str, set[str]] = field(default_factory=dict)

    async def advance(self, tenant: Tenant) -> float:
        """Take the steps that can be taken now; return in how many seconds to look again."""
        for _ in range(_STEPS):
            step = self._next(tenant)
            if step is None:
                break
            await self._take(tenant, step)
            if step.move is not Move.RECORD:
                self._tell(tenant, step)
        return min(self._again(tenant), self._note_untrusted(tenant))

    def _next(self, tenant: Tenant) -> Step | None:
        if not tenant.generations:
            return None
        now = self.context.now()
        confirmations = self._confirmations(tenant)
        self._note_waiting(tenant, confirmations)
        retiring = any(stored.phase is Phase.RETIRING for stored in tenant.generations)
        living = (
            living_generations(tenant.generations, tenant.ledger, self._held(tenant), now=now)
            if retiring
            else frozenset[int]()
        )
        return next_step(
            tenant.generations,
            confirmations=confirmations,
            living=living,
            now=now,
            given=tenant.given.candidate,
        )

    def _confirmations(self, tenant: Tenant) -> Confirmations:
        return Confirmations(_confirmed(self.context.world, tenant) | self.granting.confirmed(tenant))

    async def _take(self, tenant: Tenant, step: Step) -> None:
        if step.move is Move.PREPARE:
            await self.authorities.prepare(tenant, step.given)
        elif step.move is Move.OPEN:
            await self.authorities.open(tenant, step.stored)
        elif step.move is Move.RECORD:
            await self.authorities.record(tenant, step.stored)
        else:
            phase = Phase.RETIRED if step.move is Move.RETIRE else step.phase
            await self.authorities.close(tenant, step.stored, phase)

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
        message = (
            f"The CA of Secret {step.given} was taken over; {_TAKEN}" if step.given else _MESSAGES[step.move]
        )
        _log.info("authority.rotation", namespace=namespace, step=step.move.value, authority=name)
        queue.add(keys.authority(namespace))
        self.granting.wake(namespace)
        for certificate in world.certificates.of(namespace):
            queue.add(keys.certificate(namespace, certificate))
        for host in world.hosts.of(namespace).values():
            queue.add(keys.host(namespace, host.meta.name))
            self.context.recorder.record(
                names.HOST_KIND, host.meta, reason=Reason.CA_ROTATION.value, message=message
            )

    def _note_waiting(self, tenant: Tenant, confirmations: Confirmations) -> None:
        """Say which hosts hold up a rotation: at once in the log, and on each of them when it takes long."""
        namespace, prepared = tenant.namespace, prepared_in(tenant)
        missing = confirmations.missing(prepared.authority.digest) if prepared is not None else ()
        if missing and self.authorities.waiting.get(namespace) != missing:
            _log.info("authority.rotation.waiting", namespace=namespace, hosts=missing)
        self.authorities.waiting[namespace] = missing
        told = self._told.setdefault(tenant.uid, set())
        told &= set(missing)
        if prepared is None or self.context.now() < prepared.authority.facts.not_before + PATIENCE:
            return
        for host in self.context.world.hosts.of(namespace).values():
            key = "/".join(host.meta.key)
            if key in missing and key not in told:
                told.add(key)
                self.context.recorder.record(
                    names.HOST_KIND, host.meta, reason=Reason.CA_ROTATION.value, message=_WAITS, warning=True
                )

    def _note_untrusted(self, tenant: Tenant) -> float:
        """Let certificates say while proxies may not trust their CA yet; return in how many seconds to look again.

        That is after an emergency alone: any other CA signs when all have confirmed it. It ends when they have, or with
        the patience for a host, which says by itself what it lacks.
        """
        active = tenant.stored
        if active is None:
            return LOOK_SECONDS
        left = (active.authority.facts.not_before + PATIENCE - self.context.now()).total_seconds()
        digest, untrusted = active.authority.digest, False
        if tenant.accepted != digest:
            hurried = left > 0 and _took_over_at_once(tenant, active)
            untrusted = hurried and bool(self._confirmations(tenant).missing(digest))
        if not untrusted:
            tenant.accepted = digest
        if untrusted != tenant.untrusted:
            tenant.untrusted = untrusted
            for certificate in self.context.world.certificates.of(tenant.namespace):
                self.context.queue.add(keys.certificate(tenant.namespace, certificate))
        return left if untrusted else LOOK_SECONDS

    def _again(self, tenant: Tenant) -> float:
        stored = tenant.stored
        if self.authorities.waiting.get(tenant.namespace):
            return PATIENCE.total_seconds() / 2
        if stored is None or any(one.phase is Phase.RETIRING for one in tenant.generations):
            return LOOK_SECONDS
        left = (rotation_time(stored) - self.context.now()).total_seconds()
        if left <= 0 and stored.given_by:
            return LOOK_SECONDS  # its successor comes from somebody else
        return max(1.0, left)


def _took_over_at_once(tenant: Tenant, active: Stored) -> bool:
    """Say whether the CA that signs follows one whose key was declared compromised."""
    return any(
        stored.generation == active.generation - 1 and is_compromised(stored) for stored in tenant.generations
    )


def prepared_in(tenant: Tenant) -> Stored | None:
    """Return the successor of a namespace's CA that waits to be confirmed; None: none does."""
    return next((stored for stored in tenant.generations if stored.phase is Phase.PREPARED), None)


def _confirmed(world: World, tenant: Tenant) -> dict[str, frozenset[str] | None]:
    """Return what the proxies of every host of the namespace have that trusts this CA.

    A host without any configuration has none.
    """
    found: dict[str, frozenset[str] | None] = {}
    for name, host in world.hosts.of(tenant.namespace).items():
        if _is_asked(world, host):
            key = f"{tenant.namespace}/{name}"
            found[key] = None if isinstance(host, Broken) else tenant.confirmed.get(key)
    return found


def _is_asked(world: World, host: Host | Broken) -> bool:
    """Say whether a rotation waits for a host: it trusts the managed CA, and its pods may run something of ours."""
    if isinstance(host, Host) and (not host.client_cas.managed or host.meta.deleting):
        return False
    config = names.host_config(host.meta.name)
    return world.written[Kind.CONFIG_MAP].get(host.meta.namespace, config) is not None


def holds_up(world: World, tenant: Tenant, host: Host | Broken, *, because: str) -> str | None:
    """Return why a rotation waits for a host; empty: it has confirmed; None: no rotation waits for anybody."""
    prepared = prepared_in(tenant)
    if prepared is None or not _is_asked(world, host):
        return None
    confirmed = None if isinstance(host, Broken) else tenant.confirmed.get("/".join(host.meta.key))
    if confirmed is not None and prepared.authority.digest in confirmed:
        return ""
    return because or "its proxies do not have the new CA yet."


_WAITS: Final = (
    "The rotation of the CA of this namespace waits for this host, and the old CA goes on signing: see its condition "
    "CAConfirmed."
)
_TAKEN: Final = "it signs once every proxy trusts it."
_MESSAGES: Final = {
    Move.PREPARE: "A new CA was made; it signs once every proxy trusts it.",
    Move.CLOSE: "The old CA signs no more; the new one takes over.",
    Move.OPEN: "The new CA signs now; certificates with a key of ours are issued anew.",
    Move.RETIRE: "The old CA was taken out of every bundle: its certificates count no more.",
}
