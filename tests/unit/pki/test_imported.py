"""Imported lists: whose they are is proved by the signature, and only the whole truth counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import process_time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.unit.pki.made import DAY, NOW, Ca, make_ca, usage

from mtls_operator.pki import (
    MAX_LISTS,
    MAX_REVOKED,
    CrlRefusal,
    Imported,
    TrustedCa,
    goes_back,
    read_bundle,
    read_crls,
)

PARTNER = make_ca("Partner CA")
Extension = tuple[x509.ExtensionType, bool]


def trust(*cas: Ca) -> tuple[TrustedCa, ...]:
    bundle = read_bundle("".join(ca.pem for ca in cas), now=NOW)
    assert bundle.refused == ()
    return bundle.accepted


def entry(serial: int, *extensions: Extension) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.build()


def make_list(
    ca: Ca = PARTNER,
    *entries: x509.RevokedCertificate,
    more: Iterable[Extension] = (),
    at: datetime = NOW - DAY,
    until: datetime = NOW + DAY,
    issuer: x509.Name | None = None,
    key: Any = None,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=list(entries))
        .issuer_name(issuer or ca.certificate.subject)
        .last_update(at)
        .next_update(until)
    )
    for value, critical in more:
        builder = builder.add_extension(value, critical=critical)
    signer = key or ca.key
    chosen = None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return builder.sign(signer, chosen).public_bytes(serialization.Encoding.DER)


def pem(*ders: bytes) -> bytes:
    return b"".join(x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM) for der in ders)


def numbered(number: int) -> tuple[Extension, ...]:
    return ((x509.CRLNumber(number), False),)


def aki(ca: Ca) -> tuple[Extension, ...]:
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca.key.public_key())
    return ((x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),)


def read(data: bytes, *cas: Ca, now: datetime = NOW) -> Imported:
    return read_crls(data, trust(*cas or (PARTNER,)), now=now)


def refusal(data: bytes, *cas: Ca) -> CrlRefusal:
    imported = read(data, *cas)
    assert imported.accepted == ()
    (refused,) = imported.refused
    assert str(refused).startswith("list 1")
    return refused.reason


def test_a_list_tells_what_its_ca_revoked() -> None:
    (crl,) = read(make_list(PARTNER, entry(0x2B0A), entry(0xA), more=numbered(7))).accepted
    assert crl.serials == {"2B0A", "0A"}
    assert (crl.number, crl.this_update, crl.next_update, crl.stale) == (7, NOW - DAY, NOW + DAY, False)
    assert (crl.issuer, crl.issuers) == ("CN=Partner CA", (PARTNER.digest,))


def test_pem_and_der_say_the_same() -> None:
    der = make_list(PARTNER, entry(5))
    assert read(pem(der)) == read(der)


def test_several_lists_of_several_cas_are_read_from_one_file() -> None:
    other = make_ca("Other CA")
    imported = read(pem(make_list(PARTNER, entry(1)), make_list(other, entry(2))), PARTNER, other)
    assert imported.revoked_by(PARTNER.digest) == {"01"}
    assert imported.revoked_by(other.digest) == {"02"}


def test_a_ca_of_which_no_list_speaks_is_not_said_to_have_revoked_nothing() -> None:
    other = make_ca("Other CA")
    imported = read(make_list(), PARTNER, other)
    assert imported.revoked_by(PARTNER.digest) == frozenset()
    assert imported.revoked_by(other.digest) is None


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-521", "RSA", "Ed25519"],
)
def test_lists_of_every_kind_of_trusted_key_are_read(key: Any) -> None:
    ca = make_ca(key=key)
    assert len(read(make_list(ca, entry(1)), ca).accepted) == 1


def test_of_two_cas_with_one_name_the_one_that_signed_has_revoked() -> None:
    first, second = make_ca("Same"), make_ca("Same")
    (crl,) = read(make_list(second, entry(1), more=aki(second)), first, second).accepted
    assert crl.issuers == (second.digest,)


def test_a_key_identifier_that_points_to_another_ca_of_the_name_does_not_matter() -> None:
    first, second = make_ca("Same"), make_ca("Same")
    (crl,) = read(make_list(second, entry(1), more=aki(first)), first, second).accepted
    assert crl.issuers == (second.digest,)


def test_a_list_counts_for_every_certificate_of_its_ca() -> None:
    old = make_ca("Partner CA", end=NOW + DAY)
    new = make_ca("Partner CA", key=old.key)
    (crl,) = read(make_list(old, entry(1)), old, new).accepted
    assert crl.issuers == tuple(sorted((old.digest, new.digest)))


def test_a_list_does_not_count_for_another_name_with_the_same_key() -> None:
    other = make_ca("Other name", key=PARTNER.key)
    (crl,) = read(make_list(PARTNER, entry(1)), PARTNER, other).accepted
    assert crl.issuers == (PARTNER.digest,)


def test_the_list_of_an_intermediate_is_its_own() -> None:
    issuing = make_ca("Issuing", issuer=PARTNER)
    imported = read(make_list(issuing, entry(1)), PARTNER, issuing)
    assert imported.revoked_by(issuing.digest) == {"01"}
    assert imported.revoked_by(PARTNER.digest) is None


def test_a_stale_list_is_read_and_marked() -> None:
    (crl,) = read(make_list(PARTNER, entry(1), until=NOW)).accepted
    assert crl.stale
    assert crl.serials == {"01"}


def test_a_list_from_the_future_does_not_count_yet() -> None:
    assert refusal(make_list(at=NOW + timedelta(minutes=6), until=NOW + DAY)) is CrlRefusal.NOT_YET_VALID


def test_a_list_of_a_ca_whose_clock_is_a_little_ahead_counts() -> None:
    assert len(read(make_list(at=NOW + timedelta(minutes=5))).accepted) == 1


def test_a_file_says_when_time_alone_will_change_it() -> None:
    assert read(make_list(until=NOW + 3 * DAY)).look_again == NOW + 3 * DAY
    later = make_list(at=NOW + DAY, until=NOW + 9 * DAY)
    assert read(later).look_again == NOW + DAY - timedelta(minutes=5)
    assert read(make_list(until=NOW)).look_again is None


def test_of_two_lists_of_one_ca_the_newer_one_counts() -> None:
    old = make_list(PARTNER, entry(1), at=NOW - 2 * DAY)
    new = make_list(PARTNER, entry(2))
    for order, superseded in (((old, new), 1), ((new, old), 2)):
        imported = read(pem(*order))
        assert imported.revoked_by(PARTNER.digest) == {"02"}
        assert [(one.index, one.reason) for one in imported.refused] == [(superseded, CrlRefusal.SUPERSEDED)]


def test_of_two_lists_of_one_moment_the_higher_number_counts() -> None:
    low, high = make_list(PARTNER, entry(1), more=numbered(8)), make_list(PARTNER, entry(2), more=numbered(9))
    assert read(pem(high, low)).revoked_by(PARTNER.digest) == {"02"}


def test_a_genuine_old_list_in_place_of_a_newer_one_is_noticed() -> None:
    (old,) = read(make_list(PARTNER, at=NOW - 2 * DAY)).accepted
    (new,) = read(make_list(PARTNER, entry(1))).accepted
    assert goes_back(new, old)
    assert not goes_back(old, new)
    assert not goes_back(new, new)


def test_every_reason_is_a_revocation_and_is_counted() -> None:
    flags = (x509.ReasonFlags.key_compromise, x509.ReasonFlags.certificate_hold)
    held = [entry(number, (x509.CRLReason(flag), False)) for number, flag in enumerate(flags, 1)]
    (crl,) = read(make_list(PARTNER, *held, entry(3), entry(4))).accepted
    assert crl.serials == {"01", "02", "03", "04"}
    assert crl.reasons == (("CertificateHold", 1), ("KeyCompromise", 1), ("Unspecified", 2))


def test_a_serial_of_more_than_20_bytes_is_revoked_like_any_other() -> None:
    der = make_list(PARTNER, entry(2**159 - 1))
    (crl,) = read(der).accepted
    assert crl.serials == {"7F" + "FF" * 19}


def point(**changes: Any) -> x509.IssuingDistributionPoint:
    fields: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(fields | changes))


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
SHARD = [x509.UniformResourceIdentifier("http://crl.example.com/7.crl")]


@pytest.mark.parametrize("critical", [True, False], ids=["critical", "not critical"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (x509.DeltaCRLIndicator(3), CrlRefusal.DELTA),
        (point(indirect_crl=True), CrlRefusal.INDIRECT),
        (point(only_contains_user_certs=True), CrlRefusal.PARTIAL),
        (point(only_contains_ca_certs=True), CrlRefusal.PARTIAL),
        (point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), CrlRefusal.PARTIAL),
        (point(full_name=SHARD), CrlRefusal.PARTIAL),
    ],
    ids=["delta", "indirect", "users only", "CAs only", "some reasons", "a shard"],
)
def test_a_list_that_is_not_the_whole_truth_is_refused(
    value: x509.ExtensionType, reason: CrlRefusal, *, critical: bool
) -> None:
    assert refusal(make_list(more=((value, critical),))) is reason


def test_an_unknown_extension_is_refused_only_where_it_is_critical() -> None:
    assert refusal(make_list(more=((UNKNOWN, True),))) is CrlRefusal.UNKNOWN_CRITICAL_EXTENSION
    assert len(read(make_list(more=((UNKNOWN, False),))).accepted) == 1


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        ((x509.CRLReason(x509.ReasonFlags.remove_from_crl), False), CrlRefusal.DELTA),
        (
            (x509.CertificateIssuer([x509.DirectoryName(PARTNER.certificate.subject)]), True),
            CrlRefusal.INDIRECT,
        ),
        ((x509.CertificateIssuer([x509.DNSName("a.example")]), False), CrlRefusal.INDIRECT),
        ((UNKNOWN, True), CrlRefusal.UNKNOWN_ENTRY),
    ],
    ids=["removed", "of an issuer", "of an issuer, not critical", "unknown"],
)
def test_an_entry_of_another_meaning_refuses_the_list(extension: Extension, reason: CrlRefusal) -> None:
    assert refusal(make_list(PARTNER, entry(1), entry(2, extension))) is reason


def element(tag: int, content: bytes) -> bytes:
    """Return a DER element of less than 256 bytes."""
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x81" + bytes([size])
    return bytes([tag]) + length + content


def test_a_list_without_an_end_is_refused() -> None:
    crl = x509.load_der_x509_crl(make_list())
    body = crl.tbs_certlist_bytes
    end = b"\x17\x0d" + f"{NOW + DAY:%y%m%d%H%M%SZ}".encode()
    assert body.count(end) == 1
    body = element(0x30, body[2:].replace(end, b"") if body[1] < 0x80 else body[3:].replace(end, b""))
    signature = PARTNER.key.sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    endless = element(0x30, body + algorithm + element(0x03, b"\x00" + signature))
    assert refusal(endless) is CrlRefusal.NO_NEXT_UPDATE


def test_a_list_of_a_ca_that_is_not_trusted_is_refused() -> None:
    assert refusal(make_list(make_ca("Somebody"))) is CrlRefusal.WRONG_ISSUER


def test_a_list_of_a_look_alike_is_refused() -> None:
    assert refusal(make_list(make_ca("Partner CA"))) is CrlRefusal.BAD_SIGNATURE


def test_a_list_that_was_changed_is_refused() -> None:
    der = make_list(PARTNER, entry(0x2B0A0B0C))
    assert der.count(b"\x2b\x0a\x0b\x0c") == 1
    assert refusal(der.replace(b"\x2b\x0a\x0b\x0c", b"\x2b\x0a\x0b\x0d")) is CrlRefusal.BAD_SIGNATURE


def test_a_list_of_a_ca_that_may_not_sign_lists_is_refused() -> None:
    ca = make_ca(key_usage=usage(lists=False))
    assert refusal(make_list(ca), ca) is CrlRefusal.NO_CRL_SIGN


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.MD5()], ids=["SHA-1", "MD5"])  # noqa: S303 - refused
def test_a_list_with_a_weak_signature_is_refused(digest: hashes.HashAlgorithm) -> None:
    ca = make_ca(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    sha256, weak = bytes.fromhex("2a864886f70d01010b"), {"sha1": b"\x05", "md5": b"\x04"}[digest.name]
    der = make_list(ca).replace(sha256, sha256[:-1] + weak)
    assert refusal(der, ca) is CrlRefusal.WEAK_SIGNATURE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", CrlRefusal.UNREADABLE),
        (b"nonsense", CrlRefusal.UNREADABLE),
        (b"\x30\x00", CrlRefusal.UNREADABLE),
        (make_list() + b"\x05\x00", CrlRefusal.UNREADABLE),
        (PARTNER.pem.encode(), CrlRefusal.NOT_A_LIST),
        (pem(make_list()).replace(b"-----END X509 CRL-----", b""), CrlRefusal.UNREADABLE),
    ],
    ids=["nothing", "nonsense", "empty DER", "bytes after it", "a certificate", "no end"],
)
def test_what_is_no_list_is_named_and_refused(data: bytes, reason: CrlRefusal) -> None:
    assert refusal(data) is reason


def test_a_damaged_list_takes_no_other_one_with_it() -> None:
    imported = read(pem(make_list(make_ca("Somebody")), make_list(PARTNER, entry(1))))
    assert imported.revoked_by(PARTNER.digest) == {"01"}
    assert [one.index for one in imported.refused] == [1]


def test_the_number_of_lists_is_bounded() -> None:
    imported = read(pem(*[make_list()] * (MAX_LISTS + 1)))
    assert imported.refused[-1].reason is CrlRefusal.TOO_MANY


def test_forty_thousand_entries_are_read_within_a_second_of_work() -> None:
    reason = (x509.CRLReason(x509.ReasonFlags.superseded), False)
    der = make_list(PARTNER, *(entry(2**130 + number, reason) for number in range(40_000)))
    began = process_time()
    (crl,) = read(der).accepted
    assert process_time() - began < 1
    assert len(crl.serials) == 40_000


def test_more_entries_than_a_proxy_can_load_are_refused() -> None:
    der = make_list(PARTNER, *(entry(number) for number in range(1, MAX_REVOKED + 2)))
    assert refusal(der) is CrlRefusal.TOO_LARGE
