"""Kubernetes Events for transitions: one short sentence for people who run ``kubectl describe``.

Events are best effort: a reconcile never waits for one and never fails because of one. Nothing secret goes in.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from mtls_operator.api import names
from mtls_operator.api.meta import Meta
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import Body, Cluster, ClusterError

_MESSAGE = 1000
#: How long ``drain`` waits: well within the time that Kubernetes gives a pod to end.
DRAIN_SECONDS = 3.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Recorder:
    """Writes Events in the background, a bounded number at a time."""

    cluster: Cluster
    now: Callable[[], datetime]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _limit: int = 256

    def record(self, kind: str, meta: Meta, *, reason: str, message: str, warning: bool = False) -> None:
        """Post one Event about an object of ours; dropped when too many are waiting."""
        if len(self._tasks) >= self._limit:
            _log.warning("event.dropped", kind=kind, namespace=meta.namespace, name=meta.name, reason=reason)
            return
        body = self._event(kind, meta, reason=reason, message=message, warning=warning)
        task = asyncio.create_task(self._post(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every Event is posted, for a few seconds: an end does not wait for an API server that is gone."""
        _, late = await asyncio.wait(self._tasks, timeout=DRAIN_SECONDS) if self._tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            _log.warning("event.abandoned", count=len(late))

    async def _post(self, body: Body) -> None:
        try:
            await self.cluster.create(body)
        except ClusterError as error:
            _log.info("event.lost", reason=body["reason"], error=str(error))

    def _event(self, kind: str, meta: Meta, *, reason: str, message: str, warning: bool) -> Body:
        moment = self.now()
        time = format_timestamp(moment)
        unique = f"{meta.uid}{reason}{message}{moment.timestamp()}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": meta.namespace,
                # A name that is cut must not end in what may not stand before a dot.
                "name": f"{meta.name[:200].rstrip('-.')}.{hashlib.sha256(unique.encode()).hexdigest()[:16]}",
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:_MESSAGE],
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "reportingInstance": names.FIELD_MANAGER,
        }
