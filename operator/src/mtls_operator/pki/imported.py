"""Revocation lists of CAs that users bring (RFC 5280, 5): PEM or DER, several in one file, each taken or refused.

A list counts only when one of the trusted CAs signed it, and only as the whole truth about that CA: partial, delta
and indirect lists are refused. Whose a list is, is decided by the signature; name and key identifier only say where
to look. A list that is past its ``nextUpdate`` is read and marked; what that means is the user's choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID

from mtls_operator.pki.certificate import find_extension
from mtls_operator.pki.crl import BROKEN_DIGESTS, HARMLESS, HARMLESS_IN_ENTRY, REASONS, VerifyingKey
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import CLOCK_SKEW, rfc3339, utc
from mtls_operator.pki.pem import Block, blocks
from mtls_operator.pki.subject import name_text
from mtls_operator.pki.trusted import TrustedCa

#: Lists in one file, and certificates in one list: more do not fit into what proxies load.
MAX_LISTS: Final = 16
MAX_REVOKED: Final = 100_000

_DER_SEQUENCE: Final = b"\x30"
_LABEL: Final = "X509 CRL"
#: Serials are at most 20 bytes (RFC 5280, 4.1.2.2); CAs that break this rule are not let off.
_LONGEST_SERIAL: Final = 64


class CrlRefusal(StrEnum):
    """Why a list does not count."""

    UNREADABLE = "Unreadable"
    NOT_A_LIST = "NotAList"
    TOO_MANY = "TooMany"
    TOO_LARGE = "TooLarge"
    WRONG_ISSUER = "WrongIssuer"
    NO_CRL_SIGN = "NoCRLSign"
    BAD_SIGNATURE = "BadSignature"
    WEAK_SIGNATURE = "WeakSignature"
    DELTA = "Delta"
    INDIRECT = "Indirect"
    PARTIAL = "Partial"
    UNKNOWN_CRITICAL_EXTENSION = "UnknownCriticalExtension"
    UNKNOWN_ENTRY = "UnknownEntry"
    NO_NEXT_UPDATE = "NoNextUpdate"
    NOT_YET_VALID = "NotYetValid"
    SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True)
class ImportedCrl:
    """A list that counts: ``issuers`` are the digests of the trusted certificates of the CA that signed it.

    They are several where a CA was renewed with its key. ``serials`` are upper-case hex in whole bytes, as in
    `format_serial`. ``reasons`` counts the entries by reason; every one of them is revoked, a hold too.
    """

    index: int
    issuer: str
    issuers: tuple[str, ...]
    number: int | None
    this_update: datetime
    next_update: datetime
    stale: bool
    serials: frozenset[str] = field(repr=False)
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class RefusedCrl:
    """A list that does not count: its place in the file from 1, the issuer that it names, and why."""

    index: int
    issuer: str
    reason: CrlRefusal
    message: str

    def __str__(self) -> str:
        named = f" (of {self.issuer})" if self.issuer else ""
        return f"list {self.index}{named} {self.message}."


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file of lists comes to; ``look_again`` is when time alone changes the answer."""

    accepted: tuple[ImportedCrl, ...]
    refused: tuple[RefusedCrl, ...]
    look_again: datetime | None = None

    def revoked_by(self, issuer_digest: str) -> frozenset[str] | None:
        """Return the serials that are revoked by a CA; None where no list speaks of it."""
        found = [crl.serials for crl in self.accepted if issuer_digest in crl.issuers]
        return frozenset().union(*found) if found else None


class _RefusedError(Exception):
    def __init__(self, reason: CrlRefusal, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


def read_crls(data: bytes, issuers: Iterable[TrustedCa], *, now: datetime) -> Imported:
    """Return which lists of a file count, and every other one with its place and reason.

    ``data`` is one list in DER or any number in PEM. Of several lists of one CA the newest counts. Never raises
    for what stands in the file; a file without any list is itself refused.
    """
    trusted, moment = tuple(issuers), utc(now)
    accepted: list[ImportedCrl] = []
    refused: list[RefusedCrl] = []
    moments: list[datetime] = []
    for index, block in enumerate(_blocks(data), start=1):
        issuer = ""
        try:
            crl = _list(index, block)
            issuer = _issuer(crl)
            moments += [crl.last_update_utc - CLOCK_SKEW, crl.next_update_utc or moment]
            accepted.append(_take(index, crl, trusted, now=moment))
        except PkiError as error:
            refused.append(RefusedCrl(index, issuer, CrlRefusal.UNREADABLE, error.message.rstrip(".")))
        except _RefusedError as error:
            refused.append(RefusedCrl(index, issuer, error.reason, error.message))
    newest = _newest(accepted)
    refused += [
        RefusedCrl(
            crl.index, crl.issuer, CrlRefusal.SUPERSEDED, "is older than another list of the same CA here"
        )
        for crl in accepted
        if crl not in newest
    ]
    return Imported(
        accepted=newest,
        refused=tuple(sorted(refused, key=lambda one: one.index)),
        look_again=min((one for one in moments if one > moment), default=None),
    )


def goes_back(before: ImportedCrl, after: ImportedCrl) -> bool:
    """Say whether a list that replaces another one of the same CA is the older of the two.

    An old list that is still within its time is genuine, and would take back what was revoked since.
    """
    return _age(after) < _age(before)


def _age(crl: ImportedCrl) -> tuple[datetime, int]:
    return crl.this_update, -1 if crl.number is None else crl.number


def _newest(accepted: Iterable[ImportedCrl]) -> tuple[ImportedCrl, ...]:
    newest: dict[tuple[str, ...], ImportedCrl] = {}
    for crl in accepted:
        other = newest.get(crl.issuers)
        if other is None or goes_back(crl, other):
            newest[crl.issuers] = crl
    return tuple(sorted(newest.values(), key=lambda crl: crl.index))


def _blocks(data: bytes) -> Iterator[Block]:
    if data.startswith(_DER_SEQUENCE):
        yield Block(_LABEL, der=data)
        return
    found = False
    for block in blocks(data):
        found = True
        yield block
    if not found:
        yield Block(_LABEL, problem="is missing: there is no PEM block X509 CRL, and no DER")


def _list(index: int, block: Block) -> x509.CertificateRevocationList:
    if index > MAX_LISTS:
        raise _RefusedError(CrlRefusal.TOO_MANY, f"is one too many: a file has at most {MAX_LISTS}")
    if block.label != _LABEL:
        raise _RefusedError(
            CrlRefusal.NOT_A_LIST, f"is a PEM block {block.label or 'without a name'}, not {_LABEL}"
        )
    if block.problem:
        raise _RefusedError(CrlRefusal.UNREADABLE, block.problem)
    with refusing(Reason.INVALID_CRL, "cannot be read"):
        return x509.load_der_x509_crl(block.der)


def _issuer(crl: x509.CertificateRevocationList) -> str:
    with refusing(Reason.INVALID_CRL, "does not say whose it is"):
        return name_text(crl.issuer)


def _take(
    index: int, crl: x509.CertificateRevocationList, trusted: tuple[TrustedCa, ...], *, now: datetime
) -> ImportedCrl:
    with refusing(Reason.INVALID_CRL, "cannot be read"):
        signer = _signer(crl, trusted)
        _require_whole(crl)
        next_update = _require_time(crl, now=now)
        if len(crl) > MAX_REVOKED:
            raise _RefusedError(
                CrlRefusal.TOO_LARGE, f"has {len(crl)} entries; at most {MAX_REVOKED} are supported"
            )
        reasons: Counter[str] = Counter()
        serials = frozenset(_serial(entry, reasons) for entry in crl)
        numbers = [one.value.crl_number for one in crl.extensions if isinstance(one.value, x509.CRLNumber)]
    return ImportedCrl(
        index=index,
        issuer=signer.subject,
        issuers=tuple(
            sorted(
                ca.digest
                for ca in trusted
                if ca.key_digest == signer.key_digest and ca.certificate.subject == crl.issuer
            )
        ),
        number=numbers[0] if numbers else None,
        this_update=crl.last_update_utc,
        next_update=next_update,
        stale=now >= next_update,
        serials=serials,
        reasons=tuple(sorted(reasons.items())),
    )


def _signer(crl: x509.CertificateRevocationList, trusted: tuple[TrustedCa, ...]) -> TrustedCa:
    """Return the CA whose key signed a list, among those with the name that the list gives."""
    named = [ca for ca in trusted if ca.certificate.subject == crl.issuer]
    if not named:
        raise _RefusedError(CrlRefusal.WRONG_ISSUER, "is not of a CA that is trusted here")
    if isinstance(crl.signature_hash_algorithm, BROKEN_DIGESTS):
        raise _RefusedError(CrlRefusal.WEAK_SIGNATURE, "is signed with a broken digest (MD5 or SHA-1)")
    wanted = _key_identifier(crl)
    # The one that the list points to first; the others only because an identifier proves nothing.
    signers = [ca for ca in sorted(named, key=lambda ca: ca.ski != wanted) if _signed_by(crl, ca)]
    if not signers:
        raise _RefusedError(
            CrlRefusal.BAD_SIGNATURE, "does not bear a valid signature of the trusted CA of that name"
        )
    able = [ca for ca in signers if _may_sign_lists(ca)]
    if not able:
        raise _RefusedError(
            CrlRefusal.NO_CRL_SIGN, "is of a CA that may not sign lists (keyUsage cRLSign is missing)"
        )
    return able[0]


def _signed_by(crl: x509.CertificateRevocationList, ca: TrustedCa) -> bool:
    key = ca.certificate.public_key()
    return isinstance(key, VerifyingKey) and crl.is_signature_valid(key)


def _may_sign_lists(ca: TrustedCa) -> bool:
    usage = find_extension(ca.certificate, x509.KeyUsage)
    return usage is None or usage.crl_sign


def _key_identifier(crl: x509.CertificateRevocationList) -> str:
    try:
        value = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (value.key_identifier or b"").hex().upper()


def _require_whole(crl: x509.CertificateRevocationList) -> None:
    """Raise for a list that is not everything its CA has revoked; also when it does not mark that as critical."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise _RefusedError(CrlRefusal.DELTA, "is a delta list: only complete lists are supported")
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl:
                raise _RefusedError(CrlRefusal.INDIRECT, "is an indirect list, which is not supported")
            raise _RefusedError(
                CrlRefusal.PARTIAL,
                "is limited to a part of the certificates (issuingDistributionPoint): only complete lists are "
                "supported",
            )
        if extension.critical and extension.oid not in HARMLESS:
            raise _RefusedError(
                CrlRefusal.UNKNOWN_CRITICAL_EXTENSION,
                f"has the unknown critical extension {extension.oid.dotted_string}",
            )


def _require_time(crl: x509.CertificateRevocationList, *, now: datetime) -> datetime:
    """Return until when a list is current; a list from the future, beyond what clocks differ, does not count yet."""
    next_update = crl.next_update_utc
    if next_update is None or next_update <= crl.last_update_utc:
        raise _RefusedError(CrlRefusal.NO_NEXT_UPDATE, "does not say until when it is current (nextUpdate)")
    if crl.last_update_utc - CLOCK_SKEW > now:
        raise _RefusedError(
            CrlRefusal.NOT_YET_VALID, f"is valid from {rfc3339(crl.last_update_utc)} on (thisUpdate)"
        )
    return next_update


def _serial(entry: x509.RevokedCertificate, reasons: Counter[str]) -> str:
    reason = "Unspecified"
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            known = REASONS.get(extension.value.reason)
            if known is None:
                raise _RefusedError(
                    CrlRefusal.DELTA, "has an entry removeFromCRL, which only a delta list may have"
                )
            reason = known.value
        elif extension.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER:
            raise _RefusedError(
                CrlRefusal.INDIRECT,
                "has entries of another issuer (an indirect list), which is not supported",
            )
        elif extension.critical and extension.oid not in HARMLESS_IN_ENTRY:
            raise _RefusedError(
                CrlRefusal.UNKNOWN_ENTRY,
                f"has an entry with the unknown critical extension {extension.oid.dotted_string}",
            )
    reasons[reason] += 1
    number = entry.serial_number
    if not 0 < number < 1 << 8 * _LONGEST_SERIAL:
        raise _RefusedError(
            CrlRefusal.UNKNOWN_ENTRY, "has an entry whose serial number no certificate can have"
        )
    text = f"{number:X}"
    return text.zfill(len(text) + len(text) % 2)
