"""Which serial numbers a ClientCertificate holds: by its status, its Secret and the ledger.

What users and tenants can write is not believed beyond what our CA can have given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate, DeletionPolicy, RevocationReason
from mtls_operator.api.timestamp import parse_timestamp
from mtls_operator.cluster import Kind
from mtls_operator.controller.observed import Broken, Written
from mtls_operator.controller.seen_certificates import facts_of, is_signed
from mtls_operator.controller.tenant import Tenant
from mtls_operator.controller.world import World
from mtls_operator.pki import PkiError, format_serial, has_index, index_of, key_digest_of, parse_serial
from mtls_operator.plan.authority import CERTIFICATE_ROLE
from mtls_operator.plan.holder import request_of
from mtls_operator.plan.ledger import Entry, Holder, Record


def place_of(certificate: ClientCertificate) -> tuple[Kind, str]:
    """Return where a certificate is kept: with its key in its Secret, without one in a ConfigMap."""
    if certificate.request is None:
        return Kind.SECRET, certificate.secret_name
    return Kind.CONFIG_MAP, names.certificate_config(certificate.meta.name)


def written_of(world: World, certificate: ClientCertificate) -> Written | None:
    """Return what is at a certificate's place, whoever it belongs to."""
    kind, name = place_of(certificate)
    return world.written[kind].get(certificate.meta.namespace, name)


def issued_in(world: World, namespace: str) -> Iterator[Written]:
    """Return everything in a namespace that is labelled as holding a client certificate."""
    for kind in (Kind.SECRET, Kind.CONFIG_MAP):
        for written in world.written[kind].of(namespace).values():
            if written.role == CERTIFICATE_ROLE:
                yield written


def holders(world: World, tenant: Tenant) -> Iterator[Holder]:
    """Return those objects of a namespace that the ledger may have to follow; all others cannot matter to it."""
    for certificate in world.certificates.of(tenant.namespace).values():
        meta = certificate.meta
        if certificate.revoked or meta.deleting or meta.uid in tenant.owned:
            yield certain_of(world, tenant, certificate)


def gone(
    world: World, tenant: Tenant, certificates: Iterable[ClientCertificate | Broken]
) -> Iterator[Holder]:
    """Return what objects ask of the ledger that are gone: what a deletion asks, however it came about."""
    for certificate in certificates:
        deleted = replace(certificate, meta=replace(certificate.meta, deleting=True))
        yield certain_of(world, tenant, deleted)


def certain_of(world: World, tenant: Tenant, certificate: ClientCertificate | Broken) -> Holder:
    """Return what one object asks of the ledger and can be recorded now.

    While the CA is missing a serial number counts that the ledger or the status has, which no tenant writes. What a
    Secret alone shows waits: its index would be taken for one that was given out, whatever it is.
    """
    holder = holder_of(world, tenant, certificate)
    if tenant.stored is not None:
        return holder
    uid = certificate.meta.uid
    ours = {str(certificate.status.get("serialNumber") or ""), *tenant.owned.get(uid, ())}
    ours |= tenant.unreported.get(uid, {}).keys()
    return replace(holder, serials={serial: end for serial, end in holder.serials.items() if serial in ours})


def holder_of(world: World, tenant: Tenant, certificate: ClientCertificate | Broken) -> Holder:
    """Return what one object asks of the ledger."""
    serials = _serials(world, tenant, certificate)
    if isinstance(certificate, Broken):
        return Holder(
            meta=certificate.meta,
            revoked=certificate.revoked,
            retain=False,
            restorable=False,
            reason=RevocationReason.UNSPECIFIED,
            serials=serials,
            key_of=partial(_key_in_world, world, certificate.meta.uid),
        )
    return Holder(
        meta=certificate.meta,
        revoked=certificate.revoked,
        retain=certificate.deletion_policy is DeletionPolicy.RETAIN,
        restorable=True,
        reason=certificate.revocation_reason,
        serials=serials,
        current=_current(world, certificate),
        revoke_old_after=certificate.renewal.revoke_old_after,
        key_of=partial(_key_of, world, certificate),
    )


def _key_of(world: World, certificate: ClientCertificate, serial: str) -> str:
    """Return the digest of the public key of one of an object's certificates, if it is at hand."""
    try:
        request = request_of(certificate)
    except PkiError:
        request = None
    return request.key_digest if request is not None else _key_in_world(world, certificate.meta.uid, serial)


def _key_in_world(world: World, uid: str, serial: str) -> str:
    for written in world.owned_by(uid):
        facts = facts_of(written.certificate)
        if facts is not None and facts.serial == serial:
            return key_digest_of(written.certificate)
    return ""


def _current(world: World, certificate: ClientCertificate) -> str:
    """Return the serial number in the object's Secret; empty when there is none of its own."""
    seen = written_of(world, certificate)
    if seen is None or certificate.meta.uid not in seen.owners:
        return ""
    facts = facts_of(seen.certificate)
    return facts.serial if facts is not None else ""


def former(
    world: World, tenant: Tenant, certificate: ClientCertificate, *, now: datetime
) -> dict[str, datetime]:
    """Return the serial numbers of an object's earlier certificates that still count, with their ends.

    Only the ledger's word counts: what one process alone knows would be written and taken back for ever by two.
    """
    current = _current(world, certificate)
    uid = certificate.meta.uid
    return {
        serial: end
        for serial, end in sorted(tenant.owned.get(uid, {}).items())
        if serial != current and end > now and not tenant.is_revoked(serial)
    }


def known(tenant: Tenant, certificate: ClientCertificate, serial: str, *, now: datetime) -> Record | None:
    """Return the record of a certificate that leaves its object while still valid; None when there is no need."""
    end = _status_end(certificate)
    if serial in tenant.ledger or not _plausible(serial, tenant) or end is None:
        return None
    return Record(
        serial=serial,
        entry=Entry.KNOWN,
        at=now,
        not_after=end,
        reason=RevocationReason.UNSPECIFIED,
        owner="/".join(certificate.meta.key),
        owner_uid=certificate.meta.uid,
    )


def proved(world: World, tenant: Tenant) -> dict[str, datetime]:
    """Return the serial numbers, with their ends, of certificates of a namespace that its CAs signed."""
    found: dict[str, datetime] = {}
    for serials in tenant.unreported.values():
        found |= serials
    for secret in world.written[Kind.SECRET].of(tenant.namespace).values():
        if secret.role == CERTIFICATE_ROLE and any(
            is_signed(stored.authority.certificate_pem, secret.certificate) for stored in tenant.generations
        ):
            facts = facts_of(secret.certificate)
            if facts is not None:
                found[facts.serial] = facts.not_after
    return found


def claimed(world: World, namespace: str) -> dict[str, datetime]:
    """Return the serial numbers, with their ends, that the statuses of a namespace's objects name."""
    found: dict[str, datetime] = {}
    for certificate in world.certificates.of(namespace).values():
        serial, end = certificate.status.get("serialNumber"), _status_end(certificate)
        if serial and end is not None:
            found[str(serial)] = end
    return found


def _serials(world: World, tenant: Tenant, certificate: ClientCertificate | Broken) -> dict[str, datetime]:
    stated: dict[str, datetime] = {}
    serial, end = str(certificate.status.get("serialNumber") or ""), _status_end(certificate)
    if serial and end is not None:
        stated[serial] = end
    shown: dict[str, datetime] = {}
    for written in world.owned_by(certificate.meta.uid):
        if written.namespace == tenant.namespace and written.role == CERTIFICATE_ROLE:
            facts = facts_of(written.certificate)
            if facts is not None:
                shown[facts.serial] = facts.not_after
    authority = tenant.authority
    latest = authority.facts.not_after if authority is not None else None
    stated, shown = (
        {
            serial: end if latest is None else min(end, latest)
            for serial, end in found.items()
            if _plausible(serial, tenant)
        }
        for found in (stated, shown)
    )
    uid = certificate.meta.uid
    # Whoever writes Secrets could say there of a number that it has ended, and nothing would revoke it.
    return shown | tenant.owned.get(uid, {}) | tenant.unreported.get(uid, {}) | stated


def _status_end(certificate: ClientCertificate | Broken) -> datetime | None:
    try:
        return parse_timestamp(str(certificate.status.get("notAfter") or ""))
    except ValueError:
        return None


def _plausible(serial: str, tenant: Tenant) -> bool:
    """Say whether our CA can have given out a serial number: it is written as we write it, its index was reserved.

    While the CA is missing nobody knows what was reserved: nothing may be forgotten then.
    """
    try:
        number = parse_serial(serial)
    except PkiError:
        return False
    if not has_index(number) or format_serial(number) != serial:
        return False
    return tenant.stored is None or index_of(number) < tenant.stored.next_index
