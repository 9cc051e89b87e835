"""What the operator remembers of an MTLSHost between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mtls_operator.plan.held import Held
from mtls_operator.plan.host import Configuration
from mtls_operator.plan.hostrules import FormerRule, HostRules
from mtls_operator.plan.rollout import Files, Rollout


@dataclass(slots=True)
class HostState:
    """What the operator remembers of a host between two runs."""

    uid: str
    configuration: Configuration | None = None
    files: Files | None = None
    rules: HostRules | None = None
    rollout: Rollout | None = None
    rules_deployed: bool = False
    joining: bool = False
    last_good: Mapping[str, FormerRule] = field(default_factory=dict)
    polled: Mapping[str, float] = field(default_factory=dict)
    held: Held | None = None
    look_again: datetime | None = None
    #: Epochs that were found in somebody else's objects in the place of ours.
    foreign_epochs: set[int] = field(default_factory=set)
    #: Namespaces whose CAs the host trusted when it ran last: they wait for its proxies.
    granters: frozenset[str] = frozenset()
