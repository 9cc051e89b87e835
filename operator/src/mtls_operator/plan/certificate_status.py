"""What the status of a ClientCertificate says; fields without a value are left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mtls_operator.api.certificate import CertificateState
from mtls_operator.api.conditions import (
    Condition,
    MakeCondition,
    conditions_for,
    conditions_of,
    merge_conditions,
    ready,
)
from mtls_operator.api.meta import Meta
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.plan.certificate import CertificateView, state_of
from mtls_operator.plan.ledger import Entry, may_restore


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
        if certificate.request is not None:
            status["certificate"] = view.pem
    if view.renewal is not None and state is not CertificateState.REVOKED:
        status["renewalTime"] = format_timestamp(view.renewal.at)
    if view.former:
        status["previous"] = [
            {"serialNumber": serial, "notAfter": format_timestamp(end)}
            for serial, end in list(view.former.items())[-_PREVIOUS:]
        ]
    if view.record is not None and view.record.entry is Entry.REVOKED:
        status["revokedAt"] = format_timestamp(view.record.at)
        if certificate.revoked and certificate.revoked_through:
            status["revokedThrough"] = certificate.revoked_through
    status["conditions"] = merge_conditions(conditions_of(certificate.status), conditions, now=view.now)
    return status


#: As many as the schema takes; the ledger knows all.
_PREVIOUS = 100
_OF_ISSUED = (
    *("serialNumber", "fingerprintSha256", "subject", "issuer", "notBefore", "notAfter"),
    "certificate",
)


def _conditions(view: CertificateView, state: CertificateState) -> list[Condition]:
    condition = conditions_for(view.certificate.meta.generation)
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
        reason, message, status = _ready(view)
        summary = condition(ConditionType.READY, reason, message, status=status)
    return [issued, revoked, deployed, summary]


def _ready(view: CertificateView) -> tuple[Reason, str, bool]:
    """Return what ``Ready`` says of a certificate that is issued, known to every proxy and not revoked."""
    certificate, renewal = view.certificate, view.renewal
    if view.distrusted and certificate.request is not None:
        message = "The CA that signed it was retired, so that no proxy accepts it. " + _NEW_REQUEST
        return Reason.RENEWAL_REQUIRED, message, False
    if view.distrusted:
        return Reason.CA_ROTATION, "The CA that signed it was retired: no proxy accepts it any more.", False
    if view.ahead:
        return Reason.PROXY_PENDING, _AHEAD, False
    if view.contents is not None:
        message = f"The certificate is issued; what belongs beside it is not written: {view.contents.message}"
        return view.contents.reason, message, False
    if renewal is not None and renewal.obstacle is not None:
        message = f"It is valid, but could not be renewed although {renewal.why}: {renewal.obstacle.message}"
        return Reason.RENEWAL_FAILED, message, True
    if renewal is not None and renewal.by_owner and renewal.reminder:
        end = format_timestamp(view.facts.not_after) if view.facts is not None else ""
        message = (
            f"It is valid until {end} and must be renewed by the owner of its key, because {renewal.why} "
            f"(reminder {renewal.reminder}). {_NEW_REQUEST}"
        )
        return Reason.RENEWAL_REQUIRED, message, True
    if certificate.request is not None:
        return Reason.READY, "The certificate is in status.certificate.", True
    return Reason.READY, f"The certificate is in Secret {certificate.secret_name}.", True


_AHEAD = (
    "Not every proxy trusts the CA that signed it yet, which took the place of a compromised one at once: some refuse "
    "it (files take up to two minutes; see the condition Deployed of the hosts)."
)
_NEW_REQUEST = (
    "Create a new ClientCertificate with a new spec.request; delete this one when it is no longer used."
)


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
            kind,
            Reason.REVOKED,
            f"Every proxy knows that it is revoked; the reason is {record.reason.value}.",
            status=True,
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
