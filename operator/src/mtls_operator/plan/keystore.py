"""Which keystores stand in the Secret of a certificate, and whether they are those of this certificate and password.

A PKCS#12 file cannot be compared (its salts are random), and opening it takes time on purpose. So the Secret carries a
mark: a digest of what its keystores were made of and of themselves. Neither key nor password can be learnt from it:
of a password that the user chose only the version of its Secret goes into it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from mtls_operator.api import names
from mtls_operator.api.certificate import ClientCertificate

#: What stands beside the PEM files.
KEYSTORE_KEYS: Final = (names.PKCS12_KEY, names.PASSWORD_KEY, names.COMBINED_KEY)
_MADE_OF: Final = (names.TLS_CERT_KEY, names.TLS_KEY_KEY, names.CA_KEY)
#: The longest friendly name in a PKCS#12 file.
_FRIENDLY: Final = 128


def friendly_name(certificate: ClientCertificate) -> str:
    """Return the name under which a device shows the certificate."""
    return certificate.meta.name[:_FRIENDLY]


def mark_of(
    certificate: ClientCertificate, content: Mapping[str, str], *, password_version: str | None
) -> str:
    """Return the mark of a Secret whose content has these digests; an empty text: no keystore is wanted.

    ``password_version`` changes with the Secret of the password: None where one is made, or where it is missing.
    """
    keystore = certificate.keystore
    if not keystore.wanted:
        return ""
    pkcs12 = keystore.pkcs12
    reference = pkcs12.password if pkcs12 is not None else None
    parts = [
        None if pkcs12 is None else pkcs12.profile.value,
        None if reference is None else [reference.name, reference.key, password_version],
        keystore.combined_pem,
        friendly_name(certificate),
        {key: content.get(f"data/{key}") for key in (*_MADE_OF, *KEYSTORE_KEYS)},
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
