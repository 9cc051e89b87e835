"""What Lua reads from a certificate, against the library that made it."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lupa.luajit21 import LuaError, LuaRuntime
from tests.support.certs import authority

from mtls_operator.envoy.script import call

LUA = LuaRuntime(encoding=None)
SHA1: Any = LUA.eval(call("sha1"))
CERTIFICATE: Any = LUA.eval(call("certificate", call("sha1")))
CA = authority("managed")
Attribute = x509.NameAttribute


def certificate(
    subject: x509.Name, *extensions: x509.ExtensionType, critical: bool = False
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(CA.certificate.subject)
        .public_key(CA.key.public_key())
        .not_valid_before(datetime(2022, 3, 1, 13, 35, tzinfo=UTC))
        .not_valid_after(datetime(2052, 12, 21, tzinfo=UTC))
        .serial_number(5)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(CA.key, hashes.SHA256())


def der_of(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def facts_of(made: x509.Certificate) -> dict[str, Any]:
    table = CERTIFICATE[b"read"](der_of(made))
    return {
        name.decode(): value if isinstance(value, bytes) else list(value.values())
        for name, value in table.items()
    }


def plain(common_name: str = "a") -> x509.Name:
    return x509.Name([Attribute(NameOID.COMMON_NAME, common_name)])


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 1000, 70_000])
def test_sha1_is_the_published_one(length: int) -> None:
    message = bytes(n * 7 % 256 for n in range(length))
    assert SHA1(message).decode() == hashlib.sha1(message, usedforsecurity=False).hexdigest()


def test_the_fingerprint_is_the_sha1_of_the_der() -> None:
    made = certificate(plain())
    assert facts_of(made)["sha1"].decode() == made.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - what is under test


def test_key_identifiers_are_upper_case_hex() -> None:
    key = x509.SubjectKeyIdentifier(bytes.fromhex("00ab10" + "cd" * 17))
    issuer = x509.AuthorityKeyIdentifier(b"\x0f\xee", [x509.DirectoryName(plain("ca"))], 7)
    facts = facts_of(certificate(plain(), key, issuer))
    assert (facts["ski"], facts["issuer_ski"]) == (b"00AB10" + b"CD" * 17, b"0FEE")


def test_what_a_certificate_does_not_hold_is_empty() -> None:
    facts = facts_of(certificate(plain()))
    assert [facts[name] for name in ("ski", "issuer_ski", "dns", "uri", "email", "ip")] == [
        b"",
        b"",
        [],
        [],
        [],
        [],
    ]


@pytest.mark.parametrize("critical", [True, False])
def test_alternative_names_are_listed_by_kind_in_order(critical: bool) -> None:  # noqa: FBT001 - a parameter of the test
    names = [
        x509.DNSName("b.example"),
        x509.RFC822Name("a@b.example"),
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.IPAddress(ip_address("2001:db8::1")),
        x509.IPAddress(ip_address("::ffff:192.0.2.2")),
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.DNSName("a.example"),
        x509.DirectoryName(plain("hidden")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    ]
    facts = facts_of(certificate(plain(), x509.SubjectAlternativeName(names), critical=critical))
    assert facts["dns"] == [b"b.example", b"a.example"]
    assert facts["email"] == [b"a@b.example"]
    assert facts["uri"] == [b"spiffe://a/b"]
    assert facts["ip"] == [bytes([192, 0, 2, 1]), ip_address("2001:db8::1").packed, bytes([192, 0, 2, 2])]


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (
            [(NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Acme"), (NameOID.COMMON_NAME, "a")],
            "/C=DE/O=Acme/CN=a",
        ),
        ([(NameOID.ORGANIZATION_NAME, "x/CN=admin")], r"/O=x\/CN=admin"),
        ([(NameOID.EMAIL_ADDRESS, "a+b@c")], r"/emailAddress=a\+b@c"),
        ([(NameOID.COMMON_NAME, "Ü\x7f~ \x01")], r"/CN=\xC3\x9C\x7F~ \x01"),
        (
            [(NameOID.USER_ID, "u"), (NameOID.DOMAIN_COMPONENT, "d"), (NameOID.SURNAME, "s")],
            "/UID=u/DC=d/SN=s",
        ),
        ([(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2.200"), "x")], "/1.3.6.1.4.1.99999.2.200=x"),
        ([(x509.ObjectIdentifier("2.999.1"), "x")], "/2.999.1=x"),
        ([(x509.ObjectIdentifier(f"2.25.{2**60}"), "x")], f"/#6990{7 * '80'}00=x"),
    ],
)
def test_the_legacy_name_is_openssls_one_line(
    attributes: list[tuple[x509.ObjectIdentifier, str]], text: str
) -> None:
    name = x509.Name([Attribute(oid, value) for oid, value in attributes])
    facts = facts_of(certificate(name))
    assert (facts["subject"].decode(), facts["issuer"]) == (text, b"/CN=managed")


def test_attributes_of_one_set_are_joined_with_a_plus() -> None:
    pair = [Attribute(NameOID.COMMON_NAME, "a"), Attribute(NameOID.ORGANIZATION_NAME, "o")]
    name = x509.Name([x509.RelativeDistinguishedName(pair), x509.RelativeDistinguishedName(pair[1:])])
    assert facts_of(certificate(name))["subject"] == b"/CN=a+O=o/O=o"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1_646_141_700, "Mar  1 13:35:00 2022 GMT"),
        (2_618_352_000, "Dec 21 00:00:00 2052 GMT"),
        (0, "Jan  1 00:00:00 1970 GMT"),
        (-1, "Dec 31 23:59:59 1969 GMT"),
        (253_402_300_799, "Dec 31 23:59:59 9999 GMT"),
    ],
)
def test_a_time_is_written_as_openssl_does(seconds: int, text: str) -> None:
    assert CERTIFICATE[b"time_text"](seconds).decode() == text


def test_the_certificates_of_a_chain_are_found_in_order() -> None:
    chain = [certificate(plain(name)) for name in ("leaf", "middle", "last")]
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain).decode()
    bodies = list(CERTIFICATE[b"bodies"](quote(pem, safe="").encode()).values())
    assert bodies == [base64.b64encode(der_of(each)) for each in chain]


@pytest.mark.parametrize("removed", [1, 2, 40, 200])
def test_a_certificate_that_is_cut_is_an_error(removed: int) -> None:
    with pytest.raises(LuaError, match="certificate"):
        CERTIFICATE[b"read"](der_of(certificate(plain()))[:-removed])


@pytest.mark.parametrize(
    "broken", [b"", b"\x30", b"\x30\x80", b"\x30\x84\0\0\0\1\0", b"\x1f\x01\0", b"\x04\0", b"\x30\0"]
)
def test_what_is_no_certificate_is_an_error(broken: bytes) -> None:
    with pytest.raises(LuaError):
        CERTIFICATE[b"read"](broken)


def test_an_extension_that_comes_twice_is_an_error() -> None:
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"y")
    made = certificate(plain(), x509.SubjectKeyIdentifier(b"x" * 4), other)
    twice = der_of(made).replace(bytes.fromhex("0603551d63"), bytes.fromhex("0603551d0e"))
    with pytest.raises(LuaError, match="twice"):
        CERTIFICATE[b"read"](twice)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        (x509.DNSName("client.example.com"), True),
        (x509.UniformResourceIdentifier("spiffe://example.com/a?b=c"), True),
        (x509.DNSName("a,Hash=1"), False),
        (x509.DNSName("a;DNS=b"), False),
        (x509.UniformResourceIdentifier('urn:"'), False),
        (x509.UniformResourceIdentifier("urn:a b"), False),
        (x509.DNSName("a\x7f"), False),
        (x509.DNSName("a\0"), False),
        (x509.RFC822Name("a,b@example.com"), True),
    ],
)
def test_a_leaf_is_sound_when_its_names_can_be_passed_on(name: x509.GeneralName, *, sound: bool) -> None:
    made = certificate(x509.Name([]), x509.SubjectAlternativeName([name]))
    assert CERTIFICATE[b"sound"](der_of(made)) is sound


def test_a_leaf_is_not_sound_with_an_elliptic_curve_that_is_not_ours() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(CA.certificate.subject)
        .public_key(key.public_key())
        .not_valid_before(datetime(2022, 3, 1, tzinfo=UTC))
        .not_valid_after(datetime(2052, 12, 21, tzinfo=UTC))
        .serial_number(5)
        .sign(CA.key, hashes.SHA256())
    )
    assert CERTIFICATE[b"sound"](der_of(made)) is False
