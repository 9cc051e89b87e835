"""Signing requests as owners of keys make them."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@lru_cache(maxsize=64)
def key_of(owner: str) -> ec.EllipticCurvePrivateKey:
    """Return the key of an owner: the same one in one run."""
    assert owner
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(owner: str) -> bytes:
    """Return the key of an owner as a PEM."""
    return key_of(owner).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_pem(common_name: str = "gateway", *, owner: str = "", dns_names: tuple[str, ...] = ()) -> str:
    """Return a request of an owner, who asks to be a CA as well: nobody may give him that."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if dns_names:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
        builder = builder.add_extension(names, critical=False)
    request = builder.sign(key_of(owner or common_name), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
