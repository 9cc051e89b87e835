"""A signed revocation list in the forms in which others fetch it: PEM and DER, with times and tags for caches.

Nothing is checked or signed here: it is for lists of our own, as `sign_crl` returned them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mtls_operator.pki.certificate import to_bytes
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import utc


@dataclass(frozen=True, slots=True)
class CrlForms:
    """One list: ``der`` is what RFC 5280, 4.2.1.13 wants at an http URL, ``pem`` is what most programs read.

    The tags are strong entity tags with their quotes (RFC 9110, 8.8.3), different for the two forms, as one URL may
    answer with either. ``digest`` is the SHA-256 of the DER in lower-case hex.
    """

    pem: bytes
    der: bytes
    number: int | None
    this_update: datetime
    next_update: datetime
    digest: str

    @property
    def der_tag(self) -> str:
        """The entity tag of the DER."""
        return f'"{self.digest}"'

    @property
    def pem_tag(self) -> str:
        """The entity tag of the PEM."""
        return f'"{self.digest}-pem"'


def crl_forms(pem: bytes | str) -> CrlForms:
    """Return the forms of a list; raise `PkiError` if it is none, or has no ``nextUpdate``."""
    with refusing(Reason.INVALID_CRL, "the CRL cannot be read"):
        crl = x509.load_pem_x509_crl(to_bytes(pem))
        numbers = [one.value.crl_number for one in crl.extensions if isinstance(one.value, x509.CRLNumber)]
        der = crl.public_bytes(serialization.Encoding.DER)
        next_update = crl.next_update_utc
    if next_update is None:
        raise PkiError(Reason.INVALID_CRL, "the CRL does not say until when it is valid (nextUpdate).")
    return CrlForms(
        pem=crl.public_bytes(serialization.Encoding.PEM),
        der=der,
        number=numbers[0] if numbers else None,
        this_update=crl.last_update_utc,
        next_update=next_update,
        digest=sha256(der).hexdigest(),
    )


def fresh_for(forms: CrlForms, *, renew_at: datetime, now: datetime) -> timedelta:
    """Return how long a cache may keep a list: until the next one is due, never past its ``nextUpdate``."""
    moment = utc(now)
    return max(min(renew_at, forms.next_update) - moment, timedelta(0))
