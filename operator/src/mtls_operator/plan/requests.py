"""Requests to revoke a serial number that no object names: may it be done, and what does the ledger get?

A request is a ConfigMap in the operator's namespace, which only administrators can write. A serial number is typed by
people, and the proxies know a certificate by its index alone: a wrong digit must neither revoke somebody else's
certificate nor ask for a list of half a gigabyte. A request that holds the certificate itself proves its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.certificate import FINAL_REASONS, RevocationReason
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import (
    CertificateFacts,
    PkiError,
    format_serial,
    has_index,
    index_of,
    is_issued_by,
    key_digest_of,
    parse_serial,
    read_certificate,
)
from mtls_operator.plan.authority import INDEX_BLOCK, Phase, Stored, labels_of
from mtls_operator.plan.capacity import beyond_the_list
from mtls_operator.plan.ledger import RECORD_STEP, Entry, Record
from mtls_operator.plan.objects import Document, config_map, metadata
from mtls_operator.plan.rotation import generation_of_serial

#: Role of the ConfigMap of a request.
REQUEST_ROLE: Final = "revocation-request"
SERIAL_KEY: Final = "serial"
REASON_KEY: Final = "reason"
#: How far above the reserved indices one is believed without its certificate: after a restore the count is behind.
AHEAD: Final = 64 * INDEX_BLOCK


class RequestRefusedError(Exception):
    """A request that cannot be granted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; ``certificate_pem`` is empty where only the number is known."""

    serial: str
    reason: RevocationReason
    certificate_pem: str = ""

    @property
    def index(self) -> int:
        """The index of the certificate in the lists of its CA."""
        return index_of(parse_serial(self.serial))


@dataclass(frozen=True, slots=True)
class Grant:
    """What to do for a request: nothing (it is revoked already), or a record.

    ``index`` must never be given out, before the record is written.
    """

    index: int
    record: Record | None


def request_document(
    operator_namespace: str, namespace: str, namespace_uid: str, request: Request
) -> Document:
    """Return the ConfigMap of a request."""
    data = {SERIAL_KEY: request.serial, REASON_KEY: request.reason.value}
    if request.certificate_pem:
        data[names.TLS_CERT_KEY] = request.certificate_pem
    name = names.revocation_request(namespace, request.serial)
    labels = labels_of(namespace, namespace_uid)
    return config_map(metadata(operator_namespace, name, role=REQUEST_ROLE, labels=labels), data)


def read_request(data: Mapping[str, object]) -> Request:
    """Read the content of a request's ConfigMap.

    Raises:
        RequestRefusedError: it cannot be read, or is about a certificate that no CA of ours can have issued.
    """
    pem = str(data.get(names.TLS_CERT_KEY) or "")
    text = str(data.get(SERIAL_KEY) or "")
    try:
        facts = read_certificate(pem) if pem else None
        if not text and facts is None:
            raise RequestRefusedError(f"It has neither {SERIAL_KEY} nor {names.TLS_CERT_KEY}.")
        serial = format_serial(parse_serial(text)) if text else ""
    except PkiError as error:
        raise RequestRefusedError(str(error)) from error
    if facts is not None and serial not in ("", facts.serial):
        raise RequestRefusedError(f"The certificate has the serial number {facts.serial}, not {serial}.")
    serial = serial or (facts.serial if facts is not None else "")
    if not has_index(parse_serial(serial)):
        raise RequestRefusedError(f"No CA of ours gives out serial numbers like {serial}.")
    written = str(data.get(REASON_KEY) or RevocationReason.UNSPECIFIED.value)
    try:
        reason = RevocationReason(written)
    except ValueError:
        known = ", ".join(one.value for one in RevocationReason)
        raise RequestRefusedError(f"{written[:80]!r} is no reason: it is one of {known}.") from None
    return Request(serial, reason, pem)


def judge(  # noqa: PLR0913 - what a grant rests on, most of it by keyword
    request: Request,
    generations: Sequence[Stored],
    ledger: Mapping[str, Record],
    *,
    proved: Mapping[str, datetime],
    claimed: Mapping[str, datetime],
    now: datetime,
) -> Grant:
    """Return what to do for a request.

    ``proved`` are the serial numbers of certificates that our CAs signed, with their ends; ``claimed`` are those of
    statuses, which count only against a number that was typed.

    Raises:
        RequestRefusedError: it cannot be granted.
    """
    facts = read_certificate(request.certificate_pem) if request.certificate_pem else None
    issuer = _issuer(request, facts, generations, now=now)
    others = dict(proved) if facts is not None else {**claimed, **proved}
    others |= {serial: record.not_after for serial, record in ledger.items()}
    _require_alone(request, others, ledger, now=now)
    before = ledger.get(request.serial)
    if before is not None and before.entry is Entry.REVOKED and not _graver(request, before):
        return Grant(request.index, None)
    key = key_digest_of(request.certificate_pem) if facts is not None else ""
    end = facts.not_after if facts is not None else issuer.authority.facts.not_after
    record = Record(
        serial=request.serial,
        entry=Entry.REVOKED,
        at=now if before is None else max(now, before.at + RECORD_STEP),
        not_after=end if before is None else max(end, before.not_after),
        reason=request.reason,
        # Nobody's: no object may take it back.
        owner="",
        owner_uid="",
        key=key or (before.key if before is not None else ""),
        extra=before.extra if before is not None else (),
    )
    return Grant(request.index, record)


def _issuer(
    request: Request, facts: CertificateFacts | None, generations: Sequence[Stored], *, now: datetime
) -> Stored:
    """Return the generation that gave out a number, or may have."""
    active = next((stored for stored in generations if stored.phase is Phase.ACTIVE), None)
    if active is None:
        raise RequestRefusedError("The namespace has no CA that signs.")
    signer = None
    if facts is not None:
        signer = next(
            (stored for stored in generations if is_issued_by(stored.authority, request.certificate_pem)),
            None,
        )
        if signer is None:
            raise RequestRefusedError("The certificate was not signed by a CA of this namespace.")
        if facts.not_after <= now:
            raise RequestRefusedError(
                f"The certificate has expired at {format_timestamp(facts.not_after)}: it is refused already."
            )
    if (signer is None or signer.given_by) and request.index >= active.next_index + AHEAD:
        raise RequestRefusedError(
            f"The CA has given out the numbers below {active.next_index}, and this one is {request.index}: check the "
            f"last eight digits, or {_OTHERWISE if signer is not None else _PROOF}."
        )
    if beyond_the_list(generations, request.index):
        raise RequestRefusedError(
            f"No list has room for the number {request.index}, and this operator has not given it out: whoever signed "
            "it has the key of the CA. Replace the CA with 'kubectl mtls ca rotate --compromised'."
        )
    owner = generation_of_serial(request.serial, generations)
    found = next((stored for stored in generations if stored.generation == owner), None)
    if found is None or (signer is not None and signer.generation != found.generation):
        raise RequestRefusedError(
            "Its number lies among those of another generation of the CA, so no list can name it: replace the CA that "
            "signed it with 'kubectl mtls ca rotate --compromised'."
        )
    return found


_PROOF: Final = "give the certificate itself"
_OTHERWISE: Final = (
    "replace the CA with 'kubectl mtls ca rotate --compromised' if somebody else has signed with its key"
)


def _require_alone(
    request: Request, others: Mapping[str, datetime], ledger: Mapping[str, Record], *, now: datetime
) -> None:
    """Refuse a number whose index a valid certificate has: proxies could not tell the two apart."""
    for serial in sorted(_with_index(others, request.index)):
        record = ledger.get(serial)
        revoked = record is not None and record.entry is Entry.REVOKED
        if serial != request.serial and others[serial] > now and not revoked:
            raise RequestRefusedError(
                f"Certificate {serial} has the same last eight digits and would be refused too. If the number is not "
                "mistyped, replace and revoke that certificate first."
            )


def _with_index(serials: Iterable[str], index: int) -> Iterable[str]:
    for serial in serials:
        try:
            number = parse_serial(serial)
        except PkiError:
            continue
        if has_index(number) and index_of(number) == index:
            yield serial


def _graver(request: Request, before: Record) -> bool:
    return request.reason in FINAL_REASONS and before.reason not in FINAL_REASONS
