"""What a proxy says about itself on its status port (``GET /stats``): which versions are in force.

This is the proof for what travels by file. For the scripts the acknowledgement on the discovery stream is the
proof; their numbers here are for people and metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from mtls_operator.api import names
from mtls_operator.envoy import sds
from mtls_operator.envoy.rule_counters import SCOPE

#: Statistics that a proxy keeps at all; the others are not even counted.
KEPT_PREFIXES: Final = (
    "cluster.app.",
    "cluster.mtls-operator.",
    "extension_config_discovery.",
    "http.mtls.",
    "listener.mtls.",
    "listener_manager.",
    f"{SCOPE}.",
    "sds.",
    "server.",
)

_FILTER: Final = "extension_config_discovery.http_filter"
_FIELDS: Final = (
    "version_text",
    "update_rejected",
    "update_failure",
    "key_rotation_failed",
    "connected_state",
)
_SOURCES: Final = ("sds", "listener_manager.lds", _FILTER)
_PATTERN: Final = f"^({'|'.join(re.escape(source) for source in _SOURCES)})\\..*({'|'.join(_FIELDS)})$"
#: Path and query to GET on the status port: only what ``parse_proxy_stats`` reads.
STATS_QUERY: Final = f"/stats?filter={quote(_PATTERN, safe='')}"


class StatsError(ValueError):
    """The text is not the statistics of one of our proxies; says which line does not fit."""


@dataclass(frozen=True, slots=True)
class ScriptStats:
    """One pushed filter.

    ``version``: what was pushed last; "" means nothing yet, the mounted file decides. ``connected``: the
    stream to the operator is up. ``rejected``: pushes that the proxy refused.
    """

    version: str
    connected: bool
    rejected: int


@dataclass(frozen=True, slots=True)
class ProxyStats:
    """Versions in force in a proxy; "" means that none is in force yet.

    ``rejected`` counts refused updates of certificates and listener since the proxy started,
    ``rotation_failed`` mounted files of the proxy's own identity that did not parse.
    """

    server_certificate: str
    client_ca: str
    listener: str
    rules: ScriptStats
    revocation: ScriptStats
    rejected: int
    rotation_failed: int


def parse_proxy_stats(text: str) -> ProxyStats:
    """Read the answer to ``STATS_QUERY``.

    Statistics that are missing count as "nothing in force": a proxy that is starting has none yet.

    Raises:
        StatsError: a line has not the form of a statistic, or a counter is not a number.
    """
    stats = dict(_line(line) for line in text.splitlines() if line.strip())
    files = (f"sds.{sds.SERVER_SECRET}", f"sds.{sds.CLIENT_CA_SECRET}", "listener_manager.lds")
    identity = (f"sds.{sds.IDENTITY_SECRET}", f"sds.{sds.OPERATOR_CA_SECRET}")
    return ProxyStats(
        server_certificate=_text(stats, f"{files[0]}.version_text"),
        client_ca=_text(stats, f"{files[1]}.version_text"),
        listener=_text(stats, f"{files[2]}.version_text"),
        rules=_script(stats, names.RULES_FILTER),
        revocation=_script(stats, names.REVOCATION_FILTER),
        rejected=sum(_count(stats, f"{file}.update_rejected") for file in (*files, *identity)),
        rotation_failed=sum(_count(stats, f"{file}.key_rotation_failed") for file in identity),
    )


def _script(stats: Mapping[str, str], name: str) -> ScriptStats:
    base = f"{_FILTER}.{name}"
    return ScriptStats(
        version=_text(stats, f"{base}.version_text"),
        connected=_count(stats, f"{base}.control_plane.connected_state") == 1,
        rejected=_count(stats, f"{base}.update_rejected"),
    )


def _line(line: str) -> tuple[str, str]:
    name, separator, value = line.partition(": ")
    if not separator:
        raise StatsError(f"not a statistic: {line[:80]!r}")
    return name, value.strip()


def _text(stats: Mapping[str, str], name: str) -> str:
    value = stats.get(name, '""')
    if len(value) < len('""') or value[0] != '"' or value[-1] != '"':
        raise StatsError(f"not a text: {name}")
    return value[1:-1]


def _count(stats: Mapping[str, str], name: str) -> int:
    value = stats.get(name, "0")
    if not value.isdecimal():
        raise StatsError(f"not a number: {name}")
    return int(value)
