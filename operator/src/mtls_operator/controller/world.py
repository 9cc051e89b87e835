"""What the operator has seen of the cluster, as small parsed values: never whole bodies, never key material.

Fed by kopf's index functions and by the answers to our own writes, whichever is newer. It decides nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, asks_for_revocation, parse_certificate
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.host import Host, parse_host
from mtls_operator.api.meta import Meta, parse_meta
from mtls_operator.api.rule import Rule
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.envoy import epoch_of
from mtls_operator.inject import has_sidecar
from mtls_operator.pki import is_pair
from mtls_operator.plan.authority import CERTIFICATE_ROLE
from mtls_operator.plan.hostrules import BrokenRule
from mtls_operator.plan.lists import Lists, list_name, list_of
from mtls_operator.plan.objects import content_of, secret_value
from mtls_operator.plan.policy import POLICY_ANNOTATION
from mtls_operator.plan.quota import QUOTA_ANNOTATION
from mtls_operator.plan.reading import read_rule
from mtls_operator.plan.rollout import Pod
from mtls_operator.rules import BrokenList, NamedList


@dataclass(frozen=True, slots=True)
class Broken:
    """An object of ours that cannot be read: why, and what still counts of it."""

    meta: Meta
    error: str
    status: Mapping[str, Any]
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """An object that we write, as it was last seen.

    ``content`` are digests of its parts; ``epoch`` and ``text`` are set for the generated scripts and for the
    last good rules; ``certificate`` is the public ``tls.crt`` of a Secret or of what was issued for a request,
    ``issued_for`` the digest of what it was issued for, ``renewed_for`` the wish for a renewal that was granted last,
    ``keystore`` the mark of its keystores. ``has_key`` says that the private key of this certificate is there.
    ``tenant`` is the life of a namespace (name, UID) that its labels name.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: int
    role: str
    owners: frozenset[str]
    content: Mapping[str, str]
    certificate: str = ""
    has_key: bool = False
    epoch: int | None = None
    text: str = ""
    script: str = ""
    issued_for: str = ""
    keystore: str = ""
    renewed_for: str = ""
    tenant: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace: its UID changes when it is deleted and made again.

    ``policy`` and ``maximum`` are its annotations about what may be issued; None: it has none.
    """

    name: str
    uid: str
    ending: bool
    policy: str | None = None
    maximum: str | None = None


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
        namespace, name, _ = _identity(body)
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
        namespace, name, version = _identity(body)
        shelf = self._shelf(kind)
        if answer:
            shelf.answers[namespace, name] = version
        if not shelf.is_news(namespace, name, version):
            return
        before, value = shelf.get(namespace, name), _parse(kind, body)
        shelf.put(namespace, name, version, value)
        if kind in _OWNED:
            self._disown((kind, namespace, name), before)
            for uid in value.owners:
                self._owned[uid].add((kind, namespace, name))
        if kind is Kind.RULE:
            self.rule_statuses[namespace, name] = body.get("status") or {}

    def listed(self, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Take in an object of a complete list: it counts even if it is older than what was seen; return whether it is.

        A cluster that was restored from a backup goes back in its versions.
        """
        namespace, name, version = _identity(body)
        shelf = self._shelf(kind)
        if shelf.versions.get((namespace, name), -1) <= version:
            return False
        shelf.versions.pop((namespace, name))
        self.observe(kind, body)
        return True

    def is_answer(self, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Say whether an object is just what a write of ours was answered with: nothing new to anybody."""
        namespace, name, version = _identity(body)
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
        namespace, name, version = _identity(body)
        before = self._shelf(kind).get(namespace, name)
        if not self._shelf(kind).drop(namespace, name, version):
            return
        if kind is Kind.RULE:
            self.rule_statuses.pop((namespace, name), None)
        elif kind in _OWNED:
            self._disown((kind, namespace, name), before)

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


def _parse(kind: Kind, body: Mapping[str, Any]) -> Any:
    parsers: dict[Kind, Callable[[Mapping[str, Any]], Any]] = {
        Kind.NAMESPACE: _namespace,
        Kind.HOST: _host,
        Kind.CERTIFICATE: certificate_of,
        Kind.RULE: read_rule,
        Kind.POD: _pod,
    }
    return parsers[kind](body) if kind in parsers else _written(kind, body)


def _namespace(body: Mapping[str, Any]) -> Namespace:
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    return Namespace(
        name=metadata["name"],
        uid=metadata["uid"],
        ending=bool(metadata.get("deletionTimestamp")),
        policy=annotations.get(POLICY_ANNOTATION),
        maximum=annotations.get(QUOTA_ANNOTATION),
    )


def _identity(body: Mapping[str, Any]) -> tuple[str, str, int]:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"], int(metadata.get("resourceVersion") or 0)


def _host(body: Mapping[str, Any]) -> Host | Broken:
    try:
        return parse_host(body)
    except InvalidSpec as error:
        return Broken(parse_meta(body), str(error), body.get("status") or {})


def certificate_of(body: Mapping[str, Any]) -> ClientCertificate | Broken:
    """Read a ClientCertificate, or why it cannot be read."""
    try:
        return parse_certificate(body)
    except InvalidSpec as error:
        return Broken(parse_meta(body), str(error), body.get("status") or {}, asks_for_revocation(body))


def _pod(body: Mapping[str, Any]) -> Pod:
    metadata, status = body["metadata"], body.get("status") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        host=(metadata.get("labels") or {}).get(names.HOST_LABEL, ""),
        address=str(status.get("podIP") or ""),
        running=status.get("phase") == "Running",
        ending=bool(metadata.get("deletionTimestamp")),
        injected=has_sidecar(body),
    )


def tenant_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the UID of the namespace that an object's labels name; empty where they do not."""
    labels = body["metadata"].get("labels") or {}
    return (
        str(labels.get(names.NAMESPACE_LABEL) or ""),
        str(labels.get(names.NAMESPACE_UID_LABEL) or ""),
    )


_SCRIPTS = (names.RULES_KEY, names.REVOCATION_KEY)


def _written(kind: Kind, body: Mapping[str, Any]) -> Written:
    metadata = body["metadata"]
    namespace, name, version = _identity(body)
    data = body.get("data") or {}
    role = (metadata.get("labels") or {}).get(names.ROLE_LABEL, "")
    annotations = metadata.get("annotations") or {}
    certificate, epoch, text, script = "", None, "", ""
    if kind is Kind.SECRET:
        certificate = (secret_value(body, names.TLS_CERT_KEY) or b"").decode("ascii", "replace")
    elif kind is Kind.CONFIG_MAP and role == CERTIFICATE_ROLE:
        certificate = str(data.get(names.TLS_CERT_KEY) or "")
    elif kind is Kind.CONFIG_MAP:
        text = str(data.get(names.LAST_GOOD_KEY) or "")
        script = str(data.get(names.RULES_KEY) or "")
        epoch = next((epoch_of(str(data[key])) for key in _SCRIPTS if data.get(key)), None)
    return Written(
        kind=kind,
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        version=version,
        role=role,
        owners=frozenset(owner.get("uid", "") for owner in metadata.get("ownerReferences") or ()),
        content=content_of(body),
        certificate=certificate,
        has_key=kind is Kind.SECRET and _has_key(body, certificate),
        epoch=epoch,
        text=text,
        script=script,
        issued_for=str(annotations.get(names.ISSUED_FOR_ANNOTATION) or ""),
        keystore=str(annotations.get(names.KEYSTORE_ANNOTATION) or ""),
        renewed_for=str(annotations.get(names.RENEWED_FOR_ANNOTATION) or ""),
        tenant=tenant_of(body),
    )


def _has_key(body: Mapping[str, Any], certificate: str) -> bool:
    """Look at the private key in a Secret once; nothing of it is kept (G5)."""
    key = secret_value(body, names.TLS_KEY_KEY)
    return bool(key) and is_pair(certificate, Secret(key or b""))
