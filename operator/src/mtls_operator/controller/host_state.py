"""What the operator remembers of an MTLSHost between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mtls_operator.api.meta import Meta
from mtls_operator.cluster import ClusterError
from mtls_operator.plan.held import Held
from mtls_operator.plan.host import Configuration
from mtls_operator.plan.hostrules import FormerRule, HostRules
from mtls_operator.plan.rollout import Files, Rollout
from mtls_operator.plan.trouble import Trouble


@dataclass(slots=True)
class HostState:
    """What the operator remembers of a host between two runs."""

    uid: str
    configuration: Configuration | None = None
    files: Files | None = None
    #: What the configuration should be made of; what it is made of it says itself.
    rules: HostRules | None = None
    rules_made_of: tuple[object, ...] = ()
    #: Why it could not be written.
    programmed: Trouble | None = None
    #: How often it failed since it last succeeded, and how the last one did, once that is reported.
    failures: int = 0
    failure: ClusterError | None = None
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
    #: Rules (UID by name) that left the configuration, which some proxy may still follow.
    leaving: Mapping[str, str] = field(default_factory=dict)

    def take(self, configuration: Configuration, files: Files) -> None:
        """Go on to another configuration: what proxies said of the one before says nothing about it (G4)."""
        self.files = files
        if configuration is self.configuration:
            return
        present = {rule.meta.uid for rule in configuration.rules.in_force}
        self.leaving = {name: uid for name, uid in self.followed().items() if uid not in present}
        if self.configuration is None or self.configuration.version != configuration.version:
            self.rules_deployed = False
        self.configuration = configuration
        self.last_good = configuration.rules.former()

    def followed(self) -> dict[str, str]:
        """Return the rules (UID by name) that some proxy may follow: those written, and those on their way out."""
        return {**self.leaving, **{name: rule.uid for name, rule in self.last_good.items() if rule.enabled}}

    def follows(self, rule: Meta) -> bool:
        """Say whether some proxy may follow a rule, also one that applies to the host no more."""
        written = self.last_good.get(rule.name)
        if written is not None and written.uid == rule.uid and written.enabled:
            return True
        return self.leaving.get(rule.name) == rule.uid

    def has_written(self, rule: str) -> bool:
        """Say whether the present version of a rule is in the configuration that was written."""
        if self.configuration is None or self.rules is None:
            return False
        return self.rules is self.configuration.rules or self.rules.has(rule, self.configuration.rules)
