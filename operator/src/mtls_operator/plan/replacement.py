"""When the certificate of a ClientCertificate is replaced, and why: its age, its spec, its CA, or somebody's wish."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from mtls_operator.api.certificate import ClientCertificate, RenewalPolicy
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import CertificateFacts
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.renewal import Life, Wish, decide, fraction, reminders
from mtls_operator.plan.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Replacement:
    """When a certificate is replaced, and why; ``obstacle``: why that was not possible.

    ``by_owner``: its key is not here, so that its owner does it. Then ``due`` is when the status is to be looked at
    again, and ``reminder`` counts how often the owner was reminded by now.
    """

    at: datetime
    due: datetime
    why: str
    obstacle: Trouble | None = None
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


def next_replacement(  # noqa: PLR0913 - what a renewal rests on, all by keyword
    certificate: ClientCertificate,
    facts: CertificateFacts,
    *,
    issued_for_digest: str,
    renewed_for: str,
    signed_by: Stored | None,
    active: Stored | None,
    reissue_window: timedelta,
    now: datetime,
) -> Replacement | None:
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
        return Replacement(wished, wished, _WISHED) if wished is not None else None
    uid = certificate.meta.uid
    life = Life(facts.not_before, facts.not_after, active.authority.facts.not_after)
    own_key = certificate.request is None
    wish = Wish(before=certificate.renewal.before, own_key=own_key)
    decision = decide(life, wish, uid=uid, revoked=False, now=now)
    at = decision.due or facts.not_after
    due, why = decision.look_again or facts.not_after, "it comes to its end"
    if signed_by is not None and signed_by.generation < active.generation:
        begun = active.signs_since(now=now)
        moment = begun + reissue_window * fraction(uid) if signed_by.trusted else now
        if moment < due:
            due, why = moment, "a new CA signs"
    if issued_for_digest and issued_for_digest != issued_for(certificate) and (own_key is False or now < due):
        return Replacement(at, min(now, due), "its spec was changed")
    if wished is not None and (wished < due or not own_key):
        return Replacement(min(at, wished), wished, _WISHED)
    return Replacement(at, due, why) if own_key else _by_owner(at, min(at, due), why, facts, now=now)


def _by_owner(
    at: datetime, first: datetime, why: str, facts: CertificateFacts, *, now: datetime
) -> Replacement:
    """Return when the owner of a key is reminded, from the ``first`` time on."""
    moments = reminders(first, facts.not_after)
    following = next((moment for moment in moments if moment > now), facts.not_after)
    passed = sum(moment <= now for moment in moments)
    return Replacement(at, following, why, by_owner=True, reminder=passed)


_WISHED = "somebody asked for it"
