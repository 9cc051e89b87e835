"""Authorities: what a new one looks like, and which pairs are refused as one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.pki.made import usage

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Reason,
    generate_key,
    key_to_pem,
    load_authority,
    new_authority,
    read_certificate,
)

LIFETIME = timedelta(days=3650)


def parse(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def self_signed(
    now: datetime,
    *extensions: tuple[x509.ExtensionType, bool],
    key: ec.EllipticCurvePrivateKey | None = None,
    signer: ec.EllipticCurvePrivateKey | None = None,
    issuer: x509.Name | None = None,
) -> tuple[str, Secret]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made elsewhere")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    pem = builder.sign(signer or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return pem, key_to_pem(key)


CA = (x509.BasicConstraints(ca=True, path_length=0), True)
SIGN = (usage(), True)


def test_a_new_authority_is_a_self_signed_ca_that_signs_leaves_and_lists_only(authority: Authority) -> None:
    extensions = parse(authority.certificate_pem).extensions
    assert [(one.value, one.critical) for one in extensions] == [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        SIGN,
        (x509.SubjectKeyIdentifier(bytes.fromhex(authority.facts.ski)), False),
        (x509.AuthorityKeyIdentifier(bytes.fromhex(authority.facts.ski), None, None), False),
    ]


def test_a_new_authority_is_named_and_made_of_p256(authority: Authority) -> None:
    assert authority.facts.subject == authority.facts.issuer_subject == "CN=Shop CA,O=mtls-operator"
    assert authority.facts.public_key == "ECDSA-256"


def test_a_new_authority_starts_five_minutes_early_and_lives_as_long_as_asked(now: datetime) -> None:
    made = new_authority("CA", now=now, lifetime=LIFETIME, entropy=bytes(16))
    assert made.facts.not_before == now - timedelta(minutes=5)
    assert made.facts.not_after == now + LIFETIME


def test_the_serial_of_an_authority_comes_from_the_entropy_and_never_has_an_index(now: datetime) -> None:
    made = new_authority("CA", now=now, lifetime=LIFETIME, entropy=b"\xff" * 40)
    assert made.facts.serial == "02" + "FF" * 15
    assert made.facts.index is None


def test_two_authorities_of_one_name_have_different_keys(
    authority: Authority, other_authority: Authority
) -> None:
    assert authority.facts.ski != other_authority.facts.ski


def test_the_digest_is_the_sha256_of_the_certificate(authority: Authority) -> None:
    der = parse(authority.certificate_pem).public_bytes(serialization.Encoding.DER)
    assert authority.digest == sha256(der).hexdigest() == authority.facts.fingerprint_sha256


def test_the_facts_of_an_authority_are_those_of_its_certificate(authority: Authority) -> None:
    assert authority.facts == read_certificate(authority.certificate_pem)


def test_openssl_accepts_a_new_authority_strictly(
    authority: Authority, now: datetime, openssl: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = openssl(
        "verify",
        "-x509_strict",
        "-check_ss_sig",
        "-attime",
        f"{now.timestamp():.0f}",
        "-CAfile",
        "ca",
        "ca",
        ca=authority.certificate_pem,
    )
    assert done.stdout == "ca: OK\n"


def test_a_stored_authority_is_loaded_as_it_was(authority: Authority) -> None:
    assert load_authority(authority.certificate_pem, authority.key_pem) == authority


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"common_name": ""}, Reason.INVALID_SUBJECT),
        ({"common_name": "x" * 65}, Reason.INVALID_SUBJECT),
        ({"organization": ""}, Reason.INVALID_SUBJECT),
        ({"entropy": bytes(15)}, Reason.INVALID_ENTROPY),
        ({"lifetime": timedelta(0)}, Reason.INVALID_VALIDITY),
        ({"lifetime": timedelta(days=365 * 9000)}, Reason.INVALID_VALIDITY),
        ({"now": datetime(2030, 1, 1)}, Reason.INVALID_TIME),  # noqa: DTZ001 - the missing zone is the point
    ],
)
def test_a_bad_order_makes_no_authority(change: dict[str, object], reason: Reason, now: datetime) -> None:
    order = {"common_name": "CA", "now": now, "lifetime": LIFETIME, "entropy": bytes(16)} | change
    with pytest.raises(PkiError) as caught:
        new_authority(**order)  # type: ignore[arg-type]  # each case has the right type for its argument
    assert caught.value.reason is reason


def test_the_key_of_another_authority_is_refused(authority: Authority, other_authority: Authority) -> None:
    with pytest.raises(PkiError, match="does not belong") as caught:
        load_authority(authority.certificate_pem, other_authority.key_pem)
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_key_of_another_kind_is_refused(authority: Authority) -> None:
    with pytest.raises(PkiError) as caught:
        load_authority(authority.certificate_pem, key_to_pem(generate_key(KeySpec(KeyAlgorithm.RSA, 2048))))
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_a_leaf_is_no_authority(issue: Callable[..., Issued]) -> None:
    leaf = issue()
    with pytest.raises(PkiError, match="CA:TRUE") as caught:
        load_authority(leaf.certificate_pem, leaf.key_pem)
    assert caught.value.reason is Reason.NOT_AN_AUTHORITY


@pytest.mark.parametrize(
    ("extensions", "missing"),
    [
        ((), "CA:TRUE"),
        ((SIGN,), "CA:TRUE"),
        (((x509.BasicConstraints(ca=False, path_length=None), True), SIGN), "CA:TRUE"),
        ((CA,), "keyCertSign"),
        ((CA, (usage(sign=False), True)), "keyCertSign"),
    ],
    ids=["nothing", "no basicConstraints", "CA:FALSE", "no keyUsage", "keyUsage without keyCertSign"],
)
def test_a_certificate_without_a_mark_of_a_ca_is_no_authority(
    extensions: tuple[tuple[x509.ExtensionType, bool], ...], missing: str, now: datetime
) -> None:
    with pytest.raises(PkiError, match=missing) as caught:
        load_authority(*self_signed(now, *extensions))
    assert caught.value.reason is Reason.NOT_AN_AUTHORITY


def test_a_self_signed_certificate_with_a_foreign_signature_is_refused(now: datetime) -> None:
    pair = self_signed(now, CA, SIGN, signer=ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(PkiError, match="its own signature") as caught:
        load_authority(*pair)
    assert caught.value.reason is Reason.INVALID_CERTIFICATE


def test_a_certificate_under_another_issuer_is_refused(now: datetime) -> None:
    with pytest.raises(PkiError, match="its own signature"):
        load_authority(*self_signed(now, CA, SIGN, issuer=x509.Name([])))


def test_an_authority_without_a_key_identifier_is_identified_by_its_key(now: datetime) -> None:
    loaded = load_authority(*self_signed(now, CA, SIGN))
    expected = x509.SubjectKeyIdentifier.from_public_key(parse(loaded.certificate_pem).public_key()).digest
    assert loaded.signer.key_identifier.key_identifier == expected


def test_a_p384_authority_signs_with_sha384(now: datetime) -> None:
    loaded = load_authority(*self_signed(now, CA, SIGN, key=ec.generate_private_key(ec.SECP384R1())))
    assert isinstance(loaded.signer.digest, hashes.SHA384)


@pytest.mark.parametrize(
    "pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_unreadable_certificate_is_refused(pem: str, authority: Authority) -> None:
    with pytest.raises(PkiError, match="cannot be read") as caught:
        load_authority(pem, authority.key_pem)
    assert caught.value.reason is Reason.INVALID_CERTIFICATE


def test_the_key_never_shows(authority: Authority) -> None:
    shown = repr(authority) + str(authority) + f"{authority}" + repr(replace(authority, digest=""))
    assert "[redacted]" in shown
    assert "PRIVATE" not in shown
    assert "signer" not in shown
