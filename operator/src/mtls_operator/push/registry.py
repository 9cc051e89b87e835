"""All that the server knows, and every decision across streams: who is admitted, attached, woken, closed.

Single-threaded and without I/O: the server's loop calls it, tests drive it in virtual time. A stream passes
three gates, each re-evaluated when what is known changes: the server is open (before that the list of
revocations may not be loaded), the certificate is of the namespace's present UID, and the pod is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from mtls_operator.api import names
from mtls_operator.push.errors import Close, Code, StreamEnded
from mtls_operator.push.identity import Identity
from mtls_operator.push.messages import DiscoveryRequest, MalformedMessage, decode_request, encode_nonce
from mtls_operator.push.model import Limits, Pod, Report, ReportKind, Scope, Snapshot
from mtls_operator.push.resource import Resource, Slot
from mtls_operator.push.stream import Acknowledged, Claim, Memory, Refused, StreamState, read_claim

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Session:
    """One open stream. ``wake`` is called when ``Registry.next_push`` or ``close`` has something new."""

    identity: Identity
    wake: Callable[[], None]
    deadline: float | None
    claim: Claim | None = None
    pod: Pod | None = None
    state: StreamState | None = None
    close: Close | None = None

    @property
    def slow(self) -> bool:
        """Whether this proxy has been slow to read before."""
        return self.state is not None and self.state.memory.slow

    def mark_slow(self, *, slow: bool) -> None:
        """Remember whether this proxy reads as fast as pushes come."""
        if self.state is not None:
            self.state.memory.slow = slow


@dataclass(slots=True)
class _Tenant:
    """What is known about one namespace."""

    uid: str | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    slots: dict[tuple[str | None, str], Slot] = field(default_factory=dict)
    memories: dict[tuple[str, str], Memory] = field(default_factory=dict)
    sessions: dict[Session, None] = field(default_factory=dict)
    attached: dict[tuple[str, str], Session] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.uid is None and not (self.pods or self.slots or self.sessions)


class Registry:
    """The server's state. ``now`` is monotonic seconds, ``clock`` the time that reports carry."""

    def __init__(
        self, *, limits: Limits, on_report: Callable[[Report], None], clock: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._on_report = on_report
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}
        self._open = False
        self._stopped = False
        self._attempts = 0
        self._counts: Counter[str] = Counter()

    # What the operator knows

    def open(self) -> None:
        """Serve from here on."""
        self._open = True
        for tenant in tuple(self._tenants.values()):
            self._evaluate(tenant.sessions)

    def set_namespace(self, namespace: str, uid: str | None) -> None:
        """Make the namespace known by its UID; another UID or ``None`` ends all that its former life had."""
        tenant = self._tenant(namespace)
        if tenant.uid is not None and tenant.uid != uid:
            _forget(tenant)
        tenant.uid = uid
        if uid is None:
            _forget(tenant)
        self._evaluate(tenant.sessions)
        self._tidy(namespace)

    def set_pod(self, pod: Pod) -> None:
        """Make a pod known; its streams start over when it is not what it was before."""
        tenant = self._tenant(pod.namespace)
        before = tenant.pods.get(pod.uid)
        if before == pod:
            return
        tenant.pods[pod.uid] = pod
        if before is not None:
            _end_pod(tenant, pod.uid, Close(Code.GONE, "the pod changed"))
            rules = tenant.memories.get((pod.uid, names.RULES_FILTER))
            if rules is not None:
                rules.good = None
        self._evaluate(each for each in tenant.sessions if _claims(each, pod.uid))

    def remove_pod(self, namespace: str, uid: str) -> None:
        """Forget a pod and end its streams."""
        tenant = self._tenant(namespace)
        _end_pod(tenant, uid, Close(Code.GONE, "the pod is gone"))
        tenant.pods.pop(uid, None)
        for key in [key for key in tenant.memories if key[0] == uid]:
            del tenant.memories[key]
        self._tidy(namespace)

    def publish(self, scope: Scope, resource: Resource) -> None:
        """Want a resource in force everywhere in a scope."""
        tenant = self._tenant(scope.namespace)
        name = resource.script.name
        slot = tenant.slots.setdefault((scope.host, name), Slot(self._limits.verdicts))
        if slot.wanted is not None and slot.wanted.digest == resource.digest:
            return
        slot.publish(resource)
        for session in tenant.attached.values():
            if session.claim is not None and session.claim.resource == name and _in(scope, session):
                session.wake()

    def withdraw(self, scope: Scope, name: str) -> None:
        """Want nothing any more: what is in force stays in force."""
        self._tenant(scope.namespace).slots.pop((scope.host, name), None)
        self._tidy(scope.namespace)

    def stop(self) -> None:
        """End all streams; nothing is reported from here on (the proxies keep what they have)."""
        self._stopped = True
        for tenant in self._tenants.values():
            for session in tenant.sessions:
                _end(session, Close(Code.GONE, "the server is stopping"))

    # What streams do

    def admit(self, identity: Identity | None, wake: Callable[[], None], *, now: float) -> Session:
        """Return a session for a new stream.

        Raises:
            StreamEnded: the certificate is of no known namespace, or the namespace has too many streams.
        """
        if self._stopped:
            raise StreamEnded(Code.GONE, "the server is stopping")
        if identity is None:
            raise StreamEnded(Code.NOT_ALLOWED, "the client certificate is not a proxy's")
        tenant = self._tenants.get(identity.namespace)
        if self._open and (tenant is None or tenant.uid != identity.namespace_uid):
            raise StreamEnded(Code.NOT_ALLOWED, "the client certificate is of no known namespace")
        tenant = self._tenant(identity.namespace)
        most = self._limits.pending + self._limits.streams_per_pod * len(tenant.pods)
        if len(tenant.sessions) >= most:
            raise StreamEnded(Code.TOO_MANY, "too many streams of this namespace")
        session = Session(identity, wake, now + self._limits.first_request_seconds)
        tenant.sessions[session] = None
        return session

    def receive(self, session: Session, data: bytes, *, now: float) -> None:
        """Take a request of a stream; the session is closed when it is not one that a proxy may send."""
        if session.close is not None:
            return
        try:
            self._receive(session, decode_request(data), now=now)
        except MalformedMessage:
            _end(session, Close(Code.INVALID, "not a discovery request"))
        except StreamEnded as end:
            _end(session, end.close)

    def next_push(self, session: Session, *, now: float) -> bytes | None:
        """Return the bytes that must be written to a stream now, if any."""
        state, slot = session.state, self._slot(session)
        if state is None or session.close is not None or not self._open:
            return None
        refused = state.untold_refusal(slot)
        if refused is not None:
            self._report(session, ReportKind.REFUSED, refused)
        resource = state.next_push(slot)
        if resource is None:
            return None
        self._counts["pushes"] += 1
        session.deadline = now + self._limits.answer_seconds
        return resource.attempt(state.memory.attempt) + encode_nonce(state.nonce)

    def expire(self, session: Session, *, now: float) -> None:
        """Close a stream whose time for what it is expected to do is over."""
        if session.deadline is None or now < session.deadline:
            return
        if session.claim is None:
            _end(session, Close(Code.TOO_SLOW, "no request"))
        elif session.state is None:
            _end(session, Close(Code.GONE, "the pod is not known"))
        else:
            _end(session, Close(Code.TOO_SLOW, "a push was not answered"))

    def detach(self, session: Session) -> None:
        """End what a stream does, for whatever reason; it still counts until ``release``."""
        _end(session, Close(Code.DONE, "the proxy left"))
        tenant = self._tenant(session.identity.namespace)
        key = _key(session)
        if key is not None and tenant.attached.get(key) is session:
            del tenant.attached[key]
            self._doubt(session)
            self._report(session, ReportKind.DISCONNECTED)

    def release(self, session: Session) -> None:
        """Forget a stream whose end was delivered."""
        self._tenant(session.identity.namespace).sessions.pop(session, None)
        self._tidy(session.identity.namespace)

    def snapshot(self) -> Snapshot:
        """Return the counts for metrics; may be called from any thread."""
        sessions = [each for tenant in tuple(self._tenants.values()) for each in tuple(tenant.sessions)]
        living = [each for each in sessions if each.close is None]
        pending = sum(1 for each in living if each.state is None)
        return Snapshot(len(living), pending, self._counts["pushes"], self._counts["refusals"])

    # How

    def _receive(self, session: Session, request: DiscoveryRequest, *, now: float) -> None:
        if session.claim is None:
            claim = read_claim(request)
            if claim.node.namespace != session.identity.namespace:
                raise StreamEnded(Code.NOT_ALLOWED, "the node is of another namespace than the certificate")
            session.claim = claim
            session.deadline = now + self._limits.pending_seconds
            self._evaluate((session,))
            session.wake()
            return
        if session.state is None:
            raise StreamEnded(Code.INVALID, "a second request before an answer to the first")
        event = session.state.on_request(request)
        if event is None:
            return
        session.deadline = None
        slot = self._slot(session)
        match event:
            case Acknowledged(resource):
                if slot is not None:
                    slot.acknowledge(resource)
                self._report(session, ReportKind.ACKNOWLEDGED)
            case Refused(resource, error):
                self._counts["refusals"] += 1
                if slot is not None:
                    slot.refuse(resource, error)
                self._report(session, ReportKind.REFUSED, event)
        session.wake()

    def _evaluate(self, sessions: Iterable[Session]) -> None:
        """Let the streams through whose gates are open, and end those that may not wait any longer."""
        if not self._open:
            return
        for session in tuple(sessions):
            tenant = self._tenant(session.identity.namespace)
            if session.close is not None or session.state is not None:
                continue
            if tenant.uid != session.identity.namespace_uid:
                _end(session, Close(Code.NOT_ALLOWED, "the client certificate is of no known namespace"))
            elif session.claim is not None:
                self._attach(tenant, session, session.claim)

    def _attach(self, tenant: _Tenant, session: Session, claim: Claim) -> None:
        pod = tenant.pods.get(claim.node.uid)
        if pod is None:
            return
        if pod.name != claim.node.pod:
            _end(session, Close(Code.NOT_ALLOWED, "the node id does not name a known pod"))
            return
        key = (pod.uid, claim.resource)
        older = tenant.attached.pop(key, None)
        if older is not None:
            _end(older, Close(Code.REPLACED, "replaced by a newer stream of the same pod"))
            self._doubt(older)
        memory = tenant.memories.setdefault(key, Memory(self._limits.verdicts))
        session.pod = pod
        session.state = StreamState(claim, memory, idle_limit=self._limits.idle_requests)
        session.state.connect(self._slot(session))
        session.deadline = None
        tenant.attached[key] = session
        self._report(session, ReportKind.CONNECTED)
        session.wake()

    def _doubt(self, session: Session) -> None:
        """Note that a push may or may not have been refused: what is offered next must have other bytes."""
        if session.state is not None and session.state.awaiting:
            self._attempts += 1
            session.state.memory.attempt = self._attempts

    def _report(self, session: Session, kind: ReportKind, refused: Refused | None = None) -> None:
        if session.state is None or session.pod is None or self._stopped:
            return
        report = Report(
            pod=session.pod,
            resource=session.state.claim.resource,
            kind=kind,
            version=session.state.held,
            error=refused.error if refused else "",
            at=self._clock(),
            refused=refused.resource.version if refused else "",
        )
        try:
            self._on_report(report)
        except Exception:
            log.exception("report.lost", pod=report.pod.name, namespace=report.pod.namespace)

    def _slot(self, session: Session) -> Slot | None:
        tenant = self._tenants.get(session.identity.namespace)
        if tenant is None or session.pod is None or session.claim is None:
            return None
        resource = session.claim.resource
        host = session.pod.host if resource == names.RULES_FILTER else None
        return tenant.slots.get((host, resource))

    def _tenant(self, namespace: str) -> _Tenant:
        return self._tenants.setdefault(namespace, _Tenant())

    def _tidy(self, namespace: str) -> None:
        tenant = self._tenants.get(namespace)
        if tenant is not None and tenant.empty:
            del self._tenants[namespace]


def _end(session: Session, close: Close) -> None:
    if session.close is None:
        session.close = close
        session.wake()


def _end_pod(tenant: _Tenant, uid: str, close: Close) -> None:
    for key, session in tenant.attached.items():
        if key[0] == uid:
            _end(session, close)


def _forget(tenant: _Tenant) -> None:
    """End the streams of a namespace's life that is over, and drop all that belonged to it."""
    for session in tenant.attached.values():
        _end(session, Close(Code.NOT_ALLOWED, "the namespace is gone"))
    tenant.pods.clear()
    tenant.slots.clear()
    tenant.memories.clear()


def _key(session: Session) -> tuple[str, str] | None:
    if session.pod is None or session.claim is None:
        return None
    return session.pod.uid, session.claim.resource


def _claims(session: Session, uid: str) -> bool:
    return session.claim is not None and session.claim.node.uid == uid


def _in(scope: Scope, session: Session) -> bool:
    return scope.host is None or (session.pod is not None and session.pod.host == scope.host)
