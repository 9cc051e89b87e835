"""Reconciles one namespace's CA, bundle, proxy identity, ledger and revocation list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain

import structlog

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState
from mtls_operator.cluster import Kind
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.claims import CONFLICT_SECONDS, CONFLICTS
from mtls_operator.controller.context import Context
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.holdings import gone, holders
from mtls_operator.controller.internal import Internal
from mtls_operator.controller.lists import Lists
from mtls_operator.controller.notices import Notices
from mtls_operator.controller.pruning import LOOK_SECONDS, Pruning
from mtls_operator.controller.requests import RevocationRequests
from mtls_operator.controller.rotation import Rotation
from mtls_operator.controller.tenant import Tenant
from mtls_operator.envoy import epoch_of
from mtls_operator.pki import PkiError, read_certificate
from mtls_operator.plan.authority import bundle_document, proxy_document
from mtls_operator.plan.epochs import credible
from mtls_operator.plan.ledger import due, kept
from mtls_operator.plan.published import Listing, Publication, publish
from mtls_operator.push import Scope, Script

_log = structlog.get_logger(__name__)

#: A proxy identity lives this long and is renewed at two thirds of it.
PROXY_LIFETIME = timedelta(days=90)
_PENDING_STATES = (CertificateState.PENDING_REVOCATION.value, CertificateState.PENDING_REACTIVATION.value)


@dataclass(slots=True)
class AuthorityReconciler:
    """One run for a namespace brings everything that its hosts share up to date."""

    context: Context
    authorities: Authorities
    internal: Internal
    rotation: Rotation
    requests: RevocationRequests
    lists: Lists
    pruning: Pruning
    notices: Notices
    granting: Granting
    _epochs: dict[str, int] = field(default_factory=dict)

    async def reconcile(self, namespace: str) -> float | None:
        """Bring a namespace up to date; return in how many seconds to look again."""
        world = self.context.world
        if world.namespace_uid(namespace) is None:
            self.context.push.withdraw(Scope(namespace, None), names.REVOCATION_FILTER)
            self.authorities.tenants.pop(namespace, None)
            self.authorities.left.pop(namespace, None)
            self.lists.forget(namespace)
            self.granting.forget(namespace)
            self._wake(namespace, world.certificates.of(namespace))
            await self.requests.refuse_all(namespace, f"There is no namespace {namespace}.")
            return None
        if not self._in_use(namespace):
            await self.requests.refuse_all(namespace, f"Namespace {namespace} has nothing of this operator.")
            return None
        tenant = await self.authorities.load(namespace)
        if tenant is None:
            return None
        if tenant.authority is None:
            await self.rotation.advance(tenant)
        if tenant.authority is None:
            if tenant.publishes:
                # Revocations, others' too, and grants that were withdrawn do not wait for this CA.
                if tenant.without_ca:
                    await self._record(tenant)
                await self._publish(tenant)
            taken = tenant.obstacle is not None and tenant.obstacle.reason in CONFLICTS
            if not taken:
                await self._identify_proxies(tenant)
            tenant.ready = False
            self._wake(namespace, world.certificates.of(namespace))
            return CONFLICT_SECONDS if taken else 30.0
        # Revocations come first: nothing that goes wrong with the other objects may hold one back.
        await self._record(tenant)
        await self._publish(tenant)
        granted = await self.requests.take(tenant)
        if granted:
            await self._publish(tenant)
            await self.requests.finish(granted)
        await self.pruning.prune(tenant)
        renew_identity = await self._identify_proxies(tenant)
        await self.context.ensure(bundle_document(namespace, tenant.generations))
        await self.authorities.given.refresh(tenant)
        rotate = await self.rotation.advance(tenant)
        self.notices.update(tenant)
        return max(
            1.0, min(self._list_changes(tenant), renew_identity, rotate, self._given(tenant), LOOK_SECONDS)
        )

    def _given(self, tenant: Tenant) -> float:
        """Return in how many seconds the clock alone changes what is to be said of the CAs that were given."""
        again = tenant.given.look_again
        return (again - self.context.now()).total_seconds() if again is not None else LOOK_SECONDS

    def _list_changes(self, tenant: Tenant) -> float:
        """Return in how many seconds the clock alone changes the list: a revocation expires, or it is signed anew."""
        moments = [tenant.readable.parts.renew_at] if tenant.readable is not None else []
        if tenant.publication is not None and tenant.publication.until is not None:
            moments.append(tenant.publication.until)
        return min(((moment - self.context.now()).total_seconds() for moment in moments), default=60.0)

    def _in_use(self, namespace: str) -> bool:
        """Say whether a namespace has anything of ours: what was published is kept up when its objects are gone."""
        world = self.context.world
        published = world.written[Kind.CONFIG_MAP].get(namespace, names.REVOCATION_CONFIGMAP)
        left = self.authorities.left.get(namespace)
        return bool(
            world.hosts.of(namespace)
            or world.certificates.of(namespace)
            or left
            or published is not None
            or self.granting.grants.has_any(namespace)
        )

    async def _keep(self, tenant: Tenant) -> None:
        """Keep the revocations of objects that a restored backup set back to before them."""
        back = set(self.authorities.set_back.get(tenant.namespace, ()))
        if not back:
            return
        certificates = self.context.world.certificates.of(tenant.namespace).values()
        unaware = {one.meta.uid for one in certificates if one.meta.uid in back and not one.revoked}
        records = kept(tenant.ledger, unaware)
        if records:
            await self.authorities.ledgers.record(tenant, records)
            _log.error("ledger.rollback", namespace=tenant.namespace, recovered=len(records))
            self._wake(tenant.namespace, {record.owner.partition("/")[2] for record in records})
        self.authorities.set_back.get(tenant.namespace, set()).difference_update(back)

    async def _record(self, tenant: Tenant) -> None:
        await self._keep(tenant)
        now = self.context.now().replace(microsecond=0)
        world, left = self.context.world, dict(self.authorities.left.get(tenant.namespace, {}))
        certain = tenant.stored is not None  # else some serial numbers are in doubt until the CA is back
        asking = chain(holders(world, tenant), gone(world, tenant, left.values()))
        records = due(tenant.ledger, asking, now=now)
        if records:
            await self.authorities.ledgers.record(tenant, records)
        if certain:
            self.authorities.settle(left)
            for uid in left:
                tenant.unreported.pop(uid, None)
        if not records:
            return
        _log.info("ledger.recorded", namespace=tenant.namespace, records=len(records))
        self._wake(tenant.namespace, {record.owner.partition("/")[2] for record in records})

    async def _publish(self, tenant: Tenant) -> None:
        await self.lists.heed(tenant)
        own = tenant.listed(now=self.context.now())
        shorter = tenant.told is not None and not tenant.told.serials <= own.serials
        if not shorter:
            self._tell(tenant, own)
        await self._offer(tenant)
        # A list that refuses less is told to others when it has taken the place of the one that this operator has seen.
        self._tell(tenant, own)
        await self.lists.update(tenant)

    def _tell(self, tenant: Tenant, own: Listing) -> None:
        if tenant.told is not own:
            tenant.told = own
            self.granting.wake_lists(tenant.namespace)

    async def _offer(self, tenant: Tenant) -> None:
        """Push the newest list of a namespace, with those of others whose CAs are trusted there."""
        namespace = tenant.namespace
        others = await self.granting.listings(tenant)
        now = self.context.now()
        own = tenant.listed(now=now)
        observed = self.context.world.written[Kind.CONFIG_MAP].get(namespace, names.REVOCATION_CONFIGMAP)
        seen = [self._epochs.get(namespace, 0)]
        if observed is not None and observed.epoch is not None:
            seen.append(observed.epoch)
        if observed is None:
            # Gone, or without our label: a proxy that has read what is there follows it until there is a higher epoch.
            body = await self.context.cluster.get(Kind.CONFIG_MAP, namespace, names.REVOCATION_CONFIGMAP)
            epoch = epoch_of(str(((body or {}).get("data") or {}).get(names.REVOCATION_KEY) or ""))
            seen.append(epoch if credible(epoch, now=now) is not None and epoch is not None else 0)
        publication = tenant.publication
        if publication is None or not publication.holds(own, others, seen=max(seen)):
            publication = publish(own, others, previous=tenant.script, seen=seen, now=now)
        if tenant.publication is not None and not tenant.publication.serials <= publication.serials:
            # What an operator does not know that was replaced without knowing it must not leave the list.
            await self.lists.shorten(tenant, publication)
        self._epochs[namespace] = publication.epoch
        self.granting.published(namespace, publication.others)
        self.context.push.publish(
            Scope(namespace, None),
            Script(names.REVOCATION_FILTER, publication.version, publication.script),
        )
        before, tenant.publication = tenant.publication, publication
        if before is None or before.version != publication.version:
            self._changed(tenant, publication)

    def _changed(self, tenant: Tenant, publication: Publication) -> None:
        _log.info(
            "revocation.published",
            namespace=tenant.namespace,
            epoch=publication.epoch,
            revoked=len(publication.serials),
            others=sorted(publication.others),
        )
        if publication.left_out:
            _log.error("revocation.left_out", namespace=tenant.namespace, of=publication.left_out)
        for host in self.context.world.hosts.of(tenant.namespace):
            self.context.queue.add(keys.host(tenant.namespace, host))
        self._wake(tenant.namespace, self._pending(tenant.namespace))
        self.granting.changed(tenant, publication)

    def _pending(self, namespace: str) -> list[str]:
        return [
            name
            for name, certificate in self.context.world.certificates.of(namespace).items()
            if certificate.status.get("state") in _PENDING_STATES or certificate.revoked
        ]

    def _wake(self, namespace: str, certificates: Iterable[str]) -> None:
        for name in certificates:
            self.context.queue.add(keys.certificate(namespace, name))

    async def _identify_proxies(self, tenant: Tenant) -> float:
        """Make or renew the Secret with which the namespace's proxies connect; return when to look again."""
        uri = names.proxy_identity(tenant.namespace, tenant.uid)
        held = self.context.world.written[Kind.SECRET].get(tenant.namespace, names.PROXY_SECRET)
        now = self.context.now()
        if held is not None and held.certificate and held.has_key:
            try:
                facts = read_certificate(held.certificate)
            except PkiError:
                facts = None
            if (
                facts is not None
                and facts.uris == (uri,)
                and self.internal.issued(held.certificate)
                and held.content.get(f"data/{names.CA_KEY}") == self.internal.ca_content()
            ):
                left = (facts.not_after - now).total_seconds() - PROXY_LIFETIME.total_seconds() / 3
                if left > 0:
                    return left
        issued = self.internal.proxy_certificate(uri, lifetime=PROXY_LIFETIME)
        document = proxy_document(
            tenant.namespace, issued.certificate_pem, issued.key_pem, self.internal.ca_pem
        )
        self.context.world.observe(Kind.SECRET, await self.context.overwrite(document), answer=True)
        return PROXY_LIFETIME.total_seconds() / 3
