"""Signing requests: what is taken from one, and every request that is refused."""

from __future__ import annotations

import base64
import ipaddress
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.unit.pki.made import usage

from mtls_operator.pki import (
    MAX_REQUEST_BYTES,
    Authority,
    PkiError,
    Reason,
    Subject,
    SubjectAltNames,
    is_issued_by,
    issue_client_from_request,
    make_serial,
    names_of,
    read_certificate,
    read_request,
)

OpenSsl = Callable[..., subprocess.CompletedProcess[str]]
DAY = timedelta(days=1)
SERIAL = make_serial(9, bytes(15))
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway-7")])


def csr(
    *extensions: x509.ExtensionType,
    name: x509.Name = NAME,
    key: Any = KEY,
    digest: hashes.HashAlgorithm | None = None,
    attributes: tuple[tuple[x509.ObjectIdentifier, bytes], ...] = (),
    **signing: Any,
) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    for oid, value in attributes:
        builder = builder.add_attribute(oid, value)
    chosen = None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return pem(builder.sign(key, chosen, **signing).public_bytes(serialization.Encoding.DER))


def pem(der: bytes, label: str = "CERTIFICATE REQUEST") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def der_of(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def names(*values: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(values)


def attribute(oid: x509.ObjectIdentifier, value: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value, _validate=False)])


def refusal(text: bytes | str) -> str:
    with pytest.raises(PkiError) as caught:
        read_request(text)
    assert caught.value.reason is Reason.INVALID_REQUEST
    return str(caught.value)


def swapped(text: str, old: bytes, new: bytes) -> str:
    der = der_of(text)
    assert der.count(old) == 1
    return pem(der.replace(old, new))


def test_a_request_contributes_its_key_its_subject_and_its_names() -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "gateway-7"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ACME"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Ünit"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Köln"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "NRW"),
        ]
    )
    asked = names(
        x509.DNSName("A.example"),
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.RFC822Name("a@b.example"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    )
    request = read_request(csr(asked, name=subject))
    assert request.subject == Subject("gateway-7", ("ACME",), ("Ünit",), ("DE",), ("Köln",), ("NRW",))
    assert request.sans == SubjectAltNames(
        ("a.example",), ("spiffe://a/b",), ("a@b.example",), ("10.0.0.1", "2001:db8::1")
    )
    assert request.key == "ECDSA-256"


@pytest.mark.parametrize(
    ("key", "kind"),
    [(KEY, "ECDSA-256"), (ec.generate_private_key(ec.SECP384R1()), "ECDSA-384"), (RSA, "RSA-2048")],
    ids=["P-256", "P-384", "RSA"],
)
def test_keys_that_the_proxy_works_with_are_taken(key: Any, kind: str) -> None:
    assert read_request(csr(key=key)).key == kind


def test_an_rsa_request_may_be_signed_with_pss() -> None:
    text = csr(key=RSA, rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32))
    assert read_request(text).key == "RSA-2048"


def test_the_older_label_of_a_request_is_taken() -> None:
    assert read_request(pem(der_of(csr()), "NEW CERTIFICATE REQUEST")).subject == Subject("gateway-7")


def test_windows_line_ends_and_blank_lines_around_it_are_taken() -> None:
    assert read_request("\n" + csr().replace("\n", "\r\n") + "\n").subject == Subject("gateway-7")


def test_a_request_made_by_openssl_is_taken(openssl: OpenSsl) -> None:
    made = openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key"),
        *("-subj", "/O=ACME/CN=device-1", "-addext", "subjectAltName=DNS:device-1.example.com"),
    )
    request = read_request(made.stdout)
    assert request.subject == Subject("device-1", ("ACME",))
    assert request.sans.dns_names == ("device-1.example.com",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "alone"),
        ("nonsense", "alone"),
        ("\ud800", "alone"),
        (pem(b"\x30\x00"), "cannot be read"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nA\n-----END CERTIFICATE REQUEST-----\n", "base64"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "alone"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END NEW CERTIFICATE REQUEST-----\n", "alone"),
        (csr() + "x", "alone"),
        ("Subject: CN=gateway\n" + csr(), "alone"),
        (csr() + csr(), "several"),
        (csr().replace("REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1), "alone"),
        (csr().replace("\n", "\x00\n", 2), "alone"),
        (csr() + " " * MAX_REQUEST_BYTES, "larger"),
    ],
    ids=[
        *("nothing", "nonsense", "not ASCII", "no request in it", "no base64", "a certificate", "two labels"),
        *("text after it", "text before it", "two requests", "a header", "a NUL", "too large"),
    ],
)
def test_what_is_not_one_request_alone_is_refused(text: str, why: str) -> None:
    assert why in refusal(text)


def test_bytes_after_the_request_are_refused() -> None:
    assert "cannot be read" in refusal(pem(der_of(csr()) + b"\x05\x00"))


def test_a_private_key_beside_the_request_is_refused_and_not_shown() -> None:
    key = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    message = refusal(csr() + key)
    assert "private key" in message
    assert key.splitlines()[1] not in message


def test_a_request_whose_signature_is_of_another_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    mine, theirs = (
        one.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        for one in (KEY, other)
    )
    assert "valid signature" in refusal(swapped(csr(), mine, theirs))


def test_a_request_with_another_name_than_was_signed_is_refused() -> None:
    assert "valid signature" in refusal(swapped(csr(), b"gateway-7", b"gateway-8"))


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224"])
def test_a_request_signed_with_a_weak_digest_is_refused(digest: str, openssl: OpenSsl) -> None:
    made = openssl(
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", f"-{digest}", "-subj", "/CN=old")
    )
    assert "SHA-256" in refusal(made.stdout)


WEAK = {
    "RSA-1024": rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505 - it is refused
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ECDSA-secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "ECDSA-secp224r1": ec.generate_private_key(ec.SECP224R1()),
    "ECDSA-521": ec.generate_private_key(ec.SECP521R1()),
    "DSA": dsa.generate_private_key(1024),  # noqa: S505 - it is refused
}


@pytest.mark.parametrize("kind", WEAK)
def test_a_key_that_is_weak_or_that_the_proxy_cannot_verify_is_refused(kind: str) -> None:
    assert f"({kind})" in refusal(csr(key=WEAK[kind]))


def test_an_rsa_key_with_exponent_three_is_refused() -> None:
    assert "exponent" in refusal(csr(key=rsa.generate_private_key(public_exponent=3, key_size=2048)))


def test_a_compressed_point_is_refused(openssl: OpenSsl) -> None:
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "plain")
    openssl("ec", "-in", "plain", "-conv_form", "compressed", "-out", "key")
    made = openssl("req", "-new", "-key", "key", "-subj", "/CN=device")
    assert "unusual encoding" in refusal(made.stdout)


def test_what_a_request_asks_of_usages_and_authority_is_ignored(authority: Authority, now: datetime) -> None:
    text = csr(
        x509.BasicConstraints(ca=True, path_length=3),
        usage(),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
        attributes=((x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"hunter2"),),
    )
    made = issue_client_from_request(
        authority, read_request(text), validity=DAY, serial=SERIAL, now=now
    ).certificate_pem
    values = {type(one.value): one.value for one in x509.load_pem_x509_certificate(made.encode()).extensions}
    assert values[x509.BasicConstraints] == x509.BasicConstraints(ca=False, path_length=None)
    assert values[x509.ExtendedKeyUsage] == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    granted = values[x509.KeyUsage]
    assert isinstance(granted, x509.KeyUsage)
    assert granted.digital_signature
    assert not granted.key_cert_sign
    assert x509.UnrecognizedExtension not in values


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (x509.DNSName("*.example.com"), "dnsNames[0]"),
        (x509.DNSName("a..example"), "dnsNames[0]"),
        (x509.DNSName("a.example\x00.evil.example"), "dnsNames[0]"),
        (x509.DNSName("10.0.0.1"), "dnsNames[0]"),
        (x509.DNSName(""), "dnsNames[0]"),
        (x509.UniformResourceIdentifier("no-scheme"), "uris[0]"),
        (x509.UniformResourceIdentifier("spiffe://a/b,URI=spiffe://c"), "uris[0]"),
        (x509.UniformResourceIdentifier("spiffe://a/b\x00"), "uris[0]"),
        (x509.UniformResourceIdentifier("https://a/" + "x" * 600), "uris[0]"),
        (x509.RFC822Name("nobody"), "emails[0]"),
        (x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")), "ipAddresses[0]"),
        (x509.IPAddress(ipaddress.ip_address("::ffff:10.0.0.1")), "form of IPv6"),
        (x509.DirectoryName(NAME), "DirectoryName"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")), "RegisteredID"),
        (x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a"), "OtherName"),
    ],
    ids=str,
)
def test_an_alternative_name_that_is_malformed_or_of_another_kind_is_refused(
    value: x509.GeneralName, why: str
) -> None:
    assert why in refusal(csr(names(value)))


def test_an_empty_list_of_alternative_names_is_refused() -> None:
    empty = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x00")
    refusal(csr(empty))


def test_alternative_names_twice_are_refused() -> None:
    assert "twice" in refusal(csr(names(x509.DNSName("a.example"), x509.DNSName("A.example"))))


def test_more_names_than_an_object_may_have_are_refused() -> None:
    many = names(*(x509.DNSName(f"a{number}.example") for number in range(33)))
    assert "more than 32" in refusal(csr(many))


def test_two_lists_of_extensions_are_refused() -> None:
    microsoft = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
    text = csr(names(x509.DNSName("a.example")), attributes=((microsoft, b"\x30\x00"),))
    assert "twice" in refusal(text)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (attribute(NameOID.EMAIL_ADDRESS, "a@b.example"), "emailAddress"),
        (attribute(NameOID.SERIAL_NUMBER, "12"), "serialNumber"),
        (attribute(NameOID.USER_ID, "root"), "UID"),
        (attribute(NameOID.COMMON_NAME, "x" * 65), "subject.commonName"),
        (attribute(NameOID.COMMON_NAME, " admin"), "subject.commonName"),
        (attribute(NameOID.COMMON_NAME, "admin\x00.evil"), "subject.commonName"),
        (attribute(NameOID.COMMON_NAME, "admin\n"), "subject.commonName"),
        (attribute(NameOID.COMMON_NAME, "ad\u200bmin"), "does not show"),
        (attribute(NameOID.COMMON_NAME, "\u202eadmin"), "does not show"),
        (attribute(NameOID.COMMON_NAME, "ä" * 33), "64 bytes"),
        (attribute(NameOID.COUNTRY_NAME, "de"), "subject.countries"),
        (x509.Name([*NAME, *attribute(NameOID.COMMON_NAME, "admin")]), "2 values"),
        (
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [*NAME, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ACME")]
                    )
                ]
            ),
            "multi-valued",
        ),
        (
            x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"o{number}") for number in range(9)]),
            "9 values",
        ),
    ],
    ids=ascii,
)
def test_a_subject_that_an_object_could_not_have_is_refused(name: x509.Name, why: str) -> None:
    assert why in refusal(csr(name=name))


@pytest.mark.parametrize("kind", [_ASN1Type.T61String, _ASN1Type.BMPString, _ASN1Type.UniversalString])
def test_a_subject_in_a_string_type_that_readers_understand_differently_is_refused(kind: _ASN1Type) -> None:
    odd = x509.NameAttribute(NameOID.COMMON_NAME, "admin", kind)
    assert "UTF8String" in refusal(csr(name=x509.Name([odd])))


def test_a_request_without_any_name_is_refused() -> None:
    assert "neither a subject nor" in refusal(csr(name=x509.Name([])))


def test_a_request_with_alternative_names_needs_no_subject() -> None:
    request = read_request(csr(names(x509.DNSName("a.example")), name=x509.Name([])))
    assert (request.subject, request.sans.dns_names) == (Subject(), ("a.example",))


def test_a_nameless_request_is_taken_where_its_owner_is_named_elsewhere(
    authority: Authority, now: datetime
) -> None:
    request = read_request(csr(name=x509.Name([])), nameless=True)
    made = issue_client_from_request(
        authority, request, subject=Subject("gateway-9"), validity=DAY, serial=SERIAL, now=now
    )
    assert made.facts.subject == "CN=gateway-9"


def test_nothing_is_issued_to_nobody(authority: Authority, now: datetime) -> None:
    request = read_request(csr(name=x509.Name([])), nameless=True)
    with pytest.raises(PkiError, match="names nobody") as caught:
        issue_client_from_request(authority, request, validity=DAY, serial=SERIAL, now=now)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_the_subject_of_the_object_replaces_the_whole_subject_of_the_request() -> None:
    asked = x509.Name([*NAME, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ACME")])
    request = read_request(csr(names(x509.DNSName("a.example")), name=asked))
    assert names_of(request, subject=Subject("other")) == (
        Subject("other"),
        SubjectAltNames(("a.example",)),
    )


def test_alternative_names_of_the_object_replace_all_of_the_request() -> None:
    request = read_request(csr(names(x509.DNSName("a.example"))))
    wanted = SubjectAltNames(uris=("spiffe://a/b",))
    assert names_of(request, sans=wanted) == (Subject("gateway-7"), wanted)


def test_an_object_that_names_nothing_leaves_the_names_to_the_request() -> None:
    request = read_request(csr(names(x509.DNSName("a.example"))))
    assert names_of(request, subject=Subject(), sans=SubjectAltNames()) == (request.subject, request.sans)


def test_what_is_issued_is_for_the_key_of_the_request(authority: Authority, now: datetime) -> None:
    made = issue_client_from_request(authority, read_request(csr()), validity=DAY, serial=SERIAL, now=now)
    certificate = x509.load_pem_x509_certificate(made.certificate_pem.encode())
    assert certificate.public_key() == KEY.public_key()
    assert is_issued_by(authority, made.certificate_pem)
    assert made.facts == read_certificate(made.certificate_pem)
    assert made.facts.not_after == now + DAY


def test_a_request_for_the_key_of_the_ca_itself_is_refused(authority: Authority, now: datetime) -> None:
    request = read_request(csr(key=authority.signer.key))
    with pytest.raises(PkiError, match="the CA itself") as caught:
        issue_client_from_request(authority, request, validity=DAY, serial=SERIAL, now=now)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_a_request_gets_no_serial_that_could_not_be_revoked(authority: Authority, now: datetime) -> None:
    with pytest.raises(PkiError, match="no index"):
        issue_client_from_request(authority, read_request(csr()), validity=DAY, serial=5, now=now)


def test_openssl_accepts_what_is_issued_for_a_request(
    authority: Authority, now: datetime, openssl: OpenSsl
) -> None:
    made = issue_client_from_request(authority, read_request(csr()), validity=DAY, serial=SERIAL, now=now)
    at = ("-attime", f"{now.timestamp():.0f}", "-purpose", "sslclient")
    done = openssl(
        *("verify", "-x509_strict", *at, "-CAfile", "ca", "leaf"),
        ca=authority.certificate_pem,
        leaf=made.certificate_pem,
    )
    assert done.stdout == "leaf: OK\n"
