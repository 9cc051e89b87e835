"""Certificate revocation lists (RFC 5280, 5): signed for other gateways, read with their signature checked.

Only complete lists of one CA are read. A partial, delta or indirect list would be taken for the whole truth
about a CA, so its (critical) extensions are refused, as section 5.2 demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki.authority import Authority
from mtls_operator.pki.certificate import find_extension, parse_certificate, to_bytes
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import after, utc
from mtls_operator.pki.revocation import Revocation, merge
from mtls_operator.pki.serial import format_serial, parse_serial

_FLAGS: Final[Mapping[RevocationReason, x509.ReasonFlags]] = MappingProxyType(
    {
        RevocationReason.UNSPECIFIED: x509.ReasonFlags.unspecified,
        RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
        RevocationReason.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
        RevocationReason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
        RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
        RevocationReason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
        RevocationReason.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
        RevocationReason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
        RevocationReason.AA_COMPROMISE: x509.ReasonFlags.aa_compromise,
    }
)
REASONS: Final = MappingProxyType({flag: reason for reason, flag in _FLAGS.items()})
#: Extensions that do not change what a list means; every other critical one does.
HARMLESS: Final = frozenset({ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER})
HARMLESS_IN_ENTRY: Final = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})
BROKEN_DIGESTS: Final = (hashes.MD5, hashes.SHA1)
_NUMBER_LIMIT: Final = 2**159
VerifyingKey = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | dsa.DSAPublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
)


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """One line of a list that was read: the serial in the form of `format_serial`, when and why."""

    serial: str
    revoked_at: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class CrlFacts:
    """A list whose signature was checked: entries by serial, no ``number`` where an old CA gives none."""

    number: int | None
    this_update: datetime
    next_update: datetime
    revocations: tuple[CrlEntry, ...]


def sign_crl(
    authority: Authority,
    revocations: Iterable[Revocation],
    *,
    number: int,
    now: datetime,
    lifetime: timedelta,
) -> str:
    """Return a signed complete v2 list in PEM with AKI and CRL number; each serial stands in it once.

    ``number`` must grow from list to list (RFC 5280, 5.2.3); a reason is written unless it is Unspecified
    (5.3.1). Raises `PkiError` for a CA without ``cRLSign``, a number over 20 bytes, or a lifetime under a
    second.
    """
    signer = authority.signer
    if not signer.may_sign_lists:
        raise PkiError(
            Reason.NOT_AN_AUTHORITY, "the CA may not sign revocation lists: keyUsage cRLSign is missing."
        )
    if not 0 <= number < _NUMBER_LIMIT:
        raise PkiError(Reason.INVALID_CRL, "the number of a CRL is not negative and at most 20 bytes long.")
    # All entries at once: the fluent method copies the list for every entry, which is quadratic.
    builder = x509.CertificateRevocationListBuilder(
        revoked_certificates=[_entry(revocation) for revocation in merge(revocations)]
    )
    signed = (
        builder.issuer_name(signer.name)
        .last_update(utc(now))
        .next_update(after(utc(now), lifetime))
        .add_extension(signer.key_identifier, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
        .sign(signer.key, signer.digest)
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(parse_serial(revocation.serial))
        .revocation_date(utc(revocation.revoked_at))
    )
    if revocation.reason is not RevocationReason.UNSPECIFIED:
        builder = builder.add_extension(x509.CRLReason(_FLAGS[revocation.reason]), critical=False)
    return builder.build()


def read_crl(pem: bytes | str, issuer: Authority | bytes | str) -> CrlFacts:
    """Return the content of a list after checking that this very CA signed it; raise `PkiError` otherwise.

    ``issuer`` is an authority or the PEM of its certificate. Refused too: SHA-1 and MD5 signatures, a
    missing ``nextUpdate``, unknown critical extensions (partial, delta and indirect lists). Whether the
    list is stale is for the caller, who knows the time.
    """
    certificate = parse_certificate(issuer.certificate_pem if isinstance(issuer, Authority) else issuer)
    with refusing(Reason.INVALID_CRL, "the CRL cannot be read"):
        crl = x509.load_pem_x509_crl(to_bytes(pem))
        _require_signature(crl, certificate)
        _require_complete(crl)
        return _facts(crl)


def _refuse(what: str) -> PkiError:
    return PkiError(Reason.INVALID_CRL, f"the CRL {what}.")


def _require_signature(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    usage = find_extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        raise _refuse("is not acceptable: its CA may not sign CRLs (keyUsage cRLSign)")
    if crl.issuer != issuer.subject:
        raise _refuse("names another issuer than this CA")
    if isinstance(crl.signature_hash_algorithm, BROKEN_DIGESTS):
        raise _refuse("is signed with a broken digest (MD5 or SHA-1)")
    key = issuer.public_key()
    if not isinstance(key, VerifyingKey) or not crl.is_signature_valid(key):
        raise _refuse("does not bear a valid signature of this CA")


def _require_complete(crl: x509.CertificateRevocationList) -> None:
    for extension in crl.extensions:
        if extension.critical and extension.oid not in HARMLESS:
            raise _refuse(
                f"has the critical extension {extension.oid.dotted_string}: only complete lists are read"
            )


def _facts(crl: x509.CertificateRevocationList) -> CrlFacts:
    this_update, next_update = crl.last_update_utc, crl.next_update_utc
    if next_update is None or next_update <= this_update:
        raise _refuse("does not say until when it is valid (nextUpdate)")
    numbers = [one.value.crl_number for one in crl.extensions if isinstance(one.value, x509.CRLNumber)]
    return CrlFacts(
        number=numbers[0] if numbers else None,
        this_update=this_update,
        next_update=next_update,
        revocations=tuple(sorted(map(_read_entry, crl), key=lambda entry: entry.serial)),
    )


def _read_entry(entry: x509.RevokedCertificate) -> CrlEntry:
    reason = RevocationReason.UNSPECIFIED
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            known = REASONS.get(extension.value.reason)
            if known is None:
                raise _refuse("contains removeFromCRL, which only a delta list may")
            reason = known
        elif extension.critical and extension.oid not in HARMLESS_IN_ENTRY:
            raise _refuse(f"has an entry with the critical extension {extension.oid.dotted_string}")
    return CrlEntry(
        serial=format_serial(entry.serial_number), revoked_at=entry.revocation_date_utc, reason=reason
    )
