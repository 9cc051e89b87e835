"""What a certificate is to say of its holder, in the terms of the ``pki`` package.

One function for whoever signs and for whoever only asks beforehand whether it could be signed.
"""

from __future__ import annotations

from functools import lru_cache

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.pki import Request, Subject, SubjectAltNames, read_request
from mtls_operator.pki import names_of as names_with_request


def names_of(certificate: ClientCertificate) -> tuple[Subject, SubjectAltNames]:
    """Return subject and alternative names of what is to be issued, those of its request where it says nothing.

    Raises:
        PkiError: they cannot be said in a certificate, or its request cannot be used.
    """
    subject, sans = own_names(certificate)
    request = request_of(certificate)
    return (subject, sans) if request is None else names_with_request(request, subject=subject, sans=sans)


def own_names(certificate: ClientCertificate) -> tuple[Subject, SubjectAltNames]:
    """Return the names that an object itself gives; they may be none where it has a request."""
    subject = certificate.subject
    return (
        Subject(
            common_name=subject.common_name or "",
            organizations=subject.organizations,
            organizational_units=subject.organizational_units,
            countries=subject.countries,
            localities=subject.localities,
            provinces=subject.provinces,
        ),
        SubjectAltNames(
            dns_names=certificate.dns_names,
            uris=certificate.uris,
            emails=certificate.emails,
            ip_addresses=certificate.ip_addresses,
        ),
    )


def request_of(certificate: ClientCertificate) -> Request | None:
    """Return what a certificate's request contributes; None where the key is made here.

    Raises:
        PkiError: it cannot be used.
    """
    if certificate.request is None:
        return None
    named = own_names(certificate) != (Subject(), SubjectAltNames())
    return _read(certificate.request, nameless=named)


@lru_cache(maxsize=1024)
def _read(pem: str, *, nameless: bool) -> Request:
    return read_request(pem, nameless=nameless)
