"""What one stream may say and what it is offered next: a state machine without I/O, clock or other streams.

A stream carries one resource (state-of-the-world protocol, one type, one name). At most one push is on its
way: the next one, always the newest, follows the answer to it. That bounds the bytes per proxy, and an answer
can only mean one push. What must outlive the stream, because the proxy remembers it, is in ``Memory``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from mtls_operator.api import names
from mtls_operator.push.errors import Code, StreamEnded
from mtls_operator.push.identity import Node, parse_node
from mtls_operator.push.messages import EXTENSION_TYPE, DiscoveryRequest
from mtls_operator.push.resource import Resource, Slot

RESOURCES: Final = frozenset({names.RULES_FILTER, names.REVOCATION_FILTER})

_MAX_ERROR: Final = 500
_MAX_VERSION: Final = 128


@dataclass(frozen=True, slots=True)
class Claim:
    """What the first request of a stream says: which pod, which resource, and the version in force there."""

    node: Node
    node_id: str
    resource: str
    version: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The proxy runs this resource now."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy did not take this resource; what it had before stays in force."""

    resource: Resource
    error: str


@dataclass(slots=True)
class Memory:
    """What is known about one resource at one proxy, across its streams.

    ``good`` is the last resource that it ran. ``repair`` says that it refused something and took nothing
    since: Envoy then keeps the refused bytes as "the last ones seen", so the last good ones are sent again
    although the version in force equals theirs. ``told`` is the refused resource that was reported last.
    """

    limit: int
    good: Resource | None = None
    repair: bool = False
    told: bytes | None = None
    attempt: int = 0
    slow: bool = False
    rejected: OrderedDict[bytes, str] = field(default_factory=OrderedDict)

    def reject(self, resource: Resource, error: str) -> None:
        """Remember that this proxy refused a resource."""
        self.rejected[resource.digest] = error
        self.rejected.move_to_end(resource.digest)
        while len(self.rejected) > self.limit:
            self.rejected.popitem(last=False)
        self.repair = True
        self.told = resource.digest


def read_claim(request: DiscoveryRequest) -> Claim:
    """Return what the first request of a stream claims.

    Raises:
        StreamEnded: it asks for anything but exactly one of our resources by name, or names no pod.
    """
    if request.type_url != EXTENSION_TYPE:
        raise StreamEnded(Code.INVALID, "only extension configurations are served")
    if len(request.names) != 1 or request.names[0] not in RESOURCES:
        raise StreamEnded(Code.INVALID, "a stream asks for exactly one known resource by its name")
    node = parse_node(request.node)
    if node is None:
        raise StreamEnded(Code.NOT_ALLOWED, "the node id does not name a pod")
    return Claim(node, request.node, request.names[0], _version(request))


class StreamState:
    """One stream of one proxy, from its first request on."""

    __slots__ = ("_idle", "_idle_limit", "_nonce", "_sent", "claim", "held", "memory")

    def __init__(self, claim: Claim, memory: Memory, *, idle_limit: int) -> None:
        self.claim = claim
        self.memory = memory
        #: The version that the proxy says is in force, ``""`` where it has none of ours.
        self.held = claim.version
        self._nonce = 0
        self._sent: Resource | None = None
        self._idle = 0
        self._idle_limit = idle_limit

    @property
    def awaiting(self) -> bool:
        """Whether a push has not been answered yet."""
        return self._sent is not None

    @property
    def nonce(self) -> str:
        """The nonce of the last push."""
        return str(self._nonce)

    def connect(self, slot: Slot | None) -> None:
        """Recognise the version in force among the resources that are known: it is what to fall back to."""
        running = slot.known(self.held) if slot else None
        if slot is not None and running is not None:
            self.memory.good = running
            slot.acknowledge(running)

    def on_request(self, request: DiscoveryRequest) -> Acknowledged | Refused | None:
        """Return what a further request answers, ``None`` where it answers nothing that is asked now.

        Raises:
            StreamEnded: it changes its mind about who or what it is, acknowledges another version than the
                one that was pushed, or floods; or it does not want the resource any more.
        """
        self._check_unchanged(request)
        sent = self._sent
        if sent is None or request.nonce != self.nonce:
            self._count_idle()
            return None
        if request.error is None:
            return self._acknowledged(request, sent)
        self.held = _version(request)
        self._sent = None
        error = printable(request.error) or "refused without a reason"
        self.memory.reject(sent, error)
        return Refused(sent, error)

    def next_push(self, slot: Slot | None) -> Resource | None:
        """Return what must be written now, with ``nonce``, if anything; its answer is awaited from here on."""
        if self.awaiting:
            return None
        target = self._target(slot)
        if target is None:
            return None
        if target.version == self.held and not self.memory.repair:
            self.memory.good = target
            return None
        self._sent = target
        self._nonce += 1
        self._idle = 0
        return target

    def untold_refusal(self, slot: Slot | None) -> Refused | None:
        """Return, once per resource, that the wanted one is not offered: it was refused before."""
        if slot is None or slot.wanted is None or self.awaiting:
            return None
        wanted = slot.wanted
        error = self.memory.rejected.get(wanted.digest) or slot.refusal(wanted)
        if error is None or wanted.digest == self.memory.told or wanted.version == self.held:
            return None
        self.memory.told = wanted.digest
        return Refused(wanted, error)

    def _target(self, slot: Slot | None) -> Resource | None:
        """Return the newest resource that this proxy has not refused."""
        candidates = slot.candidates() if slot else []
        if self.memory.repair and self.memory.good is not None:
            candidates = sorted([*candidates, self.memory.good], key=lambda each: each.order, reverse=True)
        return next((each for each in candidates if each.digest not in self.memory.rejected), None)

    def _acknowledged(self, request: DiscoveryRequest, sent: Resource) -> Acknowledged:
        if request.version != sent.version:
            raise StreamEnded(Code.INVALID, "an acknowledgement names another version than the one pushed")
        self.held = sent.version
        self._sent = None
        self.memory.good = sent
        self.memory.repair = False
        return Acknowledged(sent)

    def _check_unchanged(self, request: DiscoveryRequest) -> None:
        if request.node not in ("", self.claim.node_id):
            raise StreamEnded(Code.NOT_ALLOWED, "the node id changed")
        if request.type_url not in ("", EXTENSION_TYPE):
            raise StreamEnded(Code.INVALID, "the type changed")
        if not request.names:
            raise StreamEnded(Code.DONE, "unsubscribed")
        if request.names != (self.claim.resource,):
            raise StreamEnded(Code.INVALID, "a stream asks for exactly one resource")

    def _count_idle(self) -> None:
        self._idle += 1
        if self._idle > self._idle_limit:
            raise StreamEnded(Code.TOO_MANY, "too many requests that answer nothing")


def printable(text: str) -> str:
    """Return a proxy's text as it may go into a status: one line, printable characters only, at most 500."""
    cleaned = "".join(character if character.isprintable() else " " for character in text[: 4 * _MAX_ERROR])
    return " ".join(cleaned.split())[:_MAX_ERROR]


def _version(request: DiscoveryRequest) -> str:
    version = request.version
    if len(version) > _MAX_VERSION or not (version.isascii() and version.isprintable()):
        raise StreamEnded(Code.INVALID, "a version that is none of ours")
    return version
