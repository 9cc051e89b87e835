"""Issuing leaf certificates: each kind is good for one purpose and nothing else.

All leaves: not a CA, ``digitalSignature`` only, one extended key usage, SKI and AKI. They start five
minutes ago, never before their CA, and never outlive it. An expired CA issues nothing. Which serial is free
is not decided here.
"""

from __future__ import annotations

import re
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
from mtls_operator.pki.certificate import CertificateFacts, facts_of, parse_certificate
from mtls_operator.pki.errors import PkiError, Reason
from mtls_operator.pki.hostname import is_wildcard, require_hostname
from mtls_operator.pki.instants import CLOCK_SKEW, after, rfc3339, utc
from mtls_operator.pki.keys import (
    KeySpec,
    PrivateKey,
    PublicKey,
    generate_key,
    key_digest,
    key_to_pem,
    load_key,
)
from mtls_operator.pki.request import Request, names_of
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
_HTTP: Final = re.compile(r"https?://[A-Za-z0-9\[]")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its private key and its facts (equal to what `read_certificate` gives for it)."""

    certificate_pem: str
    key_pem: Secret
    facts: CertificateFacts


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate whose key stayed with its owner, and its facts."""

    certificate_pem: str
    facts: CertificateFacts


@dataclass(frozen=True, slots=True)
class _Leaf:
    """What differs between two leaves of one CA, but for the key."""

    name: x509.Name
    names: list[x509.GeneralName]
    usage: x509.ExtendedKeyUsage
    serial: int
    crl_url: str = ""


def issue_client(  # noqa: PLR0913 - what a certificate says, all by keyword
    authority: Authority,
    *,
    subject: Subject,
    sans: SubjectAltNames,
    key: KeySpec | Secret,
    validity: timedelta,
    serial: int,
    now: datetime,
    crl_url: str = "",
) -> Issued:
    """Issue a client certificate with a new key of a kind, or with the key of a PEM that is kept.

    ``serial`` comes from `make_serial`: one without an index could not be revoked and is refused. ``crl_url`` is
    where others find the list of this CA, if anywhere (RFC 5280, 4.2.1.13). Raises `PkiError` if subject and
    alternative names are both empty, or for what `_sign` refuses.
    """
    leaf = _client(subject, sans, serial=serial, crl_url=crl_url)
    private = load_key(key) if isinstance(key, Secret) else generate_key(key)
    return _issue(authority, leaf, private, validity=validity, now=now)


def issue_client_from_request(  # noqa: PLR0913 - what a certificate says, all by keyword
    authority: Authority,
    request: Request,
    *,
    validity: timedelta,
    serial: int,
    now: datetime,
    subject: Subject | None = None,
    sans: SubjectAltNames | None = None,
    crl_url: str = "",
) -> Certified:
    """Issue a client certificate for the key of a request, with the names that `names_of` gives for it.

    Nothing else of the request counts: what is issued is a client certificate like any other. Refused are
    also the keys of the CA itself (`PkiError`), and what `issue_client` refuses.
    """
    named, names = names_of(request, subject=subject, sans=sans)
    if key_digest(parse_certificate(authority.certificate_pem).public_key()) == request.key_digest:
        raise PkiError(Reason.INVALID_REQUEST, "the request is for the key of the CA itself.")
    leaf = _client(named, names, serial=serial, crl_url=crl_url)
    certificate = _sign(authority, leaf, request.public_key, validity=validity, now=now)
    return Certified(certificate_pem=_pem(certificate), facts=facts_of(certificate))


def _client(subject: Subject, sans: SubjectAltNames, *, serial: int, crl_url: str) -> _Leaf:
    index_of(serial)
    name, names = to_name(subject), to_general_names(sans)
    if not name.rdns and not names:
        raise PkiError(
            Reason.INVALID_SUBJECT, "a certificate needs a subject or at least one alternative name."
        )
    return _Leaf(name=name, names=names, usage=_CLIENT, serial=serial, crl_url=crl_url)


def issue_server(
    authority: Authority, *, hostnames: Iterable[str], validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 server certificate for host names and leading wildcards; `PkiError` names a bad one."""
    names = tuple(require_hostname(name, reason=Reason.INVALID_HOSTNAME, wildcard=True) for name in hostnames)
    return _issue(authority, _server(names, serial), generate_key(KeySpec()), validity=validity, now=now)


def issue_internal_server(
    authority: Authority, *, dns_names: Iterable[str], validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 server certificate for Service names of the operator itself: no wildcards."""
    names = tuple(
        require_hostname(name, reason=Reason.INVALID_HOSTNAME, wildcard=False) for name in dns_names
    )
    return _issue(authority, _server(names, serial), generate_key(KeySpec()), validity=validity, now=now)


def issue_internal_client(
    authority: Authority, *, uri: str, validity: timedelta, serial: int, now: datetime
) -> Issued:
    """Issue a P-256 client certificate whose only name is a URI: what a proxy is, is said in one place."""
    names = to_general_names(SubjectAltNames(uris=(uri,)))
    leaf = _Leaf(name=x509.Name([]), names=names, usage=_CLIENT, serial=serial)
    return _issue(authority, leaf, generate_key(KeySpec()), validity=validity, now=now)


def _server(names: tuple[str, ...], serial: int) -> _Leaf:
    if not names:
        raise PkiError(Reason.INVALID_HOSTNAME, "a server certificate needs at least one host name.")
    first = names[0]
    named = len(first) <= _LONGEST_COMMON_NAME and not is_wildcard(first)
    return _Leaf(
        name=to_name(Subject(common_name=first if named else "")),
        names=[x509.DNSName(name) for name in names],
        usage=_SERVER,
        serial=serial,
    )


def _issue(
    authority: Authority, leaf: _Leaf, private: PrivateKey, *, validity: timedelta, now: datetime
) -> Issued:
    certificate = _sign(authority, leaf, private.public_key(), validity=validity, now=now)
    return Issued(certificate_pem=_pem(certificate), key_pem=key_to_pem(private), facts=facts_of(certificate))


def _sign(
    authority: Authority, leaf: _Leaf, public: PublicKey, *, validity: timedelta, now: datetime
) -> x509.Certificate:
    """Sign; raise `PkiError` for a CA that is not valid now, a bad serial, or a validity under a second."""
    require_serial(leaf.serial)
    not_before, not_after = _period(authority.facts, validity=validity, now=now)
    signer = authority.signer
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.name)
        .issuer_name(signer.name)
        .public_key(public)
        .serial_number(leaf.serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(_NOT_A_CA, critical=True)
        .add_extension(_SIGNATURE_ONLY, critical=True)
        .add_extension(leaf.usage, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(signer.key_identifier, critical=False)
    )
    if leaf.names:
        # RFC 5280, 4.2.1.6: critical when it is the only name.
        builder = builder.add_extension(x509.SubjectAlternativeName(leaf.names), critical=not leaf.name.rdns)
    if leaf.crl_url:
        builder = builder.add_extension(_distribution_point(leaf.crl_url), critical=False)
    return builder.sign(signer.key, signer.digest)


def _distribution_point(url: str) -> x509.CRLDistributionPoints:
    """Return the extension that names one URL; RFC 5280, 4.2.1.13 wants the list there over plain HTTP."""
    if not _HTTP.match(url):
        raise PkiError(Reason.INVALID_CRL, f"{url[:300]!a} is not an http URL where a list can be.")
    (name,) = to_general_names(SubjectAltNames(uris=(url,)))
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


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
