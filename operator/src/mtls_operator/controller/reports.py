"""What the proxies reported: versions in force and refusals by pod and script, files by pod."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mtls_operator.api import names
from mtls_operator.plan.rollout import Files, Pod, Proxy, StreamState, accepting, lagging
from mtls_operator.push import Report, ReportKind


@dataclass(slots=True)
class Reports:
    """The latest report for each pod (by UID) and script."""

    streams: dict[tuple[str, str], StreamState] = field(default_factory=dict)
    files: dict[str, Files] = field(default_factory=dict)

    def take(self, report: Report) -> None:
        """Take in a report of the discovery server."""
        key = (report.pod.uid, report.resource)
        before = self.streams.get(key)
        at = datetime.fromtimestamp(report.at, UTC)
        if report.kind is ReportKind.DISCONNECTED:
            version = before.version if before is not None else ""
            self.streams[key] = StreamState(connected=False, version=version, error="", since=at)
            return
        since = before.since if before is not None and before.connected else at
        version = report.version
        error = ""
        if report.kind is ReportKind.REFUSED:
            error = report.error or "no reason given"
            version = report.version or (before.version if before is not None else "")
        elif before is not None and before.error and before.version == report.version:
            error = (
                before.error
            )  # the last good script is back in force; the refusal stands until a new one is
        self.streams[key] = StreamState(connected=True, version=version, error=error, since=since)

    def forget(self, pod_uid: str) -> None:
        """Drop what a pod that is gone has reported."""
        for resource in (names.RULES_FILTER, names.REVOCATION_FILTER):
            self.streams.pop((pod_uid, resource), None)
        self.files.pop(pod_uid, None)

    def proxies(self, pods: Iterable[Pod]) -> list[Proxy]:
        """Return pods with what their proxies reported."""
        return [
            Proxy(
                pod=pod,
                rules=self.streams.get((pod.uid, names.RULES_FILTER)),
                revocation=self.streams.get((pod.uid, names.REVOCATION_FILTER)),
                files=self.files.get(pod.uid),
            )
            for pod in pods
        ]

    def accepting(self, pods: Iterable[Pod]) -> list[Pod]:
        """Return the pods that may still accept requests, whatever they have acknowledged."""
        return accepting(self.proxies(pods))

    def lagging(self, pods: Iterable[Pod], revocation: str) -> list[Pod]:
        """Return the pods whose proxies have not acknowledged a revocation list."""
        return lagging(self.proxies(pods), revocation)
