"""What goes in and out of the discovery server: pods, scripts and their scopes, reports, limits.

Plain data, no behaviour; times are seconds since the epoch where they leave the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that may have streams: its identity and the MTLSHost that its label names."""

    namespace: str
    name: str
    uid: str
    host: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Who gets a script: the pods of one host of a namespace, or (``host=None``) all of a namespace."""

    namespace: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """One version of a filter's Lua source.

    ``name`` is the filter's name, which is also the resource's; ``version`` must be derived from ``text``
    (a digest): a proxy that says it runs a version is not sent that version again.
    """

    name: str
    version: str
    text: str


class ReportKind(Enum):
    """What happened on a stream."""

    CONNECTED = "connected"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Report:
    """What a proxy said about one resource, or that it stopped saying anything.

    ``version`` is what the proxy says is in force now, ``""`` where that is unknown: a proxy that has not
    been pushed to since it started runs its mounted file. For ``REFUSED``, ``refused`` is the version that was
    not taken and ``error`` the proxy's own text (printable, at most 500 characters). A proxy to which a version
    is not offered because another one refused it is reported as refusing it, too: it will not run it.
    """

    pod: Pod
    resource: str
    kind: ReportKind
    version: str
    error: str
    at: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counts for metrics: streams now (pending ones included), pending now, pushes and refusals ever."""

    streams: int
    pending: int
    pushes: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what proxies, who are tenants, can make the server do."""

    #: Streams per namespace that wait for their pod to become known (or for the server to open).
    pending: int = 256
    #: How long such a stream waits, in seconds.
    pending_seconds: float = 30.0
    #: Streams per namespace for each labelled pod, on top of ``pending``: two in use, two on their way out.
    streams_per_pod: int = 4
    #: How long a new stream may stay silent, in seconds.
    first_request_seconds: float = 10.0
    #: How long a proxy may take to read and answer a push before its stream is closed, in seconds.
    answer_seconds: float = 10.0
    #: Requests on one stream that answer nothing, between two pushes.
    idle_requests: int = 32
    #: Pushes that are written at the same time, to healthy proxies and to those that were slow before.
    writes: int = 64
    slow_writes: int = 8
    #: After this many seconds a blocked write gives its place to another stream and waits outside.
    slow_seconds: float = 0.25
    #: Largest request that is read, in bytes: a node with all its extensions is about 60 kB.
    request_bytes: int = 256 * 1024
    #: Largest script that is published, in bytes.
    script_bytes: int = 4 * 1024 * 1024
    #: Verdicts remembered per resource: a newer publication than the oldest of them made it moot.
    verdicts: int = 64
    #: Age at which a connection is ended, so that its proxy has to prove its identity again, in seconds.
    connection_seconds: float = 86_400.0
