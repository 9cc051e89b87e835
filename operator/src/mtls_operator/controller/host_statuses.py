"""Writes the status of an MTLSHost, and posts Events about its transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtls_operator.api import names
from mtls_operator.api.conditions import (
    Condition,
    conditions_for,
    conditions_of,
    merge_conditions,
    ready,
    status_differs,
)
from mtls_operator.api.host import Host
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.cluster import Kind
from mtls_operator.controller.context import Context
from mtls_operator.controller.observed import Broken
from mtls_operator.plan.host_status import HostView, confirmed_condition, status_of

_ON_THE_WAY = (Reason.PROXY_PENDING.value, Reason.PENDING.value, Reason.NO_PODS.value)


async def report(context: Context, view: HostView) -> None:
    """Write the status of a host if it says anything else than before, and post what somebody should hear of."""
    host = view.host
    status = status_of(view)
    if not status_differs(host.status, status):
        return
    body = {"metadata": {"namespace": host.meta.namespace, "name": host.meta.name}, "status": status}
    await context.patch_status(Kind.HOST, body, host.status)
    _announce(context, host, status)


def _announce(context: Context, host: Host, status: Mapping[str, Any]) -> None:
    """Post an Event when Ready changes, or changes its reason, and when the server certificate ends soon."""
    expiring = _expiring(status)
    if expiring and not _expiring(host.status):
        reason = Reason.SERVING_CERTIFICATE_EXPIRING.value
        context.recorder.record(names.HOST_KIND, host.meta, reason=reason, message=expiring, warning=True)
    before = _ready_of(host.status)
    after = _ready_of(status)
    if after is None or (before is not None and before[:2] == after[:2]):
        return
    context.recorder.record(
        names.HOST_KIND,
        host.meta,
        reason=after[1],
        message=after[2],
        warning=after[0] != "True" and after[1] not in _ON_THE_WAY,
    )


async def report_broken(context: Context, broken: Broken, holds_up: str | None) -> None:
    """Say of a host that cannot be read what is wrong with it, and leave the rest of its status as it is.

    ``holds_up`` is why the rotation of the CA waits for it; None: nothing waits.
    """
    meta = broken.meta
    accepted = Condition(
        ConditionType.ACCEPTED,
        status=False,
        reason=Reason.INVALID_SPEC,
        message=f"{broken.error} The last good configuration stays in force.",
        observed_generation=meta.generation,
    )
    conditions = [accepted, ready([accepted], [ConditionType.ACCEPTED])]
    if holds_up is not None:
        conditions.append(confirmed_condition(conditions_for(meta.generation), holds_up))
    status = {key: value for key, value in broken.status.items() if key != "conditions"}
    status["conditions"] = merge_conditions(conditions_of(broken.status), conditions, now=context.now())
    if status_differs(broken.status, status):
        body = {"metadata": {"namespace": meta.namespace, "name": meta.name}, "status": status}
        await context.patch_status(Kind.HOST, body, broken.status)


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
