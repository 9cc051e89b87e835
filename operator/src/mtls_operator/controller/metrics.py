"""What Prometheus sees of the operator; names and labels are a contract, values never secret."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mtls_operator.plan.given import NOTICES

_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._duration = Histogram(
            "mtls_operator_reconcile_seconds",
            "Duration of one run of a key.",
            ["topic"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._failures = Counter(
            "mtls_operator_reconcile_failures",
            "Runs that failed: cluster (the API server), conflict (somebody else wrote), bug.",
            ["topic", "kind"],
            registry=self.registry,
        )
        self.queue = Gauge(
            "mtls_operator_queue_length", "Keys that are due or running.", registry=self.registry
        )
        self._issuing_cas = Gauge(
            "mtls_operator_issuing_cas_attention",
            "Namespaces whose own issuing CA needs an administrator: one that was given is refused, or one is to be "
            "given.",
            ["reason"],
            registry=self.registry,
        )
        self.streams = Gauge("mtls_operator_discovery_streams", "Open streams.", registry=self.registry)
        self.pushes = Gauge("mtls_operator_discovery_pushes", "Scripts pushed.", registry=self.registry)
        self.refusals = Gauge("mtls_operator_discovery_refusals", "Scripts refused.", registry=self.registry)
        self.limited = Gauge(
            "mtls_operator_issuing_limited",
            "How often nothing was issued because of a limit (RateLimited, CapacityReached).",
            ["reason"],
            registry=self.registry,
        )
        self.fullness = Gauge(
            "mtls_operator_capacity_used_ratio",
            "Which part of its serial numbers or ledger the fullest namespace has used, 0 to 1.",
            registry=self.registry,
        )
        self.rotations = Gauge(
            "mtls_operator_rotation_waiting_hosts",
            "Hosts that rotations of CAs wait for.",
            registry=self.registry,
        )

    def reconciled(self, topic: str, seconds: float) -> None:
        """Count one run of a key."""
        self._duration.labels(topic).observe(seconds)

    def failed(self, topic: str, kind: str) -> None:
        """Count one failure."""
        self._failures.labels(topic, kind).inc()

    def issuing_cas_to_give(self, reasons: Iterable[str]) -> None:
        """Count the namespaces that need somebody to give a CA, by why."""
        found = Counts(reasons)
        for reason in NOTICES:
            self._issuing_cas.labels(reason.value).set(found[reason.value])

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
