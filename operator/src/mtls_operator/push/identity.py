"""Who is at the other end of a stream: the namespace by certificate, the pod by node id.

The certificate decides the namespace and that it is the present one of its name (by UID); the node id may
only choose among the pods of that namespace. What namespaces and pods there are is the registry's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mtls_operator.api import names

_PART: Final = r"([A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?)"
_IDENTITY: Final = re.compile(f"spiffe://{re.escape(names.GROUP)}/ns/{_PART}/{_PART}", re.ASCII)
_NODE: Final = re.compile(f"{_PART}/{_PART}/{_PART}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """A namespace as its proxies' certificate names it: with the UID it had when the certificate was made."""

    namespace: str
    namespace_uid: str


@dataclass(frozen=True, slots=True)
class Node:
    """A pod as its sidecar's node id names it. Nothing vouches for it but the namespace's certificate."""

    namespace: str
    pod: str
    uid: str


def identity_of(auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
    """Return the identity in the verified client certificate of a gRPC peer, ``None`` where there is none.

    ``auth_context`` is gRPC's: ``peer_uri`` holds the URI names of the certificate and nothing else (a DNS
    name that looks like one of ours is not among them). Exactly one is required, and it must be ours.
    """
    if tuple(auth_context.get("transport_security_type", ())) != (b"ssl",):
        return None
    uris = tuple(auth_context.get("peer_uri", ()))
    if len(uris) != 1:
        return None
    return parse_identity(uris[0])


def parse_identity(uri: bytes) -> Identity | None:
    """Return the identity that a URI name stands for: the inverse of ``names.proxy_identity``."""
    match = _IDENTITY.fullmatch(uri.decode("ascii", errors="replace"))
    return Identity(match[1], match[3]) if match else None


def parse_node(node_id: str) -> Node | None:
    """Return the pod that a node id names: the inverse of ``names.node_id``; ``None`` for anything else."""
    match = _NODE.fullmatch(node_id)
    return Node(match[1], match[3], match[5]) if match else None
