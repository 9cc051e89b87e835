"""What a proxy says and what is published, in few words, for the tests of the discovery server's logic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mtls_operator.api import names
from mtls_operator.push import Limits, Pod, Report, ReportKind, Scope, Script, messages
from mtls_operator.push.identity import Identity
from mtls_operator.push.messages import EXTENSION_TYPE, DiscoveryRequest
from mtls_operator.push.registry import Registry, Session
from mtls_operator.push.resource import Resource, make_resource

NAMESPACE, NAMESPACE_UID = "shop", "ns-uid-1"
POD = Pod(NAMESPACE, "web-1", "pod-uid-1", "api")
OTHER_POD = Pod(NAMESPACE, "web-2", "pod-uid-2", "api")
HOST, ALL = Scope(NAMESPACE, "api"), Scope(NAMESPACE)


def node_of(pod: Pod) -> str:
    return names.node_id(pod.namespace, pod.name, pod.uid)


def request(
    *,
    version: str = "",
    node: str = "",
    resource: tuple[str, ...] = (names.RULES_FILTER,),
    type_url: str = EXTENSION_TYPE,
    nonce: str = "",
    error: str | None = None,
) -> DiscoveryRequest:
    return DiscoveryRequest(version, node, resource, type_url, nonce, error)


def encode(said: DiscoveryRequest) -> bytes:
    """Return a request as a proxy writes it."""
    out = messages._field(1, said.version.encode())
    out += messages._field(2, messages._field(1, said.node.encode()))
    out += b"".join(messages._field(3, each.encode()) for each in said.names)
    out += messages._field(4, said.type_url.encode()) + messages._field(5, said.nonce.encode())
    if said.error is not None:
        out += messages._field(6, b"\x08\x0d" + messages._field(2, said.error.encode()))
    return out


def rules(version: str, order: int = 1) -> Resource:
    """Return a resource whose text is derived from its version."""
    script = Script(names.RULES_FILTER, version, f"-- {version}")
    return make_resource(HOST, script, mark="mark", order=order, limit=1000)


def revocation(version: str, order: int = 1) -> Resource:
    script = Script(names.REVOCATION_FILTER, version, f"-- {version}")
    return make_resource(ALL, script, mark="mark", order=order, limit=1000)


@dataclass(slots=True)
class Push:
    """What a played proxy was sent."""

    version: str
    nonce: str
    data: bytes


def read_push(data: bytes) -> Push:
    fields = {number: value for number, value in messages._fields(data) if value is not None}
    return Push(fields[1].decode(), fields[5].decode(), data)


@dataclass(slots=True)
class World:
    """A registry in virtual time, with what it reported."""

    limits: Limits = field(default_factory=Limits)
    now: float = 1000.0
    reports: list[Report] = field(default_factory=list)
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(limits=self.limits, on_report=self.reports.append, clock=lambda: self.now)

    def connect(
        self,
        pod: Pod = POD,
        *,
        uid: str = NAMESPACE_UID,
        wake: Callable[[], None] = lambda: None,
        **parts: str,
    ) -> Proxy:
        """Open a stream for a pod and say its first request."""
        proxy = Proxy(self, self.registry.admit(Identity(pod.namespace, uid), wake, now=self.now))
        resource = parts.pop("resource", names.RULES_FILTER)
        proxy.say(node=node_of(pod), resource=(resource,), **parts)
        return proxy

    def told(self, kind: ReportKind) -> list[Report]:
        return [each for each in self.reports if each.kind is kind]


@dataclass(slots=True)
class Proxy:
    """The other end of a stream of a ``World``."""

    world: World
    session: Session

    def say(self, **parts: object) -> None:
        data = encode(request(**parts))  # type: ignore[arg-type] # the test names the fields it means
        self.world.registry.receive(self.session, data, now=self.world.now)

    def receive(self) -> Push | None:
        """Return what is written to it now, if anything."""
        data = self.world.registry.next_push(self.session, now=self.world.now)
        return None if data is None else read_push(data)

    def take(self) -> Push:
        push = self.receive()
        assert push is not None, "nothing was pushed"
        return push

    def acknowledge(self, push: Push) -> None:
        self.say(version=push.version, nonce=push.nonce)

    def refuse(self, push: Push, *, keeping: str = "", error: str = "bad script") -> None:
        self.say(version=keeping, nonce=push.nonce, error=error)

    def leave(self) -> None:
        self.world.registry.detach(self.session)
        self.world.registry.release(self.session)

    @property
    def ended(self) -> str | None:
        """The status code that the server ended it with."""
        return None if self.session.close is None else self.session.close.code.value
