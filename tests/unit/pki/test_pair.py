"""Whether a stored certificate and a stored key belong together: asked of everything that is seen."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.unit.pki.made import DAY, NOW

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Subject,
    SubjectAltNames,
    is_pair,
    issue_client,
    key_digest_of,
    kind_of_key,
    make_serial,
)


def made(authority: Authority, spec: KeySpec) -> Issued:
    return issue_client(
        authority,
        subject=Subject(common_name="gateway"),
        sans=SubjectAltNames(),
        key=spec,
        validity=DAY,
        serial=make_serial(1, bytes(15)),
        now=NOW,
    )


@pytest.mark.parametrize(
    "spec", [KeySpec(), KeySpec(size=384), KeySpec(KeyAlgorithm.RSA, 2048)], ids=["P-256", "P-384", "RSA"]
)
def test_a_certificate_and_its_key_are_a_pair(authority: Authority, spec: KeySpec) -> None:
    issued = made(authority, spec)
    assert is_pair(issued.certificate_pem, issued.key_pem)
    assert kind_of_key(issued.key_pem) == f"{spec.algorithm.value}-{spec.size}"


def test_two_keys_of_one_kind_are_told_apart(authority: Authority) -> None:
    first, second = made(authority, KeySpec()), made(authority, KeySpec())
    assert not is_pair(first.certificate_pem, second.key_pem)
    assert key_digest_of(first.certificate_pem) != key_digest_of(second.certificate_pem)


@pytest.mark.parametrize(
    "text", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"]
)
def test_what_cannot_be_read_is_no_pair(authority: Authority, text: bytes) -> None:
    issued = made(authority, KeySpec())
    assert not is_pair(issued.certificate_pem, Secret(text))
    assert not is_pair(text, issued.key_pem)


def test_a_key_of_a_kind_that_we_never_make_is_no_pair_and_has_no_kind(authority: Authority) -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert not is_pair(made(authority, KeySpec()).certificate_pem, Secret(key))
    with pytest.raises(PkiError):
        kind_of_key(Secret(key))


def test_a_certificate_that_cannot_be_read_has_no_key() -> None:
    with pytest.raises(PkiError):
        key_digest_of("rubbish")
