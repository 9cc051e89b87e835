"""Whether a client certificate is valid at a moment under some CAs: what a person is told, offline.

The proxies decide by themselves (BoringSSL's path validation in the handshake, the rules script per request); this
is the same for the chains that are in use: leaf, intermediates that the client sends or that are trusted, a trusted
CA. Name constraints and policies are not looked at: a CA that has them is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mtls_operator.pki.authority import require_authority
from mtls_operator.pki.certificate import (
    CertificateFacts,
    facts_of,
    find_extension,
    parse_certificate,
    to_bytes,
)
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import rfc3339, utc

#: Longest chain between leaf and trusted CA, as the proxies are configured (``max_verify_depth``).
MAX_INTERMEDIATES: Final = 4
_NOT_LOOKED_AT: Final = frozenset(
    {ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY}
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a client certificate is worth: ``problem`` is empty when it is valid, and then ``issuer`` signed it."""

    leaf: CertificateFacts
    issuer: CertificateFacts | None
    problem: str


def judge_client(chain_pem: bytes | str, ca_pem: bytes | str, *, now: datetime) -> Judged:
    """Judge the first certificate of a PEM; the others are intermediates that the client sends along.

    Raises:
        PkiError: a certificate cannot be read, or a CA on the way limits names or policies: the proxies then look at
            more than is looked at here.
    """
    moment = utc(now)
    leaf, *sent = _certificates(chain_pem)
    trusted = _certificates(ca_pem)
    problem = _leaf_problem(leaf, moment)
    issuers, why = _path(leaf, sent, trusted, moment)
    if not issuers:
        return Judged(facts_of(leaf), None, problem or why)
    return Judged(facts_of(leaf), None if problem else facts_of(issuers[0]), problem)


def _certificates(pem: bytes | str) -> list[x509.Certificate]:
    parse_certificate(pem)
    with refusing(Reason.INVALID_CERTIFICATE, "a certificate cannot be read"):
        return x509.load_pem_x509_certificates(to_bytes(pem))


def _leaf_problem(leaf: x509.Certificate, moment: datetime) -> str:
    usage = find_extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        return "its extended key usage does not include clientAuth"
    key_usage = find_extension(leaf, x509.KeyUsage)
    if key_usage is not None and not (key_usage.digital_signature or key_usage.key_agreement):
        return "its key usage does not include digitalSignature"
    return _time_problem(leaf, moment)


def _time_problem(certificate: x509.Certificate, moment: datetime) -> str:
    if moment < certificate.not_valid_before_utc:
        return f"it is valid from {rfc3339(certificate.not_valid_before_utc)} on only"
    if moment >= certificate.not_valid_after_utc:
        return f"it expired at {rfc3339(certificate.not_valid_after_utc)}"
    return ""


def _path(
    leaf: x509.Certificate,
    sent: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
    moment: datetime,
) -> tuple[tuple[x509.Certificate, ...], str]:
    """Return the issuers from the leaf's up to a trusted CA, or none and why there is no such path."""
    why = "no CA that is trusted has signed it"
    waiting: list[tuple[x509.Certificate, ...]] = [()]
    while waiting:
        path = waiting.pop(0)
        below = path[-1] if path else leaf
        for issuer in (*trusted, *sent):
            if issuer in path or not _signed(below, issuer):
                continue
            problem = _issuer_problem(issuer, len(path), moment)
            if problem:
                why = f"of its issuer {issuer.subject.rfc4514_string()}: {problem}"
            elif issuer in trusted:
                return (*path, issuer), ""
            elif len(path) < MAX_INTERMEDIATES:
                waiting.append((*path, issuer))
    return (), why


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _issuer_problem(issuer: x509.Certificate, intermediates: int, moment: datetime) -> str:
    try:
        require_authority(issuer)
    except PkiError:
        return "it may not sign certificates"
    limits = [extension.oid for extension in issuer.extensions if extension.oid in _NOT_LOOKED_AT]
    if limits:
        raise PkiError(
            Reason.INVALID_CERTIFICATE,
            f"the CA {issuer.subject.rfc4514_string()} limits names or policies, which is not looked at here.",
        )
    constraints = find_extension(issuer, x509.BasicConstraints)
    longest = constraints.path_length if constraints is not None else None
    if longest is not None and intermediates > longest:
        return "its path length does not allow a CA below it"
    return _time_problem(issuer, moment)
