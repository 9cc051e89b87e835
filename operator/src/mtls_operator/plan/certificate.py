"""What to do next for one ClientCertificate.

One decision at a time: the caller performs the step and asks again, so that a crash between any two writes leaves a
world from which the same chain goes on (guarantee G3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState, ClientCertificate
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import CertificateFacts
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.replacement import Replacement
from mtls_operator.plan.trouble import Trouble


class Step(StrEnum):
    """The one thing to do before looking again; ``REPORT``: nothing but the status."""

    ADD_FINALIZER = "add finalizer"
    ISSUE = "issue"
    RENEW = "renew"
    COMPLETE = "complete the contents"
    RECORD = "wait for the ledger"
    RELEASE = "remove finalizer"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class CertificateView:
    """Everything that the decision rests on.

    ``facts`` are those of the certificate in the Secret (or, for a request, in the ConfigMap) that carries our
    object's UID, and ``pem`` is that certificate; there are none where it is missing or damaged. ``distrusted`` says
    that its CA counts no more, ``ahead`` that some proxies may not trust it yet. ``incomplete`` says that something
    else of what is ours is missing there or was edited,
    ``contents`` why that cannot be put back, or a keystore not be made. ``renewal`` says when the certificate is
    replaced. ``former`` are the earlier certificates of the object that still count, with their ends. ``record`` is the
    ledger's word on its serial number, ``in_force`` whether every proxy acknowledged the current list; ``waiting_for``
    names the proxies that did not. ``pending_records`` are records that the ledger still has to get for this object.
    """

    certificate: ClientCertificate
    facts: CertificateFacts | None
    obstacle: Trouble | None
    record: Record | None
    in_force: bool
    waiting_for: str
    pending_records: bool
    now: datetime
    renewal: Replacement | None = None
    former: Mapping[str, datetime] = field(default_factory=dict)
    pem: str = ""
    distrusted: bool = False
    ahead: bool = False
    incomplete: bool = False
    contents: Trouble | None = None


def next_step(view: CertificateView) -> Step:
    """Return what to do next."""
    meta = view.certificate.meta
    if meta.deleting:
        if names.FINALIZER not in meta.finalizers:
            return Step.REPORT
        return Step.RECORD if view.pending_records else Step.RELEASE
    if names.FINALIZER not in meta.finalizers:
        return Step.ADD_FINALIZER
    if view.facts is None and view.obstacle is None and not view.certificate.revoked:
        return Step.ISSUE
    if view.pending_records:
        return Step.RECORD
    if view.facts is None or _is_revoked(view):
        return Step.REPORT
    if _is_due(view.renewal, now=view.now):
        return Step.RENEW
    return Step.COMPLETE if view.incomplete else Step.REPORT


def _is_due(renewal: Replacement | None, *, now: datetime) -> bool:
    """Say whether the certificate is to be replaced now."""
    return renewal is not None and not renewal.by_owner and renewal.obstacle is None and renewal.due <= now


def _is_revoked(view: CertificateView) -> bool:
    """Say whether the certificate is revoked, or is to be: nothing renews it, nothing is made of it any more."""
    return view.certificate.revoked or (view.record is not None and view.record.entry is Entry.REVOKED)


def _is_of_this_record(view: CertificateView) -> bool:
    """Say whether the status tells of the present revocation: one before a restore says nothing about it (G4)."""
    at = format_timestamp(view.record.at) if view.record is not None else ""
    return view.certificate.status.get("revokedAt") == at


def state_of(view: CertificateView) -> CertificateState:
    """Return where the certificate stands; a change is pending until every proxy has acknowledged it (G4)."""
    revoked = view.record is not None and view.record.entry is Entry.REVOKED
    if view.facts is None and not revoked and not (view.certificate.revoked and view.pending_records):
        return CertificateState.FAILED if view.obstacle is not None else CertificateState.PENDING
    before = view.certificate.status.get("state")
    same = view.facts is None or view.certificate.status.get("serialNumber") == view.facts.serial
    if view.facts is not None and view.facts.not_after <= view.now:
        return CertificateState.EXPIRED
    if revoked or view.certificate.revoked:
        said = same and before == CertificateState.REVOKED and _is_of_this_record(view)
        if revoked and (view.in_force or said):
            return CertificateState.REVOKED
        return CertificateState.PENDING_REVOCATION
    restored = view.record is not None and view.record.entry is Entry.RESTORED
    if restored and not view.in_force and before != CertificateState.ACTIVE:
        return CertificateState.PENDING_REACTIVATION
    return CertificateState.ACTIVE
