"""From what changed to what must be looked at again: events only mark keys, they decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller import keys
from mtls_operator.controller.authorities import Authorities
from mtls_operator.controller.context import Context
from mtls_operator.controller.granting import Granting
from mtls_operator.controller.observed import certificate_of, granters_of
from mtls_operator.controller.unchecked import KINDS, Unchecked
from mtls_operator.plan.authority import generation_of
from mtls_operator.plan.pages import PAGE_ROLE
from mtls_operator.plan.requests import REQUEST_ROLE
from mtls_operator.plan.rollout import Pod
from mtls_operator.push import DiscoveryServer, Report
from mtls_operator.push import Pod as PushedPod

#: Reports that arrive within this time are looked at once.
SETTLE_SECONDS = 0.004
#: What a namespace leaves is looked at once the burst of its end is over.
LEFTOVERS_SECONDS = 5.0


@dataclass(slots=True)
class Dispatch:
    """Keeps the world and the discovery server's view of pods, and fills the queue."""

    context: Context
    authorities: Authorities
    discovery: DiscoveryServer
    granting: Granting
    unchecked: Unchecked | None = None
    _settling: set[str] = field(default_factory=set)
    _rule_specs: dict[tuple[str, str], tuple[str, int, bool]] = field(default_factory=dict)

    def observe(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Take in an object as it is now, before anything is queued for it."""
        if kind is Kind.POD:
            self._observe_pod(body)
            return
        before = self._granters(kind, body)
        self.context.world.observe(kind, body)
        self._wake_granters(before ^ self._granters(kind, body), body)
        if kind is Kind.NAMESPACE:
            name = body["metadata"]["name"]
            self.discovery.set_namespace(name, self.context.world.namespace_uid(name))

    def changed(self, kind: Kind, body: Mapping[str, Any], *, gone: bool, listed: bool = False) -> None:
        """Queue what an event touches; ``gone``: the object was deleted, ``listed``: it comes from a complete list."""
        if listed:
            went_back = self.context.world.listed(kind, body)
            if went_back and kind is Kind.CERTIFICATE:
                metadata = body["metadata"]
                self.authorities.set_back.setdefault(metadata["namespace"], set()).add(metadata["uid"])
                self.context.queue.add(keys.authority(metadata["namespace"]))
        elif not gone and self.context.world.is_answer(kind, body):
            return
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if gone:
            self._forget(kind, body)
        if self.unchecked is not None and kind in KINDS:
            (self.unchecked.gone if gone else self.unchecked.seen)(kind, body)
        if kind is Kind.CERTIFICATE:
            self._certificate_changed(namespace, name)
        elif kind is Kind.HOST:
            self._host_changed(namespace, name)
        elif kind is Kind.RULE:
            self._rule_changed(namespace, name, body, gone=gone)
        elif kind is Kind.POD:
            self._pod_changed(namespace, body)
        elif kind is Kind.NAMESPACE:
            self._namespace_changed(name)
        else:
            self._written_changed(body, gone=gone)

    def time_leapt(self) -> None:
        """Queue everything: what is due by the calendar was reckoned from another time of day."""
        world, queue = self.context.world, self.context.queue
        for namespace, certificates in list(world.certificates.by_namespace.items()):
            for name in certificates:
                queue.add(keys.certificate(namespace, name))
        for namespace, hosts in list(world.hosts.by_namespace.items()):
            for name in hosts:
                queue.add(keys.host(namespace, name))
        for namespace in self.authorities.tenants:
            queue.add(keys.authority(namespace))
        queue.hurry()

    def list_seen(self, body: Mapping[str, Any]) -> None:
        """Take in a named list, and queue what uses it when it holds something else."""
        if self.context.world.observe_list(body):
            self._list_changed(body["metadata"]["namespace"])

    def list_gone(self, namespace: str, name: str) -> None:
        """Take in that a named list is gone."""
        self.context.world.forget_list(namespace, name)
        self._list_changed(namespace)

    def given_seen(self, body: Mapping[str, Any]) -> None:
        """Take in a Secret with an issuing CA, and queue the namespaces that it is or was for."""
        self._given_changed(self.authorities.given.seen(body))

    def given_gone(self, _: str, name: str) -> None:
        """Take in that a Secret with an issuing CA is gone."""
        self._given_changed(self.authorities.given.gone(name))

    def _given_changed(self, namespaces: Iterable[str]) -> None:
        for namespace in sorted(namespaces):
            self.context.queue.add(keys.authority(namespace))

    def _list_changed(self, namespace: str) -> None:
        """Queue every host and rule of a namespace: also the last good version of a rule may use the list."""
        world = self.context.world
        for host in world.hosts.of(namespace):
            self.context.queue.add(keys.host(namespace, host))
        for rule in world.rules.of(namespace):
            self.context.queue.add(keys.rule(namespace, rule))

    def grant_seen(self, body: Mapping[str, Any]) -> None:
        """Take in a grant, and queue what rests on it when it says something else."""
        if self.granting.grants.seen(body):
            self._grant_changed(body["metadata"]["namespace"])

    def grant_gone(self, namespace: str, name: str) -> None:
        """Take in that a grant is gone."""
        self.granting.grants.gone(namespace, name)
        self._grant_changed(namespace)

    def _grant_changed(self, namespace: str) -> None:
        self.context.queue.add(keys.authority(namespace))
        self.granting.wake(namespace)

    def _granters(self, kind: Kind, body: Mapping[str, Any]) -> frozenset[str]:
        """Return the namespaces whose CAs a host wants, if it is one, as far as it was seen."""
        if kind is not Kind.HOST:
            return frozenset()
        metadata = body["metadata"]
        return granters_of(self.context.world.hosts.get(metadata["namespace"], metadata["name"]))

    def _wake_granters(self, granters: Iterable[str], host: Mapping[str, Any]) -> None:
        """Look again at namespaces whose CA a host begins to trust, or trusts no more: rotations wait for hosts.

        Whoever merely names a namespace makes no work for it.
        """
        for granter in granters:
            if self.granting.grants.allows(granter, host["metadata"]["namespace"]):
                self.context.queue.add(keys.authority(granter))

    def reported(self, report: Report) -> None:
        """Take in what a proxy said; called on the event loop."""
        self.context.reports.take(report)
        namespace = report.pod.namespace
        self.context.queue.add(keys.host(namespace, report.pod.host))
        if report.resource == names.REVOCATION_FILTER and namespace not in self._settling:
            self._settling.add(namespace)
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle, namespace)

    def _settle(self, namespace: str) -> None:
        """Wake the certificates that waited for the proxies, once all have acknowledged."""
        self._settling.discard(namespace)
        tenant = self.authorities.known(namespace)
        if tenant is None or tenant.publication is None:
            return
        pods = self.context.world.pods.of(namespace).values()
        if self.context.reports.lagging(pods, tenant.publication.version):
            return
        self.granting.settled(namespace, tenant.publication.others)
        for name, certificate in self.context.world.certificates.of(namespace).items():
            if certificate.status.get("state") in _WAITING:
                self.context.queue.add(keys.certificate(namespace, name))

    def _observe_pod(self, body: Mapping[str, Any]) -> None:
        world = self.context.world
        metadata = body["metadata"]
        before = world.pods.get(metadata["namespace"], metadata["name"])
        if before is not None and before.uid != metadata["uid"]:
            self._pod_gone(before)
        world.observe(Kind.POD, body)
        pod = world.pods.get(metadata["namespace"], metadata["name"])
        if pod is not None and pod.host:
            self.discovery.set_pod(PushedPod(pod.namespace, pod.name, pod.uid, pod.host))

    def _pod_gone(self, pod: Pod) -> None:
        self.discovery.remove_pod(pod.namespace, pod.uid)
        self.context.reports.forget(pod.uid)

    def _forget(self, kind: Kind, body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        world = self.context.world
        if kind is Kind.POD:
            pod = world.pods.get(namespace, name)
            if pod is not None and pod.uid == metadata["uid"]:
                self._pod_gone(pod)
        self._wake_granters(self._granters(kind, body), body)
        world.forget(kind, body)
        if kind is Kind.NAMESPACE:
            self.discovery.set_namespace(name, world.namespace_uid(name))
        elif kind is Kind.CERTIFICATE:
            self.context.queue.forget(keys.certificate(namespace, name))
            # Whoever may patch an object can take our finalizer off: its deletion still revokes (G3).
            self.authorities.leave(certificate_of(body))
            self.context.queue.add(keys.authority(namespace))

    def _namespace_changed(self, name: str) -> None:
        """Queue everything in a namespace: its objects may have been seen before it was, or before its end."""
        queue, world = self.context.queue, self.context.world
        queue.add(keys.authority(name))
        queue.add(keys.LEFTOVERS, delay=LEFTOVERS_SECONDS)
        for certificate in world.certificates.of(name):
            queue.add(keys.certificate(name, certificate))
        for host in world.hosts.of(name):
            queue.add(keys.host(name, host))
        self.granting.wake(name)

    def _certificate_changed(self, namespace: str, name: str) -> None:
        """Queue a certificate; the ledger at once where it asks for it: it may be long until a worker is free."""
        self.context.queue.add(keys.certificate(namespace, name))
        certificate = self.context.world.certificates.get(namespace, name)
        if certificate is None:
            return
        asks = certificate.revoked and certificate.status.get("state") not in _REVOKED
        if asks or certificate.meta.deleting:
            self.context.queue.add(keys.authority(namespace))

    def _host_changed(self, namespace: str, name: str) -> None:
        queue, world = self.context.queue, self.context.world
        queue.add(keys.authority(namespace))
        queue.add(keys.host(namespace, name))
        for other in world.hosts.of(namespace):
            if other != name:
                queue.add(keys.host(namespace, other))
        for rule in world.rules.of(namespace):
            queue.add(keys.rule(namespace, rule))

    def _rule_changed(self, namespace: str, name: str, body: Mapping[str, Any], *, gone: bool) -> None:
        """Queue a rule; when its spec is new, also every host of the namespace: one may have used it until now."""
        metadata = body["metadata"]
        self.context.queue.add(keys.rule(namespace, name))
        spec = (str(metadata["uid"]), int(metadata["generation"]), bool(metadata.get("deletionTimestamp")))
        if gone:
            self._rule_specs.pop((namespace, name), None)
        elif self._rule_specs.get((namespace, name)) == spec:
            return
        else:
            self._rule_specs[namespace, name] = spec
        for host in self.context.world.hosts.of(namespace):
            self.context.queue.add(keys.host(namespace, host))

    def _pod_changed(self, namespace: str, body: Mapping[str, Any]) -> None:
        host = (body["metadata"].get("labels") or {}).get(names.HOST_LABEL)
        if host:
            self.context.queue.add(keys.host(namespace, host))
        if self.context.world.namespace_uid(namespace) is None:
            # Its last pods are what others wait for that granted it their CA.
            self.context.queue.add(keys.authority(namespace))
        tenant = self.authorities.known(namespace)
        if tenant is not None and namespace not in self._settling:
            self._settling.add(namespace)
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle, namespace)

    def _written_changed(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """Queue the owner of something that we wrote: an edit or a deletion is mended by its reconciler."""
        metadata = body["metadata"]
        labels = metadata.get("labels") or {}
        namespace, role = metadata["namespace"], labels.get(names.ROLE_LABEL)
        tenant = labels.get(names.NAMESPACE_LABEL, "")
        queue = self.context.queue
        if role in _OURS_ALONE and namespace != self.context.settings.operator_namespace:
            return  # labels that a tenant made up: what they name is another namespace's
        if role == "authority":
            if gone or self._foreign(tenant, metadata):
                self.authorities.secret_changed(tenant, gone=gone)
                queue.add(keys.authority(tenant))
                self.granting.wake(tenant)
                for host in self.context.world.hosts.of(tenant):
                    queue.add(keys.host(tenant, host))
                for certificate in self.context.world.certificates.of(tenant):
                    queue.add(keys.certificate(tenant, certificate))
        elif role == "ledger":
            version = None if gone else str(metadata["resourceVersion"])
            if self.authorities.page_changed(tenant, metadata["name"], version):
                queue.add(keys.authority(tenant), delay=0.05)
        elif role == REQUEST_ROLE:
            self.authorities.request_changed(tenant, metadata["name"], gone=gone)
            queue.add(keys.authority(tenant))
        elif role == "webhook":
            queue.add(keys.INTERNAL)
        elif role in ("bundle", "revocation", PAGE_ROLE, "proxy"):
            queue.add(keys.authority(namespace))
        else:  # also where a label of ours was edited: it is put back
            self._owner_changed(namespace, metadata)

    def _foreign(self, namespace: str, metadata: Mapping[str, Any]) -> bool:
        """Say whether the Secret of a CA was written by somebody else since we read or wrote it."""
        tenant = self.authorities.tenants.get(namespace)
        if tenant is None or tenant.stored is None:
            return True
        version = metadata["resourceVersion"]
        generation = generation_of(metadata["name"], namespace)
        held = next((stored for stored in tenant.generations if stored.generation == generation), None)
        if held is None:
            return True
        if tenant.reserving and held is tenant.stored:
            # what we just wrote can be seen before we are told: the answer says whose it was
            tenant.noticed = max(tenant.noticed, int(version))
            return False
        return int(version) > int(held.body["metadata"]["resourceVersion"])

    def _owner_changed(self, namespace: str, metadata: Mapping[str, Any]) -> None:
        for owner in metadata.get("ownerReferences") or ():
            if owner.get("kind") == names.CERTIFICATE_KIND:
                self.context.queue.add(keys.certificate(namespace, owner["name"]))
            elif owner.get("kind") == names.HOST_KIND:
                self.context.queue.add(keys.host(namespace, owner["name"]))


_WAITING = ("PendingRevocation", "PendingReactivation")
#: The ledger has their revocation.
_REVOKED = ("PendingRevocation", "Revoked")
#: Roles of objects that exist in the operator's namespace only.
_OURS_ALONE = ("authority", "ledger", "webhook", REQUEST_ROLE)
