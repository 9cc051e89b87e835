"""What to do next for one ClientCertificate, and what its status says.

One decision at a time: the caller performs the step and asks again, so that a crash between any two writes leaves a
world from which the same chain goes on (guarantee G3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState, ClientCertificate
from mtls_operator.api.conditions import Condition, conditions_of, merge_conditions, ready
from mtls_operator.api.meta import Meta
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import CertificateFacts
from mtls_operator.plan.ledger import Entry, Record, may_restore


class MakeCondition(Protocol):
    """Makes a condition of the generation that is being looked at."""

    def __call__(self, kind: ConditionType, reason: Reason, message: str, *, status: bool) -> Condition:
        """Return the condition."""


class Step(StrEnum):
    """The one thing to do before looking again; ``REPORT``: nothing but the status."""

    ADD_FINALIZER = "add finalizer"
    ISSUE = "issue"
    RECORD = "wait for the ledger"
    RELEASE = "remove finalizer"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a certificate cannot be issued."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class CertificateView:
    """Everything that the decision rests on.

    ``facts`` are those of the certificate in the Secret that carries our object's UID, ``issuer`` says that our
    CA signed it. ``record`` is the ledger's word on its serial number, ``in_force`` whether every proxy
    acknowledged the current list; ``waiting_for`` names the proxies that did not. ``pending_records`` are
    records that the ledger still has to get for this object.
    """

    certificate: ClientCertificate
    facts: CertificateFacts | None
    obstacle: Obstacle | None
    record: Record | None
    in_force: bool
    waiting_for: str
    pending_records: bool
    now: datetime


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
    return Step.RECORD if view.pending_records else Step.REPORT


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
        if revoked and (view.in_force or (same and before == CertificateState.REVOKED)):
            return CertificateState.REVOKED
        return CertificateState.PENDING_REVOCATION
    restored = view.record is not None and view.record.entry is Entry.RESTORED
    if restored and not view.in_force and before != CertificateState.ACTIVE:
        return CertificateState.PENDING_REACTIVATION
    return CertificateState.ACTIVE


def status_of(view: CertificateView) -> dict[str, Any]:
    """Return the whole status to write; fields without a value are left out.

    What was issued stays in the status when its Secret is gone or damaged: the certificate may be anywhere, and the
    serial number is what revokes it (guarantee G3).
    """
    certificate, facts = view.certificate, view.facts
    state = state_of(view)
    conditions = _conditions(view, state)
    status: dict[str, Any] = {"state": state.value}
    if facts is None:
        status |= {key: certificate.status[key] for key in _OF_ISSUED if key in certificate.status}
    else:
        status |= {
            "serialNumber": facts.serial,
            "fingerprintSha256": facts.fingerprint_sha256,
            "subject": facts.subject,
            "issuer": {"subject": facts.issuer_subject, "ski": facts.issuer_ski},
            "notBefore": format_timestamp(facts.not_before),
            "notAfter": format_timestamp(facts.not_after),
        }
    if view.record is not None and view.record.entry is Entry.REVOKED:
        status["revokedAt"] = format_timestamp(view.record.at)
    status["conditions"] = merge_conditions(conditions_of(certificate.status), conditions, now=view.now)
    return status


_OF_ISSUED = ("serialNumber", "fingerprintSha256", "subject", "issuer", "notBefore", "notAfter")


def _conditions(view: CertificateView, state: CertificateState) -> list[Condition]:
    generation = view.certificate.meta.generation

    def condition(kind: ConditionType, reason: Reason, message: str, *, status: bool) -> Condition:
        return Condition(kind, status, reason, message, generation)

    issued = condition(*_issued(view)[:3], status=_issued(view)[3])
    revoked = _revoked(view, state, condition)
    deployed = _deployed(view, state, condition)
    summary = ready([issued, deployed], [ConditionType.ISSUED, ConditionType.DEPLOYED])
    refusals: Mapping[CertificateState, tuple[Reason, str]] = {
        CertificateState.EXPIRED: (
            Reason.CERTIFICATE_EXPIRED,
            "The certificate has expired: create a new ClientCertificate.",
        ),
        CertificateState.REVOKED: (Reason.CERTIFICATE_REVOKED, "The certificate is revoked."),
        CertificateState.PENDING_REVOCATION: (Reason.CERTIFICATE_REVOKED, "The certificate is revoked."),
    }
    if state in refusals:
        summary = condition(ConditionType.READY, *refusals[state], status=False)
    elif summary.status is True:
        summary = condition(
            ConditionType.READY,
            Reason.READY,
            f"The certificate is in Secret {view.certificate.secret_name}.",
            status=True,
        )
    return [issued, revoked, deployed, summary]


def _issued(view: CertificateView) -> tuple[ConditionType, Reason, str, bool]:
    if view.facts is not None:
        return ConditionType.ISSUED, Reason.ISSUED, "The managed CA of the namespace signed it.", True
    if view.obstacle is not None:
        return ConditionType.ISSUED, view.obstacle.reason, view.obstacle.message, False
    if view.certificate.revoked:
        return (
            ConditionType.ISSUED,
            Reason.CERTIFICATE_REVOKED,
            "Nothing is issued to a revoked object: set spec.revoked to false first.",
            False,
        )
    return ConditionType.ISSUED, Reason.PENDING, "The certificate is being issued.", False


def _revoked(view: CertificateView, state: CertificateState, condition: MakeCondition) -> Condition:
    record = view.record
    kind = ConditionType.REVOKED
    if state is CertificateState.PENDING_REVOCATION:
        return condition(kind, Reason.REVOCATION_PENDING, _waiting(view), status=False)
    if record is not None and record.entry is Entry.REVOKED:
        if not view.certificate.revoked and not may_restore(record, view.certificate.meta.uid):
            message = f"Revoked for {record.reason.value}, which cannot be taken back: create a new ClientCertificate."
            return condition(kind, Reason.RESTORE_REFUSED, message, status=True)
        return condition(
            kind, Reason.REVOKED, f"Every proxy refuses it; the reason is {record.reason.value}.", status=True
        )
    if view.certificate.revoked and view.facts is None:
        return condition(kind, Reason.REVOKED, "It was revoked before anything was issued.", status=True)
    return condition(kind, Reason.NOT_REVOKED, "It is not revoked.", status=False)


def _deployed(view: CertificateView, state: CertificateState, condition: MakeCondition) -> Condition:
    kind = ConditionType.DEPLOYED
    if state in (CertificateState.PENDING, CertificateState.FAILED):
        return condition(kind, Reason.PENDING, "There is no certificate yet.", status=False)
    if state is CertificateState.PENDING_REVOCATION:
        return condition(kind, Reason.REVOCATION_PENDING, _waiting(view), status=False)
    if state is CertificateState.PENDING_REACTIVATION:
        return condition(kind, Reason.REACTIVATION_PENDING, _waiting(view), status=False)
    return condition(kind, Reason.DEPLOYED, "Every proxy of the namespace knows its state.", status=True)


def _waiting(view: CertificateView) -> str:
    if view.record is None:
        return "The revocation is being recorded."
    return f"Waiting for {view.waiting_for or 'the list to be published'}."


def broken_status(previous: Mapping[str, Any], meta: Meta, error: str, *, now: datetime) -> dict[str, Any]:
    """Return the status of an object that cannot be read: what was issued stays as it is, and is still reported."""
    issued = Condition(ConditionType.ISSUED, False, Reason.INVALID_SPEC, error, meta.generation)
    summary = ready([issued], [ConditionType.ISSUED])
    status = {key: value for key, value in previous.items() if key != "conditions"}
    status |= {
        "state": CertificateState.FAILED.value,
        "conditions": merge_conditions(conditions_of(previous), [issued, summary], now=now),
    }
    return status
