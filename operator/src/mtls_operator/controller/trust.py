"""Which CAs a host trusts: the managed one of its namespace, those of others that let it, and what its users brought.

Files of users are read when they are first needed and again after a change; only what they come to is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial

from mtls_operator.api.client_cas import Source, SourceKind
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import Kind
from mtls_operator.cluster.named import Target
from mtls_operator.controller.claims import CONFLICTS
from mtls_operator.controller.context import Context
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.held_copies import HeldCopies
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import PkiError, TrustedCa, describe_ca
from mtls_operator.plan.held import Held
from mtls_operator.plan.objects import config_map_value, secret_value
from mtls_operator.plan.own_cas import File, OwnCa, OwnCas, earliest, own_cas
from mtls_operator.plan.own_lists import OwnLists, Reading, own_lists, read_lists
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import LAST_GOOD, Trust, managed_trust

#: While nothing else is known of the CA.
_NOT_LOADED = Trouble(Reason.CA_MISSING, "The CA of the namespace is not loaded yet.")
_KINDS = {SourceKind.CONFIG_MAP: Kind.CONFIG_MAP, SourceKind.SECRET: Kind.SECRET}
_Digests = tuple[str, ...]
#: Of one file of lists, each for other CAs: a host whose CAs change all the time must not fill the memory.
_MOST_READINGS = 8


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a host trusts now. ``obstacle``: why it cannot be said, and everything stays as it is."""

    trusts: tuple[Trust, ...]
    troubles: tuple[Trouble, ...] = ()
    obstacle: Trouble | None = None
    held: Held = field(default_factory=Held)
    look_again: datetime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the files of a host came to, when, and of what that was made."""

    made_of: tuple[object, ...] = field(repr=False)
    made_at: datetime
    cas: OwnCas = field(repr=False)

    def holds(self, made_of: tuple[object, ...], *, now: datetime) -> bool:
        """Say whether nothing has changed, and no certificate has begun or ended meanwhile, by a clock either way."""
        until = self.cas.look_again
        return self.made_at <= now and (until is None or now < until) and self.made_of == made_of


def target_of(namespace: str, source: Source) -> Target:
    """Return the object to watch for a file."""
    return _KINDS[source.kind], namespace, source.name


def targets_of(host: Host) -> set[Target]:
    """Return every object of users that a host refers to."""
    targets = {target_of(host.meta.namespace, source) for source in host.client_cas.sources}
    if host.tls_secret_name is not None:
        targets.add((Kind.SECRET, host.meta.namespace, host.tls_secret_name))
    return targets


@dataclass(slots=True)
class Trusts:
    """Files of users in memory: small ones as they are, lists as what they say."""

    context: Context
    copies: HeldCopies
    granting: Granting
    _files: dict[tuple[Target, str], File] = field(default_factory=dict, repr=False)
    _readings: dict[tuple[Target, str], dict[_Digests, Reading]] = field(default_factory=dict, repr=False)
    _changes: dict[Target, int] = field(default_factory=dict)
    _bundles: dict[tuple[str, str], _Judged] = field(default_factory=dict, repr=False)

    def source_changed(self, target: Target) -> None:
        """Take in that an object of a user may have changed: it is read again when next needed."""
        self._changes[target] = self._changes.get(target, 0) + 1
        self._drop(key for key in (*self._files, *self._readings) if key[0] == target)

    def keep(self, wanted: set[Target]) -> None:
        """Forget what no host refers to any more."""
        self._drop(key for key in (*self._files, *self._readings) if key[0] not in wanted)
        self._changes = {target: count for target, count in self._changes.items() if target in wanted}

    def forget(self, namespace: str, name: str) -> None:
        """Forget what the files of a host that is gone came to."""
        self._bundles.pop((namespace, name), None)

    def _drop(self, keys: Iterable[tuple[Target, str]]) -> None:
        for key in tuple(keys):
            self._files.pop(key, None)
            self._readings.pop(key, None)

    async def held(self, host: Host) -> Held:
        """Return the last good copies that are in the cluster, if they are this host's."""
        return await self.copies.read(host.meta) if host.client_cas.copied else Held()

    async def of(self, host: Host, tenant: Tenant, held: Held) -> Trusted:
        """Return what a host trusts; a managed CA that is missing leaves everything as it is."""
        obstacle = tenant.obstacle or _NOT_LOADED
        if obstacle.reason in {*CONFLICTS, Reason.NEWER_FORMAT} or (
            host.client_cas.managed and tenant.authority is None
        ):
            return Trusted((), obstacle=obstacle, held=held)
        managed = _managed(tenant) if host.client_cas.managed else ()
        granted = {name: await self.granting.cas(host, name, held) for name in host.client_cas.managed_from}
        others = {name: one.held for name, one in granted.items() if one.held is not None}
        found = Trusted(
            trusts=(*managed, *(trust for one in granted.values() for trust in one.trusts)),
            troubles=tuple(one.trouble for one in granted.values() if one.trouble is not None),
            held=Held(granted=others),
        )
        if not host.client_cas.trusted:
            self.forget(*host.meta.key)
            return found
        return await self._with_own(host, held, found)

    async def _with_own(self, host: Host, held: Held, found: Trusted) -> Trusted:
        """Add what the users of a host brought."""
        now = self.context.now()
        namespace = host.meta.namespace
        files = {source: await self._file(namespace, source) for source in host.client_cas.trusted}
        cas = await self._judge(host, files, held.bundles, tuple(one.certificate_pem for one in found.trusts))
        readings = {
            crl.source: await self._reading(namespace, crl.source, [own.ca for own in cas.trusted])
            for crl in host.client_cas.crls
        }
        lists = own_lists(host.client_cas.crls, readings, held.crls, cas, now=now)
        return Trusted(
            trusts=(*found.trusts, *(_own(one, lists) for one in cas.trusted)),
            troubles=(*found.troubles, *cas.troubles, *lists.troubles),
            held=replace(found.held, bundles=cas.held or {}, crls=lists.held),
            look_again=earliest(cas.look_again, lists.look_again),
            notes=cas.notes,
        )

    async def _judge(
        self, host: Host, files: Mapping[Source, File], copies: Mapping[str, str], beside: tuple[str, ...]
    ) -> OwnCas:
        """Return which CAs of a host's files count; judged anew only when something that it rests on is another."""
        now, managed = self.context.now(), self._managed_keys()
        made_of = (tuple(files.items()), dict(copies), beside, managed)
        last = self._bundles.get(host.meta.key)
        if last is not None and last.holds(made_of, now=now):
            return last.cas
        others = [describe_ca(pem) for pem in beside]
        # Hundreds of signatures are checked, with keys that users have chosen.
        judge = partial(own_cas, files, copies, managed=managed, now=now, others=others)
        cas = await self.context.aside(judge)
        self._bundles[host.meta.key] = _Judged(made_of, now, cas)
        return cas

    async def _file(self, namespace: str, source: Source) -> File:
        target = target_of(namespace, source)
        key = (target, source.key)
        if key in self._files:
            return self._files[key]
        changes = self._changes.get(target, 0)
        file = await self._fetch(target, source)
        if self._changes.get(target, 0) == changes:
            self._files[key] = file
        return file

    async def _reading(self, namespace: str, source: Source, cas: list[TrustedCa]) -> Reading | File:
        target = target_of(namespace, source)
        key, digests = (target, source.key), tuple(sorted(ca.digest for ca in cas))
        last = self._readings.get(key, {}).get(digests)
        if last is not None and (last.look_again is None or self.context.now() < last.look_again):
            return last
        changes = self._changes.get(target, 0)
        file = await self._fetch(target, source)
        if file.data is None:
            return file
        # Tens of thousands of entries take a second: the other keys go on meanwhile.
        reading = await self.context.aside(partial(read_lists, file.data, cas, now=self.context.now()))
        if self._changes.get(target, 0) == changes:
            known = self._readings.setdefault(key, {})
            if len(known) >= _MOST_READINGS:
                known.clear()
            known[digests] = reading
        return reading

    async def _fetch(self, target: Target, source: Source) -> File:
        body = await self.context.cluster.get(*target)
        if body is None:
            return File(None, exists=False)
        value = config_map_value if source.kind is SourceKind.CONFIG_MAP else secret_value
        return File(value(body, source.key))

    def _managed_keys(self) -> frozenset[str]:
        """Return the keys of every CA of this operator, also of those that serve other purposes."""
        written = self.context.world.written[Kind.SECRET].of(self.context.settings.operator_namespace)
        keys = (_key_of(secret.certificate) for secret in written.values() if secret.certificate)
        return frozenset(key for key in keys if key)


@lru_cache(maxsize=4096)
def _key_of(certificate_pem: str) -> str:
    try:
        return describe_ca(certificate_pem).key_digest
    except PkiError:
        return ""


def _managed(tenant: Tenant) -> tuple[Trust, ...]:
    newest_first = sorted(tenant.trusted, key=lambda stored: -stored.generation)
    return tuple(managed_trust(stored) for stored in newest_first)


def _own(one: OwnCa, lists: OwnLists) -> Trust:
    return Trust(
        one.ca.digest,
        one.ca.certificate_pem,
        one.ca.subject,
        one.ca.ski,
        one.ca.not_after,
        source=str(one.source),
        phase=LAST_GOOD if one.last_good else "Trusted",
        imported=lists.told.get(one.ca.digest),
    )
