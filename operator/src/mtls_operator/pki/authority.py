"""A certificate authority: made once, loaded from its Secret afterwards, and used through this object.

One object holds what every signature needs, parsed once: the key, the name, the key identifier. Where a CA
is kept, when a new one is made and who trusts it is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_operator.api.secret import Secret
from mtls_operator.pki.certificate import CertificateFacts, facts_of, find_extension, parse_certificate
from mtls_operator.pki.errors import PkiError, Reason, refusing
from mtls_operator.pki.instants import CLOCK_SKEW, after, utc
from mtls_operator.pki.keys import KeySpec, PrivateKey, generate_key, key_to_pem, load_key, public_bytes
from mtls_operator.pki.serial import random_serial
from mtls_operator.pki.subject import Subject, to_name

#: From this key size on, ECDSA signs with SHA-384.
_P384: Final = 384

CERTIFICATE_SIGN_ONLY: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Signer:
    """The parts of an authority that signing needs, parsed once."""

    key: PrivateKey
    name: x509.Name
    key_identifier: x509.AuthorityKeyIdentifier
    digest: hashes.SHA256 | hashes.SHA384
    may_sign_lists: bool


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA with its key.

    ``digest`` is what Envoy gives as ``sha256PeerCertificateIssuerDigest()`` for its leaves.
    """

    certificate_pem: str
    key_pem: Secret
    digest: str
    facts: CertificateFacts
    signer: Signer = field(repr=False, compare=False)


def new_authority(
    common_name: str,
    *,
    now: datetime,
    lifetime: timedelta,
    entropy: bytes,
    organization: str = "mtls-operator",
) -> Authority:
    """Make a self-signed P-256 CA that signs leaves and revocation lists only, valid from five minutes ago.

    ``entropy`` is 16 bytes or more of a CSPRNG, for the serial. Raises `PkiError` for a name over 64
    characters, for too little entropy and for a lifetime that X.509 cannot express.
    """
    if not common_name:
        raise PkiError(Reason.INVALID_SUBJECT, "a CA needs a common name.")
    key = generate_key(KeySpec())
    name = to_name(Subject(common_name=common_name, organizations=(organization,)))
    begin, end = utc(utc(now) - CLOCK_SKEW), after(utc(now), lifetime)
    certificate = _self_signed(name, key, begin=begin, end=end, entropy=entropy)
    return assemble(certificate, key, key_to_pem(key))


def prolonged(authority: Authority, *, now: datetime, lifetime: timedelta, entropy: bytes) -> Authority:
    """Return the same CA, name, key and begin, that ends ``lifetime`` from now: who trusts the one accepts the other.

    Both certificates verify every leaf of the key while they are valid themselves, so that nobody has to change over
    at one moment. It begins when it always did: a clock that was ahead cannot make a CA that nobody accepts yet. For a
    CA whose leaves are judged by their chain alone: where the digest of the issuing certificate counts, as for client
    certificates, this is another CA. Raises `PkiError` as `new_authority` does.
    """
    signer = authority.signer
    begin, end = authority.facts.not_before, after(utc(now), lifetime)
    certificate = _self_signed(signer.name, signer.key, begin=begin, end=end, entropy=entropy)
    return assemble(certificate, signer.key, authority.key_pem)


def _self_signed(
    name: x509.Name, key: PrivateKey, *, begin: datetime, end: datetime, entropy: bytes
) -> x509.Certificate:
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(random_serial(entropy))
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(CERTIFICATE_SIGN_ONLY, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, _digest(key))
    )


def load_authority(certificate_pem: bytes | str, key_pem: Secret) -> Authority:
    """Return the CA of a certificate and its key; raise `PkiError` saying what is not as it must be.

    Required: both can be read, they belong together, ``CA:TRUE``, ``keyCertSign``, and the certificate bears its
    own signature: a stored certificate that says anything else than we signed is not used. Expiry is not
    checked here: a list of revocations may outlive its CA, issuing checks it.
    """
    certificate = parse_certificate(certificate_pem)
    facts_of(certificate)
    key = load_key(key_pem)
    if not key_belongs(certificate, key):
        raise PkiError(Reason.KEY_MISMATCH, "the key of the CA does not belong to its certificate.")
    require_authority(certificate)
    with refusing(Reason.INVALID_CERTIFICATE, "the CA certificate does not bear its own signature"):
        certificate.verify_directly_issued_by(certificate)
    return assemble(certificate, key, key_pem)


def require_authority(certificate: x509.Certificate) -> None:
    """Raise `PkiError` unless a certificate may sign others: ``CA:TRUE`` and ``keyCertSign``."""
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise _not_a_ca("basicConstraints CA:TRUE")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise _not_a_ca("keyUsage keyCertSign")


def _not_a_ca(missing: str) -> PkiError:
    return PkiError(Reason.NOT_AN_AUTHORITY, f"the certificate is not a CA: {missing} is missing.")


def key_belongs(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Return whether a certificate's public key is that of a private key."""
    with refusing(Reason.INVALID_CERTIFICATE, "the public key of the certificate cannot be read"):
        return public_bytes(certificate.public_key()) == public_bytes(key.public_key())


def assemble(certificate: x509.Certificate, key: PrivateKey, key_pem: Secret) -> Authority:
    """Return the authority of a certificate and key that were checked before."""
    facts = facts_of(certificate)
    usage = find_extension(certificate, x509.KeyUsage)
    return Authority(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=key_pem,
        digest=facts.fingerprint_sha256,
        facts=facts,
        signer=Signer(
            key=key,
            name=certificate.subject,
            key_identifier=_key_identifier(certificate),
            digest=_digest(key),
            may_sign_lists=usage is not None and usage.crl_sign,
        ),
    )


def _key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the AKI of what this CA signs: its own SKI where it has one, else the hash of its key."""
    identifier = find_extension(certificate, x509.SubjectKeyIdentifier)
    if identifier is None:
        identifier = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    strong = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size >= _P384
    return hashes.SHA384() if strong else hashes.SHA256()
