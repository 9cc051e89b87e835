"""Which namespaces let which others trust their CA, as it is in the cluster now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtls_operator.controller.world import World
from mtls_operator.plan.grants import Grant, is_granted, read_grant


@dataclass(slots=True)
class Grants:
    """Grants by the namespace whose CA it is about; their events come in order, from one watch: the last one counts."""

    world: World
    _by_namespace: dict[str, dict[str, Grant]] = field(default_factory=lambda: defaultdict(dict))

    def seen(self, body: Mapping[str, Any]) -> bool:
        """Take in a ConfigMap with a grant; return whether it says anything else than before."""
        of_namespace = self._by_namespace[body["metadata"]["namespace"]]
        name = body["metadata"]["name"]
        before, of_namespace[name] = of_namespace.get(name), read_grant(body)
        return of_namespace[name] != before

    def gone(self, namespace: str, name: str) -> None:
        """Take in that a ConfigMap with a grant is gone: what it allowed is not allowed any more."""
        of_namespace = self._by_namespace.get(namespace, {})
        of_namespace.pop(name, None)
        if not of_namespace:
            self._by_namespace.pop(namespace, None)

    def has_any(self, namespace: str) -> bool:
        """Say whether anybody may trust the CA of a namespace, in the present life of that."""
        seen = self.world.namespaces.get("", namespace)
        return seen is not None and any(
            grant.namespaces and grant.made >= seen.made
            for grant in self._by_namespace.get(namespace, {}).values()
        )

    def allows(self, granter: str, consumer: str) -> bool:
        """Say whether a namespace that exists lets another one trust its CA."""
        seen = self.world.namespaces.get("", granter)
        if seen is None or seen.ending:
            return False
        return is_granted(self._by_namespace.get(granter, {}).values(), consumer, since=seen.made)
