"""What to do next for one ClientCertificate, and what its status says.

One decision at a time: the caller performs the step and asks again, so that a crash between any two writes leaves a
world from which the same chain goes on (guarantee G3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from mtls_operator.api import names
from mtls_operator.api.certificate import CertificateState, ClientCertificate, RenewalPolicy
from mtls_operator.api.conditions import Condition, conditions_of, merge_conditions, ready
from mtls_operator.api.meta import Meta
from mtls_operator.api.reason import ConditionType, Reason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import CertificateFacts
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.ledger import Entry, Record, may_restore
from mtls_operator.plan.renewal import Life, Wish, decide, fraction, reminders


class MakeCondition(Protocol):
    """Makes a condition of the generation that is being looked at."""

    def __call__(self, kind: ConditionType, reason: Reason, message: str, *, status: bool) -> Condition:
        """Return the condition."""


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
class Obstacle:
    """Why a certificate cannot be issued."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class CertificateView:
    """Everything that the decision rests on.

    ``facts`` are those of the certificate in the Secret (or, for a request, in the ConfigMap) that carries our
    object's UID, and ``pem`` is that certificate; there are none where it is missing or damaged. ``distrusted`` says
    that its CA counts no more. ``incomplete`` says that something else of what is ours is missing there or was edited,
    ``contents`` why that cannot be put back, or a keystore not be made. ``renewal`` says when the certificate is
    replaced. ``former`` are the earlier certificates of the object that still count, with their ends. ``record`` is the
    ledger's word on its serial number, ``in_force`` whether every proxy acknowledged the current list; ``waiting_for``
    names the proxies that did not. ``pending_records`` are records that the ledger still has to get for this object.
    """

    certificate: ClientCertificate
    facts: CertificateFacts | None
    obstacle: Obstacle | None
    record: Record | None
    in_force: bool
    waiting_for: str
    pending_records: bool
    now: datetime
    renewal: Renewal | None = None
    former: Mapping[str, datetime] = field(default_factory=dict)
    pem: str = ""
    distrusted: bool = False
    incomplete: bool = False
    contents: Obstacle | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """When a certificate is replaced, and why; ``obstacle``: why that was not possible.

    ``by_owner``: its key is not here, so that its owner does it. Then ``due`` is when the status is to be looked at
    again, and ``reminder`` counts how often the owner was reminded by now.
    """

    at: datetime
    due: datetime
    why: str
    obstacle: Obstacle | None = None
    by_owner: bool = False
    reminder: int = 0


def issued_for(certificate: ClientCertificate) -> str:
    """Return a digest of everything in a spec that stands in the certificate or its key: a change needs a new one."""
    subject = certificate.subject
    parts = [
        [getattr(subject, part.name) for part in fields(subject)],
        certificate.dns_names,
        certificate.uris,
        certificate.emails,
        certificate.ip_addresses,
        certificate.validity.total_seconds(),
        certificate.algorithm.value,
        certificate.key_size,
    ]
    if certificate.request is not None:
        parts.append(certificate.request)
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def granted(certificate: ClientCertificate, *, now: datetime) -> str:
    """Return the wish for a renewal that a certificate issued now grants; empty: none that is due."""
    wished = certificate.renew_at
    return format_timestamp(wished) if wished is not None and wished <= now else ""


def next_renewal(  # noqa: PLR0913 - what a renewal rests on, all by keyword
    certificate: ClientCertificate,
    facts: CertificateFacts,
    *,
    issued_for_digest: str,
    renewed_for: str,
    signed_by: Stored | None,
    active: Stored | None,
    reissue_window: timedelta,
    now: datetime,
) -> Renewal | None:
    """Return when and why a certificate is replaced; None: never.

    A wish (``renew_at``) is granted once, whatever the policy: ``renewed_for`` is the last that was. ``signed_by`` is
    the generation of the CA that signed it. When another one signs now, all certificates are issued anew within the
    window, each at a time of its own; at once when the old one counts no more.
    """
    if active is None:
        return None
    wished = certificate.renew_at
    if wished is not None and format_timestamp(wished) == renewed_for:
        wished = None
    if certificate.renewal.policy is RenewalPolicy.NEVER:
        return Renewal(wished, wished, _WISHED) if wished is not None else None
    uid = certificate.meta.uid
    life = Life(facts.not_before, facts.not_after, active.authority.facts.not_after)
    own_key = certificate.request is None
    wish = Wish(before=certificate.renewal.before, own_key=own_key)
    decision = decide(life, wish, uid=uid, revoked=False, now=now)
    at = decision.due or facts.not_after
    due, why = decision.look_again or facts.not_after, "it comes to its end"
    if signed_by is not None and signed_by.generation < active.generation:
        opened = active.authority.facts.not_before
        moment = opened + reissue_window * fraction(uid) if signed_by.trusted else now
        if moment < due:
            due, why = moment, "a new CA signs"
    if issued_for_digest and issued_for_digest != issued_for(certificate) and (own_key is False or now < due):
        return Renewal(at, min(now, due), "its spec was changed")
    if wished is not None and (wished < due or not own_key):
        return Renewal(min(at, wished), wished, _WISHED)
    return Renewal(at, due, why) if own_key else _by_owner(at, min(at, due), why, facts, now=now)


def _by_owner(at: datetime, first: datetime, why: str, facts: CertificateFacts, *, now: datetime) -> Renewal:
    """Return when the owner of a key is reminded, from the ``first`` time on."""
    moments = reminders(first, facts.not_after)
    following = next((moment for moment in moments if moment > now), facts.not_after)
    passed = sum(moment <= now for moment in moments)
    return Renewal(at, following, why, by_owner=True, reminder=passed)


_WISHED = "somebody asked for it"


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


def _is_due(renewal: Renewal | None, *, now: datetime) -> bool:
    """Say whether the certificate is to be replaced now."""
    return renewal is not None and not renewal.by_owner and renewal.obstacle is None and renewal.due <= now


def _is_revoked(view: CertificateView) -> bool:
    """Say whether the certificate is revoked, or is to be: nothing renews it, nothing is made of it any more."""
    return view.certificate.revoked or (view.record is not None and view.record.entry is Entry.REVOKED)


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
    status["conditions"] = merge_conditions(conditions_of(certificate.status), conditions, now=view.now)
    return status


#: As many as the schema takes; the ledger knows all.
_PREVIOUS = 100
_OF_ISSUED = (
    *("serialNumber", "fingerprintSha256", "subject", "issuer", "notBefore", "notAfter"),
    "certificate",
)


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
