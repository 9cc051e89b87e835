"""Keeps ledgers from growing for ever: some times a day, what has ended long ago is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from mtls_operator.controller.context import Context
from mtls_operator.controller.holdings import issued_in
from mtls_operator.controller.ledgers import Ledgers
from mtls_operator.controller.seen_certificates import facts_of
from mtls_operator.controller.tenant import Tenant
from mtls_operator.plan.pruning import SteadyClock, ended, of_retired

_log = structlog.get_logger(__name__)

#: How often is looked, and the clock compared.
LOOK_SECONDS: Final = 6 * 3600.0


@dataclass(slots=True)
class Pruning:
    """Prunes the ledgers of all tenants; ``monotonic`` is a clock in seconds that nobody sets."""

    context: Context
    ledgers: Ledgers
    monotonic: Callable[[], float]
    _clock: SteadyClock = field(init=False)
    _looked: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._clock = SteadyClock(self.context.now, self.monotonic)

    async def prune(self, tenant: Tenant) -> None:
        """Remove the records that matter no more; what was looked at is not looked at again for some hours.

        Raises:
            ConflictError: somebody else is writing the ledger.
        """
        trusted, moment = self._clock.is_trusted(), self.monotonic()
        if (
            not trusted
            or tenant.readable is None
            or moment < self._looked.get(tenant.uid, 0.0) + LOOK_SECONDS
        ):
            return
        self._looked[tenant.uid] = moment
        now = self.context.now()
        retired = of_retired(tenant.ledger, tenant.generations, now=now)
        held = self._held(tenant)
        candidates = ended(tenant.ledger, listed=tenant.readable.listed, held=held, now=now, retired=retired)
        if not candidates:
            return
        dropped = await self.ledgers.drop(tenant, candidates, now=now, retired=retired)
        _log.info("ledger.pruned", namespace=tenant.namespace, records=dropped)

    def _held(self, tenant: Tenant) -> set[str]:
        world = self.context.world
        held = {
            str(certificate.status.get("serialNumber"))
            for certificate in world.certificates.of(tenant.namespace).values()
        }
        for written in issued_in(world, tenant.namespace):
            facts = facts_of(written.certificate)
            if facts is not None:
                held.add(facts.serial)
        return held
