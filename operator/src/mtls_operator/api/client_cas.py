"""Which authorities' client certificates an MTLSHost trusts: ``spec.clientCAs``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mtls_operator.api import limits
from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.fields import Fields, TextRule


class SourceKind(StrEnum):
    """Kinds of objects that hold files of users."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - the name of a kind


class WhenStale(StrEnum):
    """What an imported list means after its ``nextUpdate``.

    ``FAIL_CLOSED``: every certificate of its CA is of unknown state. ``FAIL_OPEN``: what it says still counts, and
    nothing more.
    """

    FAIL_CLOSED = "FailClosed"
    FAIL_OPEN = "FailOpen"


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A file of a user: a key of a ConfigMap or Secret of the host's namespace."""

    kind: SourceKind
    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}/{self.key}"


@dataclass(frozen=True, slots=True)
class CrlSource:
    """A file with revocation lists."""

    source: Source
    when_stale: WhenStale = WhenStale.FAIL_CLOSED


@dataclass(frozen=True, slots=True)
class ClientCas:
    """The managed CA of the namespace, those of other ones, and what users brought: CAs, and lists of those."""

    managed: bool = True
    managed_from: tuple[str, ...] = ()
    trusted: tuple[Source, ...] = ()
    crls: tuple[CrlSource, ...] = ()

    @property
    def copied(self) -> bool:
        """Whether last good copies are kept of what is trusted."""
        return bool(self.trusted or self.managed_from)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every file that is referred to."""
        return (*self.trusted, *(crl.source for crl in self.crls))


def parse_client_cas(fields: Fields, *, namespace: str) -> ClientCas:
    """Read ``spec.clientCAs`` of a host in a namespace.

    Raises:
        InvalidSpec: a field does not fit, is not known or is not supported yet.
    """
    fields.only(("managed", "managedFrom", "trusted", "crls"))
    managed_from = fields.objects("managedFrom", _granter, maximum=limits.GRANTERS)
    if namespace in managed_from:
        path = f"{fields.at('managedFrom')}[{managed_from.index(namespace)}].namespace"
        raise InvalidSpec(path, "is the host's own namespace: its CA is trusted by clientCAs.managed")
    trusted = fields.objects("trusted", _trusted, maximum=limits.CA_SOURCES)
    crls = fields.objects("crls", _crl, maximum=limits.CA_SOURCES)
    if crls and not trusted:
        raise InvalidSpec(
            fields.at("crls"), "needs clientCAs.trusted: revocations of the managed CA are always in force"
        )
    if len({crl.source for crl in crls}) != len(crls):
        raise InvalidSpec(fields.at("crls"), "names the same file twice")
    return ClientCas(
        managed=fields.flag("managed", default=True), managed_from=managed_from, trusted=trusted, crls=crls
    )


def _granter(item: Fields) -> str:
    item.only(("namespace",))
    namespace = item.text("namespace", limits.NAMESPACE)
    if namespace is None:
        raise InvalidSpec(item.at("namespace"), "is required")
    return namespace


def _trusted(item: Fields) -> Source:
    item.only(("configMapRef", "secretRef"))
    return _source(item)


def _crl(item: Fields) -> CrlSource:
    item.only(("configMapRef", "secretRef", "whenStale"))
    return CrlSource(_source(item), item.choice("whenStale", WhenStale, default=WhenStale.FAIL_CLOSED))


def _source(item: Fields) -> Source:
    if item.has("configMapRef") == item.has("secretRef"):
        raise InvalidSpec(item.path, "needs exactly one of configMapRef and secretRef")
    if item.has("configMapRef"):
        return _reference(item.child("configMapRef"), SourceKind.CONFIG_MAP, limits.CONFIG_MAP_NAME)
    return _reference(item.child("secretRef"), SourceKind.SECRET, limits.SECRET_NAME)


def _reference(fields: Fields, kind: SourceKind, rule: TextRule) -> Source:
    fields.only(("name", "key"))
    name, key = fields.text("name", rule), fields.text("key", limits.DATA_KEY)
    if name is None or key is None:
        raise InvalidSpec(fields.at("name" if name is None else "key"), "is required")
    return Source(kind, name, key)
