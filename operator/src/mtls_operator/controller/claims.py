"""Whose an object is that has a name of ours: somebody else's is left alone, and ours is taken back for ever.

A name is ours from the first moment on at which what has it is ours. That is on record where no tenant writes: the CA
of a namespace for what its hosts share, the status of a host for its own objects. Before that, an object of such a name
is somebody's, who may need it. After that, whoever puts another one in its place is after what the proxies read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import Body, Kind
from mtls_operator.controller.context import Context
from mtls_operator.envoy import epoch_of
from mtls_operator.plan.trouble import Trouble

_log = structlog.get_logger(__name__)

#: What the hosts of a namespace share.
_SHARED: Final = (
    (Kind.CONFIG_MAP, names.CLIENT_CA_CONFIGMAP),
    (Kind.CONFIG_MAP, names.REVOCATION_CONFIGMAP),
    (Kind.SECRET, names.PROXY_SECRET),
)
#: Why a host, or a namespace, is not begun with.
CONFLICTS: Final = frozenset({Reason.CONFIG_CONFLICT, Reason.SECRET_CONFLICT})
#: Whether somebody else's object with a name of ours is gone is looked this often: without our label it goes unseen.
CONFLICT_SECONDS: Final = 10.0


async def taken(context: Context, namespace: str) -> Trouble | None:
    """Return why a namespace cannot have a CA yet: what its hosts would share has the name of somebody's object."""
    for kind, name in _SHARED:
        body = await context.cluster.get(kind, namespace, name)
        if body is not None and not _is_labelled(body):
            return _conflict(kind, name, "not this operator's")
    return None


async def claim(context: Context, host: Host) -> Trouble | set[int]:
    """Make sure that what is about to be written for a host replaces nothing of somebody else's.

    Returns why it may not be written, or the epochs of scripts that were found in the place of ours and removed.
    """
    namespace, uid = host.meta.namespace, host.meta.uid
    epochs: set[int] = set()
    for kind, name in _places(host):
        seen = context.world.written[kind].get(namespace, name)
        if seen is not None and uid in seen.owners:
            continue
        body = await context.cluster.get(kind, namespace, name)
        if body is None or uid in _owners(body):
            continue
        if not _was_written(host):
            return _conflict(kind, name, "not this host's")
        _log.warning("object.taken_back", kind=kind.kind, namespace=namespace, name=name)
        await context.cluster.delete(kind, namespace, name, uid=body["metadata"]["uid"])
        epoch = epoch_of(str((body.get("data") or {}).get(names.RULES_KEY) or ""))
        if kind is Kind.CONFIG_MAP and epoch is not None:
            epochs.add(epoch)
    return epochs


def _places(host: Host) -> Iterator[tuple[Kind, str]]:
    name = host.meta.name
    yield Kind.CONFIG_MAP, names.host_config(name)
    yield Kind.SECRET, names.server_secret(name)
    if host.network_policy:
        yield Kind.NETWORK_POLICY, names.host_config(name)
    if host.client_cas.copied:
        yield Kind.CONFIG_MAP, names.trust_config(name)


def _was_written(host: Host) -> bool:
    """Say whether the objects of a host were written once: its status, which no tenant writes, has their epoch."""
    epoch: Any = host.status.get("epoch")
    return isinstance(epoch, Mapping) and bool(epoch.get("rules"))


def _owners(body: Body) -> set[str]:
    return {str(owner.get("uid")) for owner in body["metadata"].get("ownerReferences") or ()}


def _is_labelled(body: Body) -> bool:
    return (body["metadata"].get("labels") or {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY


def _conflict(kind: Kind, name: str, whose: str) -> Trouble:
    reason = Reason.SECRET_CONFLICT if kind is Kind.SECRET else Reason.CONFIG_CONFLICT
    return Trouble(
        reason,
        f"{kind.kind} {name} exists and is {whose}: it is left alone. Delete it, or give it another name.",
    )
