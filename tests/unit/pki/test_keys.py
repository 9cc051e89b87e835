"""Keys: which ones are made, how they are written, which ones are refused."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mtls_operator.api.secret import Secret
from mtls_operator.pki import KeyAlgorithm, KeySpec, PkiError, Reason, generate_key, key_to_pem, load_key
from mtls_operator.pki.keys import describe_key


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Secret:
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.mark.parametrize(
    ("algorithm", "size", "text"),
    [
        (KeyAlgorithm.ECDSA, 256, "ECDSA-256"),
        (KeyAlgorithm.ECDSA, 384, "ECDSA-384"),
        (KeyAlgorithm.RSA, 2048, "RSA-2048"),
    ],
)
def test_a_generated_key_is_of_the_kind_asked_for(algorithm: KeyAlgorithm, size: int, text: str) -> None:
    key = generate_key(KeySpec(algorithm, size))
    assert describe_key(key.public_key()) == text


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [
        (KeyAlgorithm.ECDSA, 521),
        (KeyAlgorithm.ECDSA, 2048),
        (KeyAlgorithm.RSA, 1024),
        (KeyAlgorithm.RSA, 256),
        (KeyAlgorithm.RSA, 8192),
    ],
)
def test_other_sizes_are_refused_with_the_allowed_ones(algorithm: KeyAlgorithm, size: int) -> None:
    with pytest.raises(PkiError, match=f"not {size}") as caught:
        KeySpec(algorithm, size)
    assert caught.value.reason is Reason.INVALID_KEY_SPEC


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_the_three_rsa_sizes_are_accepted(size: int) -> None:
    assert KeySpec(KeyAlgorithm.RSA, size).size == size


def test_a_key_is_written_as_pkcs8_and_read_back() -> None:
    pem = key_to_pem(generate_key(KeySpec()))
    assert pem.reveal().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert key_to_pem(load_key(pem)) == pem


def test_two_keys_are_never_the_same() -> None:
    assert key_to_pem(generate_key(KeySpec())) != key_to_pem(generate_key(KeySpec()))


def test_openssl_accepts_a_written_key() -> None:
    pem = key_to_pem(generate_key(KeySpec())).reveal()
    done = subprocess.run(
        ["openssl", "pkey", "-check", "-noout"], input=pem, capture_output=True, check=False
    )
    assert (done.returncode, b"Key is valid" in done.stdout + done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (pem_of(ec.generate_private_key(ec.SECP256K1())), "P-256"),
        (pem_of(ec.generate_private_key(ec.SECP224R1())), "P-256"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "ECDSA"),
        (pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "2048"),  # noqa: S505 - refused
        (Secret(b""), "unencrypted PEM"),
        (Secret(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "unencrypted PEM"),
        (
            Secret(
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(b"password"),
                )
            ),
            "unencrypted PEM",
        ),
    ],
    ids=["secp256k1", "P-224", "Ed25519", "RSA-1024", "empty", "broken", "encrypted"],
)
def test_a_key_that_the_proxy_could_not_use_is_refused(key: Secret, why: str) -> None:
    with pytest.raises(PkiError, match=why) as caught:
        load_key(key)
    assert caught.value.reason is Reason.INVALID_KEY


def test_a_refused_key_leaves_nothing_of_itself_in_the_error() -> None:
    body = b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsecretsecret"
    with pytest.raises(PkiError) as caught:
        load_key(Secret(b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"))
    assert "secret" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [256, 384])
def test_a_curve_outside_the_standard_ones_is_described_by_its_name(size: int) -> None:
    curve = {256: ec.BrainpoolP256R1(), 384: ec.BrainpoolP384R1()}[size]
    assert describe_key(ec.generate_private_key(curve).public_key()) == f"ECDSA-brainpoolP{size}r1"


def test_an_ed25519_key_is_described_by_its_name() -> None:
    assert describe_key(ed25519.Ed25519PrivateKey.generate().public_key()) == "Ed25519"
