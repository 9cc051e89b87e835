"""Issuing leaf certificates: each kind is good for one purpose and nothing else.

All leaves: not a CA, ``digitalSignature`` only, one extended key usage, SKI and AKI. They start five
minutes ago, never before their CA, and never outlive it. An expired CA issues nothing. Which serial is free
is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_operator.api.secret import Secret
from mtls_operator.pki.alternative_names import SubjectAltNames, to_general_names
from mtls_operator.pki.authority import Authority
from mtls_operator.pki.certificate import CertificateFacts, facts_of
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.hostname import is_wildcard, require_hostname
from mtls_operator.pki.instants import CLOCK_SKEW, after, rfc3339, utc
from mtls_operator.pki.keys import KeySpec, generate_key, key_to_pem
from mtls_operator.pki.serial import index_of, require_serial
from mtls_operator.pki.subject import Subject, to_name

_NOT_A_CA: Final = x509.BasicConstraints(ca=False, path_length=None)
_SIGNATURE_ONLY: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_CLIENT: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_SERVER: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_LONGEST_COMMON_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its private key and its facts (equal to what `read_certificate` gives for it)."""

    certificate_pem: str
    key_pem: Secret
    facts: CertificateFacts


@dataclass(frozen=True, slots=True)
class _Request:
    """What differs between two leaves of one CA."""

    name: x509.Name
    names: list[x509.GeneralName]
    usage: x509.ExtendedKeyUsage
    key: KeySpec
    serial: int


def issue_client(  # noqa: PLR0913 - what a certificate says, all by keyword
    authority: Authority,
    *,
    subject: Subject,
    sans: SubjectAltNames,
    key: KeySpec,
    validity: timedelta,
    serial: int,
    now: datetime,
) -> Issued:
    """Issue a client certificate with a new key.

    ``serial`` comes from `make_serial`: one without an index could not be revoked and is refused. Raises
    `PkiError` if subject and alternative names are both empty, or for what `_issue` refuses.
    """
    index_of(serial)
    name, names = to_name(subject), to_general_names(sans)
    if not name.rdns and not names:
        raise PkiError(
            Reason.INVALID_SUBJECT, "a certificate needs a subject or at least one alternative name."
        )
    request = _Request(name=name, names=names, usage=_CLIENT, key=key, serial=serial)
    return _issue(authority, request, validity=validity, now=now)


def issue_server(
    authority: Authority, *, hostnames: Iterable[str], validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 server certificate for host names and leading wildcards; `PkiError` names a bad one."""
    names = tuple(require_hostname(name, reason=Reason.INVALID_HOSTNAME, wildcard=True) for name in hostnames)
    return _issue(authority, _server(names, serial), validity=validity, now=now)


def issue_internal_server(
    authority: Authority, *, dns_names: Iterable[str], validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 server certificate for Service names of the operator itself: no wildcards."""
    names = tuple(
        require_hostname(name, reason=Reason.INVALID_HOSTNAME, wildcard=False) for name in dns_names
    )
    return _issue(authority, _server(names, serial), validity=validity, now=now)


def issue_internal_client(
    authority: Authority, *, uri: str, validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 client certificate whose only name is a URI: what a proxy is, is said in one place."""
    names = to_general_names(SubjectAltNames(uris=(uri,)))
    request = _Request(name=x509.Name([]), names=names, usage=_CLIENT, key=KeySpec(), serial=serial)
    return _issue(authority, request, validity=validity, now=now)


def _server(names: tuple[str, ...], serial: int) -> _Request:
    if not names:
        raise PkiError(Reason.INVALID_HOSTNAME, "a server certificate needs at least one host name.")
    first = names[0]
    named = len(first) <= _LONGEST_COMMON_NAME and not is_wildcard(first)
    return _Request(
        name=to_name(Subject(common_name=first if named else "")),
        names=[x509.DNSName(name) for name in names],
        usage=_SERVER,
        key=KeySpec(),
        serial=serial,
    )


def _issue(authority: Authority, request: _Request, *, validity: timedelta, now: datetime) -> Issued:
    """Sign; raise `PkiError` for a CA that is not valid now, a bad serial, or a validity under a second."""
    require_serial(request.serial)
    not_before, not_after = _period(authority.facts, validity=validity, now=now)
    signer = authority.signer
    private = generate_key(request.key)
    public = private.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.name)
        .issuer_name(signer.name)
        .public_key(public)
        .serial_number(request.serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(_NOT_A_CA, critical=True)
        .add_extension(_SIGNATURE_ONLY, critical=True)
        .add_extension(request.usage, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(signer.key_identifier, critical=False)
    )
    if request.names:
        # RFC 5280, 4.2.1.6: critical when it is the only name.
        builder = builder.add_extension(
            x509.SubjectAlternativeName(request.names), critical=not request.name.rdns
        )
    certificate = builder.sign(signer.key, signer.digest)
    return Issued(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=key_to_pem(private),
        facts=facts_of(certificate),
    )


def _period(issuer: CertificateFacts, *, validity: timedelta, now: datetime) -> tuple[datetime, datetime]:
    moment = utc(now)
    if moment >= issuer.not_after:
        raise PkiError(Reason.AUTHORITY_EXPIRED, f"the CA expired at {rfc3339(issuer.not_after)}.")
    if moment < issuer.not_before:
        raise PkiError(
            Reason.AUTHORITY_NOT_YET_VALID,
            f"the CA is valid from {rfc3339(issuer.not_before)}; it is {rfc3339(moment)}: check the clock.",
        )
    return max(utc(moment - CLOCK_SKEW), issuer.not_before), min(after(moment, validity), issuer.not_after)
