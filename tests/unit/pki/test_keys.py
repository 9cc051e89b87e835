"""Keys: which ones are made, how they are written, which ones are refused."""

from __future__ import annotations

import base64
import math
import random
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Reason,
    generate_key,
    is_pair,
    key_to_pem,
    load_key,
)
from mtls_operator.pki.keys import _is_consistent, describe_key


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


GOOD = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()


def _length(size: int) -> bytes:
    octets = size.to_bytes(-(-size.bit_length() // 8) or 1)
    return octets if size < 128 else bytes([128 + len(octets)]) + octets


def _numbers(**changes: int) -> Secret:
    """Return the good key with other numbers as PKCS#1 (RFC 8017, A.1.2): no library would write it."""
    numbers = {"version": 0, "n": GOOD.public_numbers.n, "e": 65537}
    numbers |= {name: getattr(GOOD, name) for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp")}
    values = [number.to_bytes(number.bit_length() // 8 + 1) for number in (numbers | changes).values()]
    body = b"".join(b"\x02" + _length(len(value)) + value for value in values)
    text = base64.encodebytes(b"\x30" + _length(len(body)) + body)
    return Secret(b"-----BEGIN RSA PRIVATE KEY-----\n" + text + b"-----END RSA PRIVATE KEY-----\n")


def test_a_key_whose_exponent_is_that_of_another_standard_is_read() -> None:
    """FIPS 186-4 takes the least common multiple, older programs the product (RFC 8017, 3.2)."""
    p, q = GOOD.p, GOOD.q
    for modulus in ((p - 1) * (q - 1), math.lcm(p - 1, q - 1)):
        d = pow(65537, -1, modulus)
        key = _numbers(d=d, dmp1=d % (p - 1), dmq1=d % (q - 1))
        assert load_key(key).private_numbers().d == d  # type: ignore[union-attr]  # it is RSA


@pytest.mark.parametrize(
    "change",
    [
        {"n": GOOD.public_numbers.n + 2},
        {"n": GOOD.public_numbers.n + 1},
        {"e": 3},
        {"p": GOOD.q, "q": GOOD.q},
        {"p": GOOD.q, "q": GOOD.p},
        {"p": 1, "q": GOOD.public_numbers.n},
        {"p": GOOD.public_numbers.n, "q": 1},
        {"d": GOOD.d + 2},
        {"d": 1},
        {"dmp1": GOOD.dmp1 + 1},
        {"dmq1": GOOD.dmq1 + 1},
        {"iqmp": GOOD.iqmp + 1},
        {"iqmp": GOOD.iqmp + GOOD.p},
    ],
    ids=ascii,
)
def test_an_rsa_key_whose_numbers_do_not_belong_together_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(PkiError) as caught:
        load_key(_numbers(**change))
    assert caught.value.reason is Reason.INVALID_KEY


def test_factors_of_any_length_are_not_multiplied() -> None:
    """Two of half a megabyte take a quarter of a second, in which no revocation is looked at."""

    class Factor(int):
        def __mul__(self, _: int) -> int:
            raise AssertionError("multiplied")

    numbers: Any = SimpleNamespace(public_numbers=GOOD.public_numbers, d=GOOD.d)
    for p, q in ((1, 0), (0, 1), (1, 1)):  # which of them is too long
        numbers.p = Factor(GOOD.p + p * GOOD.public_numbers.n * 2)
        numbers.q = Factor(GOOD.q + q * GOOD.public_numbers.n * 2)
        assert not _is_consistent(numbers)


def test_even_factors_are_refused() -> None:
    p = GOOD.p + 1
    n = p * GOOD.q
    with pytest.raises(PkiError):
        load_key(_numbers(n=n, p=p))


@pytest.mark.parametrize("bits", [4_100, 60_000])
def test_a_large_rsa_key_is_refused_at_once(bits: int) -> None:
    """The library would look for prime numbers in it: for minutes, while nothing else runs."""
    chance = random.Random(bits)
    p = chance.getrandbits(bits) | 1 << (bits - 1) | 1
    key = _numbers(n=p * (p + 2), p=p, q=p + 2)
    with pytest.raises(PkiError, match="2048 to 8192 bits"):
        load_key(key)


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


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x83]) + len(content).to_bytes(3, "big") + content


@pytest.mark.parametrize("algorithm", ["2a8648ce380401", "2a864886f70d010301"], ids=["DSA", "DH"])
def test_keys_of_other_kinds_are_not_given_to_the_library(
    algorithm: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would compute their public keys, with numbers of any length."""
    number = _der(2, b"\x01" * 2000)
    kind = _der(6, bytes.fromhex(algorithm)).replace(b"\x06\x83\x00\x00", b"\x06")
    der = _der(0x30, b"\x02\x01\x00" + _der(0x30, kind + _der(0x30, number * 3)) + _der(4, number))
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der) + b"\n-----END PRIVATE KEY-----\n"
    monkeypatch.setattr(serialization, "load_pem_private_key", pytest.fail)
    with pytest.raises(PkiError, match="must be ECDSA"):
        load_key(Secret(pem))
    assert not is_pair(authority.certificate_pem, Secret(pem))


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY -----\nAAAA\n-----END PRIVATE KEY -----\n",
        b" -----BEGIN  PRIVATE KEY-----\nAAAA\n-----END  PRIVATE KEY-----\n",
    ],
)
def test_the_library_reads_no_block_but_the_one_that_was_looked_at(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialization, "load_pem_private_key", pytest.fail)
    with pytest.raises(PkiError):
        load_key(Secret(text))


def test_only_the_first_key_of_a_text_is_given_to_the_library() -> None:
    """What surrounds it may be text that some programs read and others do not."""
    first, second = (key_to_pem(generate_key(KeySpec())).reveal() for _ in range(2))
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert key_to_pem(load_key(Secret(b"\x80 text\n" + parameters + first + second))).reveal() == first
