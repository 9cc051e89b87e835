"""What is in certificates that the operator looks at again and again: each is read, and its signature checked, once.

With ten thousand certificates in a namespace, reading them anew at every look would be most of the operator's work.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mtls_operator.pki import CertificateFacts, PkiError, is_signed_by, read_certificate

#: More certificates than one operator looks after; some 3 kB each.
_MOST: Final = 32_768


@lru_cache(maxsize=_MOST)
def facts_of(certificate_pem: str) -> CertificateFacts | None:
    """Return a certificate's facts; None when it cannot be read."""
    try:
        return read_certificate(certificate_pem)
    except PkiError:
        return None


@lru_cache(maxsize=_MOST)
def is_signed(ca_pem: str, certificate_pem: str) -> bool:
    """Say whether a CA has signed a certificate; False when it cannot be read."""
    return is_signed_by(ca_pem, certificate_pem)
