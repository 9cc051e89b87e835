"""Asks whether a namespace, or one object of it, may use up another serial number, before it is reserved.

Everything that counts is stored: the mark in the Secret of the CA, the ledger, and which generations there are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.controller.context import Context
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import World
from mtls_operator.plan.allowance import REPLACEMENTS, read_spent, too_often, written
from mtls_operator.plan.authority import INDEX_BLOCK, Stored, reserve
from mtls_operator.plan.capacity import fullness, may_be_full, nearly_full, no_more_indices, no_more_records
from mtls_operator.plan.objects import Document
from mtls_operator.plan.trouble import Trouble

#: A ledger that may be full is counted this often at most.
_COUNTED_FOR: Final = timedelta(minutes=1)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class SeenLimits(Protocol):
    """The part of the authorities that is measured."""

    tenants: dict[str, Tenant]
    refused: Counter[str]
    waiting: dict[str, tuple[str, ...]]


class LimitReachedError(Exception):
    """No serial number is reserved now; the obstacle says why, and when there will be one."""

    def __init__(self, obstacle: Trouble) -> None:
        super().__init__(obstacle.message)
        self.obstacle = obstacle


def reservation(tenant: Tenant, stored: Stored, *, per_day: int, now: datetime) -> Document:
    """Return the Secret of the CA with the next block reserved, and with what that costs.

    Raises:
        LimitReachedError: the list has no room for more, or the namespace has used up its allowance.
    """
    full = no_more_indices(tenant.generations)
    if full:
        raise LimitReachedError(Trouble(Reason.CAPACITY_REACHED, full))
    spent = read_spent(stored.allowance).take(INDEX_BLOCK, per_period=per_day, now=now)
    if isinstance(spent, datetime):
        raise LimitReachedError(
            Trouble(
                Reason.RATE_LIMITED,
                f"The namespace has used up the {per_day} serial numbers that it may have in a day: it is tried again "
                f"from {format_timestamp(spent)} on. Find out who asks for so many certificates; an administrator may "
                "raise the chart value quota.maxIssuedPerDay.",
            )
        )
    return reserve(stored, allowance=written(spent))


@dataclass(slots=True)
class Limits:
    """Asks for each signature; remembers only when a ledger was counted last."""

    context: Context
    _counted: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def refusal(self, certificate: ClientCertificate, tenant: Tenant) -> Trouble | None:
        """Return why an object gets no certificate now."""
        now = self.context.now()
        own = tenant.owned.get(certificate.meta.uid, {})
        again = too_often((tenant.ledger[serial] for serial in own if serial in tenant.ledger), now=now)
        if again is not None:
            return Trouble(
                Reason.RATE_LIMITED,
                f"The certificate of this object was replaced {REPLACEMENTS} times within an hour: it is tried again "
                f"from {format_timestamp(again)} on. Find out who keeps changing the object or its Secret.",
            )
        full = self._full(tenant, now=now)
        return Trouble(Reason.CAPACITY_REACHED, full) if full else None

    def _full(self, tenant: Tenant, *, now: datetime) -> str:
        objects = len(self.context.world.certificates.of(tenant.namespace))
        if not may_be_full(tenant.ledger, objects=objects):
            self._counted.pop(tenant.uid, None)
            return ""
        at, said = self._counted.get(tenant.uid, (_NEVER, ""))
        if not at <= now < at + _COUNTED_FOR:
            said = no_more_records(tenant.ledger, tenant.generations, objects=objects, now=now)
            self._counted[tenant.uid] = (now, said)
        return said


def filling(context: Context, tenant: Tenant) -> str:
    """Return what hosts say of a namespace that comes near its end; empty: nothing."""
    objects = len(context.world.certificates.of(tenant.namespace))
    return nearly_full(tenant.generations, tenant.ledger, objects=objects)


def observe_limits(metrics: Metrics, world: World, authorities: SeenLimits) -> None:
    """Set the metrics about limits, of all namespaces together: no name of one is told."""
    for reason in (Reason.RATE_LIMITED, Reason.CAPACITY_REACHED):
        metrics.limited.labels(reason.value).set(authorities.refused[reason.value])
    present = authorities.tenants
    metrics.rotations.set(
        sum(len(hosts) for namespace, hosts in authorities.waiting.items() if namespace in present)
    )
    metrics.fullness.set(
        max(
            (
                fullness(tenant.generations, tenant.ledger, objects=len(world.certificates.of(namespace)))
                for namespace, tenant in present.items()
            ),
            default=0.0,
        )
    )
