"""Revocation lists: what we sign is accepted everywhere, what we read is the CA's whole and genuine list."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    Authority,
    CrlEntry,
    Issued,
    PkiError,
    Reason,
    Revocation,
    make_serial,
    read_crl,
    sign_crl,
)

WEEK = timedelta(days=7)
OpenSsl = Callable[..., subprocess.CompletedProcess[str]]


def revoke(
    now: datetime, serial: str = "2B0A", reason: RevocationReason = RevocationReason.UNSPECIFIED
) -> Revocation:
    return Revocation(
        serial=serial, revoked_at=now, reason=reason, not_after=now + WEEK, source="shop/gateway-7"
    )


def sign(authority: Authority, now: datetime, *revocations: Revocation, number: int = 42) -> str:
    return sign_crl(authority, revocations, number=number, now=now, lifetime=WEEK)


def foreign(
    authority: Authority,
    now: datetime,
    *extensions: tuple[x509.ExtensionType, bool],
    entry: tuple[x509.ExtensionType, bool] | None = None,
    name: x509.Name | None = None,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> str:
    """Sign a list that this project would not sign, with the key of an authority."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.signer.name if name is None else name)
        .last_update(now)
        .next_update(now + WEEK)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    revoked = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(now)
    if entry:
        revoked = revoked.add_extension(entry[0], critical=entry[1])
    signed = builder.add_revoked_certificate(revoked.build()).sign(
        key or authority.signer.key, hashes.SHA256()
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def tampered(pem: str, old: bytes, new: bytes) -> str:
    body = base64.b64decode("".join(pem.splitlines()[1:-1]))
    assert body.count(old) == 1
    text = base64.encodebytes(body.replace(old, new)).decode()
    return f"-----BEGIN X509 CRL-----\n{text}-----END X509 CRL-----\n"


def test_a_signed_list_is_read_back(authority: Authority, now: datetime) -> None:
    entries = [revoke(now, f"{number:02X}", reason) for number, reason in enumerate(RevocationReason, 1)]
    facts = read_crl(sign(authority, now, *reversed(entries)), authority)
    assert (facts.number, facts.this_update, facts.next_update) == (42, now, now + WEEK)
    assert facts.revocations == tuple(CrlEntry(one.serial, now, one.reason) for one in entries)


def test_the_pem_of_the_ca_is_enough_to_read_its_list(authority: Authority, now: datetime) -> None:
    pem = sign(authority, now)
    assert read_crl(pem, authority.certificate_pem) == read_crl(pem, authority)


def test_a_list_of_nothing_is_a_list(authority: Authority, now: datetime) -> None:
    assert read_crl(sign(authority, now), authority).revocations == ()


def test_a_list_has_the_key_identifier_and_the_number_and_no_other_extension(
    authority: Authority, now: datetime
) -> None:
    crl = x509.load_pem_x509_crl(sign(authority, now).encode())
    assert [(one.value, one.critical) for one in crl.extensions] == [
        (x509.AuthorityKeyIdentifier(bytes.fromhex(authority.facts.ski), None, None), False),
        (x509.CRLNumber(42), False),
    ]


def test_a_reason_is_written_unless_it_is_unspecified(authority: Authority, now: datetime) -> None:
    pem = sign(authority, now, revoke(now, "01"), revoke(now, "02", RevocationReason.KEY_COMPROMISE))
    plain, compromised = sorted(x509.load_pem_x509_crl(pem.encode()), key=lambda one: one.serial_number)
    assert list(plain.extensions) == []
    assert [one.value for one in compromised.extensions] == [x509.CRLReason(x509.ReasonFlags.key_compromise)]


def test_a_serial_revoked_twice_stands_once_in_a_list(authority: Authority, now: datetime) -> None:
    again = replace(revoke(now), revoked_at=now + timedelta(hours=1))
    assert len(read_crl(sign(authority, now, again, revoke(now)), authority).revocations) == 1


def test_openssl_accepts_the_list_and_refuses_what_it_revokes(
    authority: Authority, issue: Callable[..., Issued], now: datetime, openssl: OpenSsl
) -> None:
    good, bad = issue(), issue(serial=make_serial(8, bytes(15)))
    pem = sign(authority, now, revoke(now, bad.facts.serial, RevocationReason.KEY_COMPROMISE))
    files = {
        "ca": authority.certificate_pem,
        "crl": pem,
        "good": good.certificate_pem,
        "bad": bad.certificate_pem,
    }
    at = ("-attime", f"{now.timestamp():.0f}", "-purpose", "sslclient")
    check = ("verify", "-x509_strict", *at, "-crl_check", "-CAfile", "ca", "-CRLfile", "crl")
    assert openssl(*check, "good", **files).stdout == "good: OK\n"
    refused = openssl(*check, "bad", **files)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


def test_openssl_verifies_the_signature_of_a_list(
    authority: Authority, other_authority: Authority, now: datetime, openssl: OpenSsl
) -> None:
    files = {
        "crl": sign(authority, now),
        "ca": authority.certificate_pem,
        "other": other_authority.certificate_pem,
    }
    assert "verify OK" in openssl("crl", "-in", "crl", "-noout", "-CAfile", "ca", **files).stderr
    assert "verify OK" not in openssl("crl", "-in", "crl", "-noout", "-CAfile", "other").stderr


@pytest.mark.parametrize("number", [-1, 2**159])
def test_a_number_outside_20_bytes_is_refused(authority: Authority, now: datetime, number: int) -> None:
    with pytest.raises(PkiError) as caught:
        sign(authority, now, number=number)
    assert caught.value.reason is Reason.INVALID_CRL


@pytest.mark.parametrize("lifetime", [timedelta(0), -WEEK])
def test_a_list_that_is_never_valid_is_refused(
    authority: Authority, now: datetime, lifetime: timedelta
) -> None:
    with pytest.raises(PkiError) as caught:
        sign_crl(authority, [], number=1, now=now, lifetime=lifetime)
    assert caught.value.reason is Reason.INVALID_VALIDITY


def test_a_ca_that_may_not_sign_lists_signs_none(authority: Authority, now: datetime) -> None:
    limited = replace(authority, signer=replace(authority.signer, may_sign_lists=False))
    with pytest.raises(PkiError, match="cRLSign") as caught:
        sign(limited, now)
    assert caught.value.reason is Reason.NOT_AN_AUTHORITY


def test_a_list_with_a_serial_exchanged_is_refused(authority: Authority, now: datetime) -> None:
    pem = tampered(
        sign(authority, now, revoke(now, "2B0A0B0C0D")), b"\x2b\x0a\x0b\x0c\x0d", b"\x2b\x0a\x0b\x0c\x0e"
    )
    with pytest.raises(PkiError, match="valid signature"):
        read_crl(pem, authority)


def test_a_list_with_a_later_end_is_refused(authority: Authority, now: datetime) -> None:
    pem = tampered(sign(authority, now), b"300109030405Z", b"400109030405Z")
    with pytest.raises(PkiError, match="valid signature"):
        read_crl(pem, authority)


def test_a_list_of_another_ca_of_the_same_name_is_refused(
    authority: Authority, other_authority: Authority, now: datetime
) -> None:
    with pytest.raises(PkiError, match="valid signature") as caught:
        read_crl(sign(other_authority, now), authority)
    assert caught.value.reason is Reason.INVALID_CRL


def test_a_list_in_the_name_of_another_ca_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(PkiError, match="another issuer"):
        read_crl(foreign(authority, now, name=x509.Name([])), authority)


def test_a_list_signed_with_another_kind_of_key_is_refused(authority: Authority, now: datetime) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(PkiError) as caught:
        read_crl(foreign(authority, now, key=key), authority)
    assert caught.value.reason is Reason.INVALID_CRL


def test_a_list_of_a_leaf_is_refused(
    authority: Authority, issue: Callable[..., Issued], now: datetime
) -> None:
    with pytest.raises(PkiError, match="cRLSign"):
        read_crl(sign(authority, now), issue().certificate_pem)


def idp(*, only_user: bool = False, indirect: bool = False) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=only_user,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=indirect,
        only_contains_attribute_certs=False,
    )


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(3),
        idp(only_user=True),
        idp(indirect=True),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ],
    ids=["delta", "partial", "indirect", "unknown"],
)
def test_a_list_that_is_not_the_whole_truth_is_refused(
    authority: Authority, now: datetime, extension: x509.ExtensionType
) -> None:
    with pytest.raises(PkiError, match="only complete lists"):
        read_crl(foreign(authority, now, (extension, True)), authority)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ((x509.CRLReason(x509.ReasonFlags.remove_from_crl), False), "removeFromCRL"),
        ((x509.CertificateIssuer([x509.DNSName("a.example")]), True), "2.5.29.29"),
        ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True), "1.2.3.4"),
    ],
    ids=["removed", "of another issuer", "unknown"],
)
def test_a_list_with_an_entry_of_unknown_meaning_is_refused(
    authority: Authority, now: datetime, entry: tuple[x509.ExtensionType, bool], why: str
) -> None:
    with pytest.raises(PkiError, match=why):
        read_crl(foreign(authority, now, entry=entry), authority)


def test_a_list_without_a_number_is_read_without_one(authority: Authority, now: datetime) -> None:
    facts = read_crl(foreign(authority, now), authority)
    assert facts.number is None
    assert facts.revocations == (CrlEntry("05", now, RevocationReason.UNSPECIFIED),)


@pytest.mark.parametrize(
    "pem", ["", "nonsense", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "\ud800"], ids=ascii
)
def test_what_is_no_list_is_refused(authority: Authority, pem: str) -> None:
    with pytest.raises(PkiError, match="cannot be read") as caught:
        read_crl(pem, authority)
    assert caught.value.reason is Reason.INVALID_CRL


def test_a_list_of_ten_thousand_is_signed_and_read_whole(authority: Authority, now: datetime) -> None:
    entries = [revoke(now, f"{number:08X}") for number in range(0x10000000, 0x10002710)]
    facts = read_crl(sign(authority, now, *entries), authority)
    assert [one.serial for one in facts.revocations] == [one.serial for one in entries]
