"""What a certificate is to say of its holder, in the terms of the ``pki`` package.

One function for whoever signs and for whoever only asks beforehand whether it could be signed.
"""

from __future__ import annotations

from mtls_operator.api.certificate import ClientCertificate
from mtls_operator.pki import Subject, SubjectAltNames


def names_of(certificate: ClientCertificate) -> tuple[Subject, SubjectAltNames]:
    """Return subject and alternative names of what is to be issued.

    Raises:
        PkiError: they cannot be said in a certificate.
    """
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
