"""What the operator has seen of the cluster, as small parsed values: never whole bodies, never key material.

Fed by kopf's events and by the answers to our own writes, whichever is newer. It decides nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.api.host import Host
from mtls_operator.api.rule import Rule
from mtls_operator.cluster import Kind
from mtls_operator.controller.observed import Broken, Namespace, Written, granters_of, identity, parse
from mtls_operator.plan.hostrules import BrokenRule
from mtls_operator.plan.lists import Lists, list_name, list_of
from mtls_operator.plan.rollout import Pod
from mtls_operator.rules import BrokenList, NamedList

V = TypeVar("V")
#: What a certificate can be kept in.
_OWNED: Final = (Kind.SECRET, Kind.CONFIG_MAP)


@dataclass(slots=True)
class Shelf(Generic[V]):
    """Values by namespace and name, each with the resourceVersion that it was seen at."""

    by_namespace: dict[str, dict[str, V]] = field(default_factory=lambda: defaultdict(dict))
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    answers: dict[tuple[str, str], int] = field(default_factory=dict)

    def is_news(self, namespace: str, name: str, version: int) -> bool:
        """Say whether a version was not seen yet."""
        return version > self.versions.get((namespace, name), -1)

    def get(self, namespace: str, name: str) -> V | None:
        """Return a value, or None."""
        return self.by_namespace.get(namespace, {}).get(name)

    def of(self, namespace: str) -> Mapping[str, V]:
        """Return all values of a namespace by name."""
        return self.by_namespace.get(namespace, {})

    def __iter__(self) -> Iterator[V]:
        for values in self.by_namespace.values():
            yield from values.values()

    def put(self, namespace: str, name: str, version: int, value: V) -> bool:
        """Keep a value unless a newer one was seen; return whether it was kept."""
        if version < self.versions.get((namespace, name), -1):
            return False
        self.versions[namespace, name] = version
        self.by_namespace[namespace][name] = value
        return True

    def drop(self, namespace: str, name: str, version: int) -> bool:
        """Forget a value unless a newer one was seen (the object was made again); return whether it was."""
        if version < self.versions.get((namespace, name), -1):
            return False
        self.versions.pop((namespace, name), None)
        self.answers.pop((namespace, name), None)
        values = self.by_namespace.get(namespace)
        if values is not None:
            values.pop(name, None)
            if not values:
                self.by_namespace.pop(namespace, None)
        return True


class World:
    """Everything seen; each shelf is written through ``observe`` and ``forget`` alone."""

    def __init__(self) -> None:
        self.namespaces: Shelf[Namespace] = Shelf()
        self.hosts: Shelf[Host | Broken] = Shelf()
        self.certificates: Shelf[ClientCertificate | Broken] = Shelf()
        self.rules: Shelf[Rule | BrokenRule] = Shelf()
        self.lists: dict[str, dict[str, NamedList | BrokenList]] = defaultdict(dict)
        self.rule_statuses: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.pods: Shelf[Pod] = Shelf()
        self.written: dict[Kind, Shelf[Written]] = {
            Kind.SECRET: Shelf(),
            Kind.CONFIG_MAP: Shelf(),
            Kind.NETWORK_POLICY: Shelf(),
        }
        self._owned: dict[str, set[tuple[Kind, str, str]]] = defaultdict(set)
        self._trusting: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def namespace_uid(self, namespace: str) -> str | None:
        """Return the UID of a namespace that exists and is not ending."""
        seen = self.namespaces.get("", namespace)
        return None if seen is None or seen.ending else seen.uid

    def lists_of(self, namespace: str) -> Lists:
        """Return the named lists of a namespace by the names that rules use."""
        return {list_name(name): value for name, value in self.lists.get(namespace, {}).items()}

    def observe_list(self, body: Mapping[str, Any]) -> bool:
        """Take in a ConfigMap that holds a named list; return whether it holds anything else than before.

        Their events come in order, from one watch: the last one counts.
        """
        namespace, name, _ = identity(body)
        of_namespace = self.lists[namespace]
        before, of_namespace[name] = of_namespace.get(name), list_of(body)
        return of_namespace[name] != before

    def forget_list(self, namespace: str, name: str) -> None:
        """Take in that a ConfigMap is gone, or is no named list any more."""
        of_namespace = self.lists.get(namespace, {})
        of_namespace.pop(name, None)
        if not of_namespace:
            self.lists.pop(namespace, None)

    def observe(self, kind: Kind, body: Mapping[str, Any], *, answer: bool = False) -> None:
        """Take in an object as it was read or watched, or as the ``answer`` to a write of ours."""
        namespace, name, version = identity(body)
        shelf = self._shelf(kind)
        if answer:
            shelf.answers[namespace, name] = version
        if not shelf.is_news(namespace, name, version):
            return
        before, value = shelf.get(namespace, name), parse(kind, body)
        shelf.put(namespace, name, version, value)
        if kind in _OWNED:
            self._disown((kind, namespace, name), before)
            for uid in value.owners:
                self._owned[uid].add((kind, namespace, name))
        if kind is Kind.RULE:
            self.rule_statuses[namespace, name] = body.get("status") or {}
        elif kind is Kind.HOST:
            self._trusts((namespace, name), before, value)

    def listed(self, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Take in an object of a complete list: it counts even if it is older than what was seen; return whether it is.

        A cluster that was restored from a backup goes back in its versions.
        """
        namespace, name, version = identity(body)
        shelf = self._shelf(kind)
        if shelf.versions.get((namespace, name), -1) <= version:
            return False
        shelf.versions.pop((namespace, name))
        self.observe(kind, body)
        return True

    def is_answer(self, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Say whether an object is just what a write of ours was answered with: nothing new to anybody."""
        namespace, name, version = identity(body)
        return self._shelf(kind).answers.get((namespace, name)) == version

    def _shelf(self, kind: Kind) -> Shelf[Any]:
        shelves: dict[Kind, Shelf[Any]] = {
            Kind.NAMESPACE: self.namespaces,
            Kind.HOST: self.hosts,
            Kind.CERTIFICATE: self.certificates,
            Kind.RULE: self.rules,
            Kind.POD: self.pods,
        }
        return shelves[kind] if kind in shelves else self.written[kind]

    def forget(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Take in that an object was deleted."""
        namespace, name, version = identity(body)
        before = self._shelf(kind).get(namespace, name)
        if not self._shelf(kind).drop(namespace, name, version):
            return
        if kind is Kind.RULE:
            self.rule_statuses.pop((namespace, name), None)
        elif kind is Kind.HOST:
            self._trusts((namespace, name), before, None)
        elif kind in _OWNED:
            self._disown((kind, namespace, name), before)

    def trusting(self, granter: str) -> list[tuple[str, str]]:
        """Return the hosts (namespace, name) that want the CA of another namespace, or have it by their status."""
        return sorted(self._trusting.get(granter, ()))

    def _trusts(
        self, place: tuple[str, str], before: Host | Broken | None, after: Host | Broken | None
    ) -> None:
        for granter in granters_of(before):
            self._trusting[granter].discard(place)
            if not self._trusting[granter]:
                del self._trusting[granter]
        for granter in granters_of(after):
            self._trusting[granter].add(place)

    def owned_by(self, owner_uid: str) -> Iterator[Written]:
        """Return the Secrets and ConfigMaps of an owner, without a look at those of the others."""
        places = sorted(self._owned.get(owner_uid, ()), key=lambda place: (place[0].kind, *place[1:]))
        for kind, namespace, name in places:
            written = self.written[kind].get(namespace, name)
            if written is not None and owner_uid in written.owners:
                yield written

    def _disown(self, place: tuple[Kind, str, str], before: Written | None) -> None:
        for uid in before.owners if before is not None else ():
            self._owned[uid].discard(place)
            if not self._owned[uid]:
                del self._owned[uid]
