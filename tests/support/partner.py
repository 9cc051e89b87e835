"""What partners bring: their CAs (``tests.support.certs.authority``), and revocation lists of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tests.support.builders import NAMESPACE
from tests.support.certs import Pair

from mtls_operator.cluster import Body

DAY = timedelta(days=1)


def crl(
    ca: Pair,
    *serials: int,
    now: datetime,
    at: timedelta = -timedelta(hours=1),
    until: timedelta = DAY,
    number: int | None = None,
    signer: Pair | None = None,
    form: serialization.Encoding = serialization.Encoding.PEM,
) -> bytes:
    """Return a list of a CA with these serial numbers; ``signer``: whose key signs it instead."""
    builder = (
        x509.CertificateRevocationListBuilder(
            revoked_certificates=[
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now + at).build()
                for serial in serials
            ]
        )
        .issuer_name(ca.certificate.subject)
        .last_update(now + at)
        .next_update(now + until)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign((signer or ca).key, hashes.SHA256()).public_bytes(form)


def file_of(name: str, namespace: str = NAMESPACE, **files: str | bytes) -> Body:
    """Return a ConfigMap; keywords are keys with an underscore for the dot, bytes stand in its binary part."""
    named = {key.replace("_", "."): value for key, value in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name},
        "data": {key: value for key, value in named.items() if isinstance(value, str)},
        "binaryData": {
            key: b64encode(value).decode() for key, value in named.items() if isinstance(value, bytes)
        },
    }


def pem_of(*pairs: Pair) -> str:
    """Return a file of certificates."""
    return "".join(pair.certificate_pem for pair in pairs)


def reference(name: str = "partner-ca", key: str = "ca.crt", **more: Any) -> dict[str, Any]:
    """Return a reference to a key of a ConfigMap."""
    return {"configMapRef": {"name": name, "key": key}, **more}


def serials_of(pairs: Iterable[Pair]) -> list[int]:
    """Return the serial numbers of certificates."""
    return [pair.certificate.serial_number for pair in pairs]
