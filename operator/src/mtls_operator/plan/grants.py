"""Which namespaces may trust the managed CA of another one: that one says so, in a ConfigMap of its own.

A ConfigMap, because whoever decides about what runs in a namespace may write those there and nobody else may; the
namespace itself belongs to the cluster's administrators. It goes with its namespace: a grant that is older than the
namespace is one of a former life, and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mtls_operator.api import limits, names
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.timestamp import parse_timestamp

#: ``Trust.source`` of a CA of another namespace is this and the namespace.
SOURCE: Final = "managedFrom/"
#: Of an object that does not say when it was made: before every namespace.
_UNKNOWN: Final = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Grant:
    """The namespaces that may trust a CA, and when they were allowed to first."""

    namespaces: frozenset[str]
    made: datetime


def read_grant(body: Mapping[str, Any]) -> Grant:
    """Read the grant in a ConfigMap; a line that is no namespace's name allows nobody, and the others still count."""
    metadata = body["metadata"]
    text = ""
    if (metadata.get("labels") or {}).get(names.GRANT_LABEL) == names.GRANT_VALUE:
        text = str((body.get("data") or {}).get(names.GRANT_KEY) or "")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    made = str(metadata.get("creationTimestamp") or _UNKNOWN)
    return Grant(frozenset(filter(_is_name, lines)), parse_timestamp(made))


def _is_name(line: str) -> bool:
    try:
        return bool(line) and limits.NAMESPACE.check(line, path="") == line
    except InvalidSpec:
        return False


def is_granted(grants: Iterable[Grant], consumer: str, *, since: datetime) -> bool:
    """Say whether a namespace that exists since a moment lets another one trust its CA."""
    return any(consumer in grant.namespaces and grant.made >= since for grant in grants)


def granters_in(status: Mapping[str, Any]) -> frozenset[str]:
    """Return the namespaces whose CAs a host trusts as far as its status says."""
    cas = status.get("clientCAs")
    sources = (
        [ca.get("source") for ca in cas if isinstance(ca, Mapping)] if isinstance(cas, list | tuple) else []
    )
    return frozenset(
        source.removeprefix(SOURCE)
        for source in sources
        if isinstance(source, str) and source.startswith(SOURCE)
    )
