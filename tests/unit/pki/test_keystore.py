"""Keystores: what devices and servers open, and what is never written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    Content,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Profile,
    Reason,
    combined_pem,
    key_to_pem,
    make_password,
    pkcs12_of,
)

OpenSsl = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = Secret(b"correct horse")
PROFILES = pytest.mark.parametrize("profile", Profile, ids=lambda profile: profile.value)


@pytest.fixture
def content(issue: Callable[..., Issued], authority: Authority) -> Content:
    made = issue()
    return Content(made.certificate_pem, made.key_pem, (authority.certificate_pem,))


def keystore(content: Content, profile: Profile = Profile.MODERN, password: Secret = PASSWORD) -> Secret:
    return pkcs12_of(content, password=password, name="shop/gateway-7", profile=profile)


@PROFILES
def test_a_keystore_holds_key_certificate_name_and_chain(content: Content, profile: Profile) -> None:
    found = pkcs12.load_pkcs12(keystore(content, profile).reveal(), PASSWORD.reveal())
    assert found.cert is not None
    assert found.cert.friendly_name == b"shop/gateway-7"
    assert found.cert.certificate == x509.load_pem_x509_certificate(content.certificate_pem.encode())
    assert [one.certificate for one in found.additional_certs] == [
        x509.load_pem_x509_certificate(content.chain_pem[0].encode())
    ]
    assert found.key is not None


def test_an_rsa_key_goes_into_a_keystore(issue: Callable[..., Issued]) -> None:
    made = issue(key=KeySpec(KeyAlgorithm.RSA, 2048))
    found = pkcs12.load_pkcs12(
        keystore(Content(made.certificate_pem, made.key_pem)).reveal(), PASSWORD.reveal()
    )
    assert isinstance(found.key, rsa.RSAPrivateKey)
    assert key_to_pem(found.key) == made.key_pem


@pytest.mark.parametrize(
    ("profile", "encryption", "mac"),
    [
        (Profile.MODERN, "PBES2, PBKDF2, AES-256-CBC, Iteration 20000, PRF hmacWithSHA256", "MAC: sha256"),
        (Profile.LEGACY, "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048", "MAC: sha1"),
    ],
    ids=["Modern", "Legacy"],
)
def test_openssl_opens_a_keystore_and_names_its_encryption(
    content: Content, profile: Profile, encryption: str, mac: str, openssl: OpenSsl
) -> None:
    arguments = ("pkcs12", "-in", "store", "-passin", "pass:correct horse", "-nodes", "-info")
    done = openssl(*arguments, store=keystore(content, profile).reveal())
    assert done.returncode == 0
    assert f"Shrouded Keybag: {encryption}" in done.stderr
    assert f"PKCS7 Encrypted data: {encryption}" in done.stderr
    assert mac in done.stderr
    assert done.stdout.count("BEGIN CERTIFICATE") == 2
    assert "friendlyName: shop/gateway-7" in done.stdout
    assert "BEGIN PRIVATE KEY" in done.stdout


@PROFILES
def test_another_password_opens_nothing(content: Content, profile: Profile, openssl: OpenSsl) -> None:
    done = openssl(
        *("pkcs12", "-in", "store", "-passin", "pass:wrong", "-nodes"),
        store=keystore(content, profile).reveal(),
    )
    assert done.returncode != 0
    assert "PRIVATE" not in done.stdout


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (b"", "1 to 256"),
        (b"x" * 257, "1 to 256"),
        (b"secret\n", "line break"),
        (b"secret\r\n", "line break"),
        (b"sec\nret", "printable ASCII"),
        (b"sec\x00ret", "printable ASCII"),
        ("geheimnisvöll".encode(), "printable ASCII"),
        (b"\xff\xfe", "printable ASCII"),
    ],
    ids=ascii,
)
def test_a_password_that_programs_read_differently_is_refused_and_not_shown(
    content: Content, password: bytes, why: str
) -> None:
    with pytest.raises(PkiError, match=why) as caught:
        keystore(content, password=Secret(password))
    assert caught.value.reason is Reason.INVALID_KEYSTORE
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\x00b", "a\nb"], ids=ascii)
def test_a_friendly_name_that_does_not_print_is_refused(content: Content, name: str) -> None:
    with pytest.raises(PkiError, match="friendly name"):
        pkcs12_of(content, password=PASSWORD, name=name, profile=Profile.MODERN)


def test_a_key_of_another_certificate_is_refused(content: Content, issue: Callable[..., Issued]) -> None:
    mixed = replace(content, key_pem=issue().key_pem)
    for write in (keystore, combined_pem):
        with pytest.raises(PkiError) as caught:
            write(mixed)
        assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_combined_file_is_key_then_certificate_then_chain(content: Content) -> None:
    text = combined_pem(content).reveal()
    labels = [line for line in text.decode().splitlines() if line.startswith("-----BEGIN")]
    assert labels == ["-----BEGIN PRIVATE KEY-----", *["-----BEGIN CERTIFICATE-----"] * 2]
    assert load_pem_private_key(text, None)
    assert text.decode().endswith(content.certificate_pem + content.chain_pem[0])


def test_a_combined_file_of_the_same_content_has_the_same_bytes(content: Content) -> None:
    assert combined_pem(content) == combined_pem(content)


def test_neither_file_shows_its_content(content: Content) -> None:
    assert f"{keystore(content)}{combined_pem(content)!r}" == "[redacted][redacted]"
    assert "PRIVATE" not in repr(content)


def test_a_password_comes_from_the_entropy_and_can_be_typed() -> None:
    password = make_password(bytes(range(20)))
    assert password == make_password(bytes(range(20)))
    assert password != make_password(bytes(20))
    assert password.reveal().decode().isalnum()
    assert len(password.reveal()) == 32


def test_a_password_of_too_little_entropy_is_refused() -> None:
    with pytest.raises(PkiError) as caught:
        make_password(bytes(19))
    assert caught.value.reason is Reason.INVALID_ENTROPY
