"""What the work queue is about: one key for each thing that is reconciled as a whole."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Topic(StrEnum):
    """What kind of thing a key names."""

    INTERNAL = "internal"
    AUTHORITY = "authority"
    CERTIFICATE = "certificate"
    HOST = "host"
    RULE = "rule"
    LISTS = "lists"
    LEFTOVERS = "leftovers"


class Key(NamedTuple):
    """One thing to reconcile; ``name`` is empty for a whole namespace, both are for the operator itself."""

    topic: Topic
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def authority(namespace: str) -> Key:
    """Return the key of a namespace's CA, bundle and revocation list."""
    return Key(Topic.AUTHORITY, namespace)


def certificate(namespace: str, name: str) -> Key:
    """Return the key of a ClientCertificate."""
    return Key(Topic.CERTIFICATE, namespace, name)


def host(namespace: str, name: str) -> Key:
    """Return the key of an MTLSHost."""
    return Key(Topic.HOST, namespace, name)


def rule(namespace: str, name: str) -> Key:
    """Return the key of an MTLSRule."""
    return Key(Topic.RULE, namespace, name)


def lists(namespace: str) -> Key:
    """Return the key of the readable parts of a long revocation list."""
    return Key(Topic.LISTS, namespace)


INTERNAL = Key(Topic.INTERNAL)
LEFTOVERS = Key(Topic.LEFTOVERS)
