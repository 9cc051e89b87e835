"""What a namespace gets of the managed CA of another one that lets it: certificates and live revocations.

The one whose CA it is has the last word: without its grant nothing is trusted, at once and without a last good copy.
With it, a CA that cannot be read now stays as it was last known (guarantee G2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from mtls_operator.api import names
from mtls_operator.api.host import Host
from mtls_operator.api.reason import Reason
from mtls_operator.cluster import ClusterError, Kind
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.grants import Grants
from mtls_operator.controller.held_copies import HeldCopies
from mtls_operator.controller.observed import granters_of
from mtls_operator.controller.tenant import Tenant
from mtls_operator.pki import PkiError
from mtls_operator.plan.grants import SOURCE, granters_in
from mtls_operator.plan.held import Held, HeldCas
from mtls_operator.plan.published import Listing, Publication
from mtls_operator.plan.rollout import Pod
from mtls_operator.plan.trouble import Trouble
from mtls_operator.plan.trust import LAST_GOOD, Trust, managed_trust

_log = structlog.get_logger(__name__)

#: A list of another namespace that could not be read is tried again after this time.
RETRY_SECONDS: Final = 1.0
_WAITING: Final = ("PendingRevocation", "PendingReactivation")


@dataclass(frozen=True, slots=True)
class Granted:
    """The CAs of another namespace that count, and what is wrong with them.

    ``held`` is what to keep as a copy (None: nothing): there they stand as they were when they were read.
    """

    held: HeldCas | None
    trusts: tuple[Trust, ...] = ()
    trouble: Trouble | None = None


@dataclass(slots=True)
class Granting:
    """Knows the grants, and whose proxies may have the list of which other namespace."""

    context: Context
    authorities: Authorities
    grants: Grants
    copies: HeldCopies
    #: By namespace: its CA as it was last read.
    _last: dict[str, HeldCas] = field(default_factory=dict)
    #: By namespace: those whose proxies may have its list, because it was in the newest that all have acknowledged.
    _readers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def wanted(self, consumer: str) -> list[str]:
        """Return the namespaces whose CAs the hosts of another one are to trust, as far as those let it."""
        named = (
            host.client_cas.managed_from if isinstance(host, Host) else granters_in(host.status)
            for host in self.context.world.hosts.of(consumer).values()
            if not host.meta.deleting
        )
        return sorted({name for names in named for name in names if self.grants.allows(name, consumer)})

    def consumers(self, granter: str) -> list[str]:
        """Return the namespaces whose proxies trust the CA of this one, or may still do."""
        found = set(self._readers.get(granter, ()))
        for namespace, name in self.context.world.trusting(granter):
            host = self.context.world.hosts.get(namespace, name)
            if host is not None and (
                self.grants.allows(granter, namespace) or granter in granters_in(host.status)
            ):
                found.add(namespace)
        return sorted(found)

    async def cas(self, host: Host, granter: str, held: Held) -> Granted:
        """Return the CAs that a host trusts of another namespace.

        Raises:
            ClusterError: they cannot be read now: what is in force stays.
        """
        namespace = host.meta.namespace
        if not self.grants.allows(granter, namespace):
            return Granted(None, trouble=_not_granted(granter, namespace))
        found = await self._read(granter)
        if found is not None:
            return Granted(found, found.trusts)
        uid = self.context.world.namespace_uid(granter)
        for copy in (self._last.get(granter), held.granted.get(granter)):
            if copy is not None and copy.uid == uid:
                last_good = tuple(replace(trust, phase=LAST_GOOD) for trust in copy.trusts)
                trouble = _missing(granter, "its last good copy stays in force")
                return Granted(copy, last_good, trouble)
        return Granted(None, trouble=_missing(granter, "nobody is trusted by it"))

    async def listings(self, tenant: Tenant) -> dict[str, Listing]:
        """Return the lists of all other namespaces whose CAs are trusted in one.

        What cannot be read now stays as it was published: it must not hold up the others.

        Raises:
            ClusterError: one cannot be read now, and was not published by this process.
        """
        found: dict[str, Listing] = {}
        for granter in self.wanted(tenant.namespace):
            former = tenant.publication.offered.get(granter) if tenant.publication is not None else None
            try:
                listing = await self._listing(tenant.namespace, granter)
            except ClusterError:
                if former is None:
                    raise
                self.context.queue.add(keys.authority(tenant.namespace), delay=RETRY_SECONDS)
                listing = former
            except PkiError as error:  # too large even for a bitmap: its certificates are of unknown state
                _log.error("revocation.unlisted", namespace=tenant.namespace, of=granter, error=str(error))
                continue
            if listing is not None:
                found[granter] = listing
        # A grant may have been withdrawn while others' lists were read.
        return {name: found[name] for name in found if self.grants.allows(name, tenant.namespace)}

    async def _read(self, granter: str) -> HeldCas | None:
        owner = await self.authorities.load(granter)
        if owner is None or not owner.generations:
            return None
        newest_first = sorted(owner.trusted, key=lambda stored: -stored.generation)
        source = f"{SOURCE}{granter}"
        found = HeldCas(owner.uid, tuple(managed_trust(stored, source=source) for stored in newest_first))
        self._last[granter] = found
        return found

    async def _listing(self, consumer: str, granter: str) -> Listing | None:
        owner = await self.authorities.load(granter)
        if owner is None:
            return None
        digests: set[str] = set()
        if not owner.generations:
            last = self._last.get(granter)
            fits = last is not None and last.uid == owner.uid
            known = [last] if last is not None and fits else await self._copied(consumer, granter)
            digests = {trust.digest for copy in known if copy.uid == owner.uid for trust in copy.trusts}
        return owner.listed(now=self.context.now(), cas=digests)

    async def _copied(self, consumer: str, granter: str) -> list[HeldCas]:
        """Return the last good copies that the hosts of a namespace have: after a restart nothing else is there."""
        found = []
        for host in self.context.world.hosts.of(consumer).values():
            if granter in granters_of(host):
                held = await self.copies.read(host.meta)
                if granter in held.granted:
                    found.append(held.granted[granter])
        return found

    # What proxies have

    def published(self, consumer: str, granters: Mapping[str, Listing]) -> None:
        """Take in that the proxies of a namespace are offered these lists."""
        for granter in granters:
            self._readers[granter].add(consumer)

    def changed(self, tenant: Tenant, publication: Publication) -> None:
        """Take in that a namespace publishes another list: its proxies may have nothing to acknowledge."""
        pods = self.context.world.pods.of(tenant.namespace).values()
        if not self.context.reports.lagging(pods, publication.version):
            self.settled(tenant.namespace, publication.others)

    def forget(self, namespace: str) -> None:
        """Take in that a namespace ends: nobody waits for its proxies once they have stopped, and its CA is no more."""
        self._last.pop(namespace, None)
        if not self._accepting(namespace):
            self.settled(namespace, {})

    def settled(self, consumer: str, granters: Mapping[str, Listing]) -> None:
        """Take in that all proxies of a namespace have these lists and no others; wake what waited for that."""
        for granter in self._read_by(consumer):
            self._wake_certificates(granter)
            readers = self._readers.get(granter, set())
            if granter not in granters and consumer in readers:
                readers.discard(consumer)
                if not readers:
                    del self._readers[granter]

    def _read_by(self, consumer: str) -> list[str]:
        """Return the namespaces whose list proxies of this one may have; after a restart by what its hosts say."""
        found = {granter for granter, readers in self._readers.items() if consumer in readers}
        return sorted(found.union(*map(granters_of, self.context.world.hosts.of(consumer).values())))

    def lagging(self, owner: Tenant, serial: str, *, revoked: bool) -> tuple[bool, list[Pod]]:
        """Say whether all that trust a CA publish what its ledger says of a serial, and whose proxies lag behind."""
        world, late = self.context.world, list[Pod]()
        said = True
        for consumer in self.consumers(owner.namespace):
            if world.namespace_uid(consumer) is None:
                # Nothing is published there any more: its pods go on with what they have.
                late += self._accepting(consumer)
                continue
            tenant = self.authorities.known(consumer)
            if tenant is None or tenant.publication is None:
                said = False
                continue
            listing = tenant.publication.others.get(owner.namespace)
            if listing is not None and (serial in listing.serials) is not revoked:
                said = False
            late += self.context.reports.lagging(world.pods.of(consumer).values(), tenant.publication.version)
        return said, late

    def _accepting(self, consumer: str) -> list[Pod]:
        return self.context.reports.accepting(self.context.world.pods.of(consumer).values())

    def confirmed(self, owner: Tenant) -> dict[str, frozenset[str] | None]:
        """Return which issuers the proxies of other namespaces' hosts have that trust a CA; see `Rotation`."""
        world = self.context.world
        found: dict[str, frozenset[str] | None] = {}
        for namespace, name in world.trusting(owner.namespace):
            host, tenant = world.hosts.get(namespace, name), self.authorities.known(namespace)
            if host is None or not self.grants.allows(owner.namespace, namespace):
                continue
            if isinstance(host, Host) and (
                host.meta.deleting or owner.namespace not in host.client_cas.managed_from
            ):
                continue
            publication = tenant.publication if tenant is not None else None
            if publication is not None and owner.namespace in publication.left_out:
                continue
            if world.written[Kind.CONFIG_MAP].get(namespace, names.host_config(name)) is None:
                continue
            key = f"{namespace}/{name}"
            found[key] = owner.confirmed.get(key) if isinstance(host, Host) else None
        return found

    # Waking

    def wake(self, granter: str) -> None:
        """Look again at everything in other namespaces that rests on the CA of this one, or wants to."""
        for namespace, name in self.context.world.trusting(granter):
            self.context.queue.add(keys.authority(namespace))
            self.context.queue.add(keys.host(namespace, name))
        self.wake_lists(granter)

    def wake_lists(self, granter: str) -> None:
        """Publish the list of a CA anew in the namespaces that trust it, and in no others."""
        for consumer in self.consumers(granter):
            self.context.queue.add(keys.authority(consumer))

    def _wake_certificates(self, granter: str) -> None:
        for name, certificate in self.context.world.certificates.of(granter).items():
            if certificate.status.get("state") in _WAITING:
                self.context.queue.add(keys.certificate(granter, name))


def _not_granted(granter: str, consumer: str) -> Trouble:
    return Trouble(
        Reason.NOT_GRANTED,
        f"Namespace {granter} does not let {consumer} trust its CA, so nobody is trusted by it: it takes a ConfigMap "
        f"there with the label {names.GRANT_LABEL}: {names.GRANT_VALUE} that names {consumer} under {names.GRANT_KEY}.",
    )


def _missing(granter: str, consequence: str) -> Trouble:
    return Trouble(
        Reason.CA_MISSING,
        f"The CA of namespace {granter} cannot be used ({consequence}): its ClientCertificates say what to restore.",
    )
