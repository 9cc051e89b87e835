"""Counters of what rules decided, by host, rule and action, on the status port (``/metrics``).

Envoy's stats logger counts what the rules script noted, when a request ends. Counters survive new scripts, which those
that a script makes itself do not. Every label is a name of ours: the host's, a rule's, an action's; never a text of a
client. A request counts for the rule that decided and for each Log rule that applied: the first of them by one
logger, the others by a second one, which most requests do not reach.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from __future__ import annotations

from typing import Final

from mtls_operator.envoy.access_log import METADATA, marked
from mtls_operator.envoy.document import Json, extension

#: First part of the names of these statistics.
SCOPE: Final = "mtls_rule"
COUNTER: Final = "decisions"
#: Series that a listener keeps, those of former rules included: twice the rules of a full host. More are not counted.
MOST_SERIES: Final = 2_000
#: ``SLOTS`` of ``record.lua``, and the one for all rules beyond them.
SLOTS: Final = (*(str(slot) for slot in range(1, 9)), "rest")

_STATS: Final = "envoy.extensions.access_loggers.stats.v3.Config"


def rule_counters(host: str) -> list[Json]:
    """Return the loggers that count for a host."""
    return [
        _logger("counted", [{"stat": _stat(host, "count"), "value_fixed": 1}]),
        _logger(
            "several",
            [
                {
                    "stat": _stat(host, f"more:{slot}"),
                    "value_format": f"%DYNAMIC_METADATA({METADATA}:more:{slot}:add)%",
                }
                for slot in SLOTS
            ],
        ),
    ]


def _logger(mark: str, counters: list[Json]) -> Json:
    # Scopes of one prefix share their counters; each has its own limit.
    scope = {"prefix": SCOPE, "max_counters": MOST_SERIES}
    return {**extension(mark, _STATS, {"stats_scope": scope, "counters": counters}), "filter": marked(mark)}


def _stat(host: str, noted: str) -> Json:
    tags = [
        {"name": "host", "value_format": host},
        {"name": "rule", "value_format": f"%DYNAMIC_METADATA({METADATA}:{noted}:rule)%"},
        {"name": "action", "value_format": f"%DYNAMIC_METADATA({METADATA}:{noted}:action)%"},
    ]
    return {"name": COUNTER, "tags": tags}
