"""How far a host's configuration has come on its proxies: counted from what they reported, never assumed (G4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mtls_operator.api import names
from mtls_operator.api.reason import Reason
from mtls_operator.api.timestamp import format_timestamp

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Pod:
    """A labelled pod; ``running`` also while it ends, ``ending`` from the deletion on."""

    namespace: str
    name: str
    uid: str
    host: str
    address: str
    running: bool
    ending: bool
    injected: bool


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a proxy last said about one pushed script; ``error`` is Envoy's own text of a refusal."""

    connected: bool
    version: str
    error: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Files:
    """Versions of what travels by file: wanted, or as the proxy's status port reports them."""

    listener: str
    client_ca: str
    server: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The versions that every proxy of a host must report."""

    rules: str
    revocation: str
    files: Files


@dataclass(frozen=True, slots=True)
class Proxy:
    """A pod with what is known of its sidecar."""

    pod: Pod
    rules: StreamState | None
    revocation: StreamState | None
    files: Files | None

    @property
    def connected(self) -> bool:
        """Both scripts can be pushed to it."""
        return bool(self.rules and self.rules.connected and self.revocation and self.revocation.connected)

    @property
    def counted(self) -> bool:
        """It can answer requests: running, or already connected; while ending only as long as it is connected."""
        if self.pod.ending:
            return self.connected
        return self.pod.running or self.connected

    @property
    def accepting(self) -> bool:
        """It may still accept what a list revokes: also out of our reach while it ends, until it has stopped."""
        return self.pod.running or self.connected


@dataclass(frozen=True, slots=True)
class Rollout:
    """Counts for the status, and why the host is not deployed (``reason`` None: it is)."""

    pods: int
    injected: int
    connected: int
    current: int
    reason: Reason | None
    message: str


def rules_in_force(wanted: Wanted, proxies: Iterable[Proxy]) -> bool:
    """Say whether every proxy runs the wanted rules, whatever else is on its way."""
    counted = [proxy for proxy in proxies if proxy.counted]
    return bool(counted) and all(_runs(proxy.rules, wanted.rules) for proxy in counted)


def accepting(proxies: Iterable[Proxy]) -> list[Pod]:
    """Return the pods that may still accept requests, whatever they have acknowledged."""
    return [proxy.pod for proxy in proxies if proxy.accepting]


def lagging(proxies: Iterable[Proxy], revocation: str) -> list[Pod]:
    """Return the pods whose proxies have not acknowledged a revocation list."""
    return [proxy.pod for proxy in proxies if proxy.accepting and not _runs(proxy.revocation, revocation)]


def roll_out(wanted: Wanted, proxies: Sequence[Proxy]) -> Rollout:
    """Compare what is wanted with what every counted proxy reported; the gravest reason wins."""
    counted = [proxy for proxy in proxies if proxy.counted]
    reason, message = _verdict(wanted, counted)
    return Rollout(
        pods=len(counted),
        injected=sum(proxy.pod.injected for proxy in counted),
        connected=sum(proxy.connected for proxy in counted),
        current=sum(_current(proxy, wanted) for proxy in counted),
        reason=reason,
        message=message,
    )


def _verdict(wanted: Wanted, counted: Sequence[Proxy]) -> tuple[Reason | None, str]:
    if not counted:
        return (
            Reason.NO_PODS,
            f"No running pod has the label {names.HOST_LABEL} with this host's name: set it in the pod template.",
        )
    bare = [proxy for proxy in counted if not proxy.pod.injected]
    if bare:
        return (
            Reason.PODS_WITHOUT_PROXY,
            f"Without the sidecar and so not protected: {_named(bare)}. Delete it: its replacement gets one.",
        )
    for proxy in counted:
        for state, version in ((proxy.rules, wanted.rules), (proxy.revocation, wanted.revocation)):
            if state is not None and state.connected and state.error and state.version != version:
                return Reason.PROXY_REJECTED, f"Pod {proxy.pod.name} refused the configuration: {state.error}"
    away = [proxy for proxy in counted if not proxy.connected]
    lost = [proxy for proxy in away if _lost(proxy)]
    if lost:
        return (
            Reason.PROXY_DISCONNECTED,
            f"Not connected to the operator since {_since(lost)}, following the ConfigMaps: {_named(lost)}.",
        )
    if away:
        return Reason.PROXY_PENDING, f"Waiting for a connection, following the ConfigMaps: {_named(away)}."
    late = [proxy for proxy in counted if not _current(proxy, wanted)]
    if late:
        return Reason.PROXY_PENDING, f"Waiting for {_named(late)} to report {_missing(late[0], wanted)}."
    return None, f"Reported current: {len(counted)} of {len(counted)} proxies."


def _current(proxy: Proxy, wanted: Wanted) -> bool:
    return (
        proxy.connected
        and _runs(proxy.rules, wanted.rules)
        and _runs(proxy.revocation, wanted.revocation)
        and proxy.files == wanted.files
    )


def _runs(state: StreamState | None, version: str) -> bool:
    return state is not None and state.connected and state.version == version


def _missing(proxy: Proxy, wanted: Wanted) -> str:
    if not _runs(proxy.rules, wanted.rules):
        return "the current rules"
    if not _runs(proxy.revocation, wanted.revocation):
        return "the current revocation list"
    if proxy.files is None:
        return "its status"
    parts = ("listener", "client_ca", "server")
    late = [part for part in parts if getattr(proxy.files, part) != getattr(wanted.files, part)]
    words = {"listener": "listener", "client_ca": "client CA bundle", "server": "server certificate"}
    return "the current " + " and ".join(words[part] for part in late) + " (files take up to two minutes)"


def _lost(proxy: Proxy) -> list[StreamState]:
    """Return the streams that were there and have ended; one that has not come yet is not lost."""
    return [state for state in (proxy.rules, proxy.revocation) if state is not None and not state.connected]


def _since(lost: Sequence[Proxy]) -> str:
    return format_timestamp(min(state.since for proxy in lost for state in _lost(proxy)))


def _named(proxies: Sequence[Proxy]) -> str:
    named = ", ".join(sorted(proxy.pod.name for proxy in proxies)[:_NAMED])
    more = len(proxies) - _NAMED
    return f"pod {named}" + (f" and {more} more" if more > 0 else "")
