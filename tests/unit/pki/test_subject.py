"""Distinguished names: Envoy's text, byte for byte, and what users may not ask for."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mtls_operator.pki import PkiError, Reason, Subject
from mtls_operator.pki.subject import name_text, to_name


def common_name(value: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])


def test_the_text_of_a_subject_is_what_envoy_shows() -> None:
    subject = Subject(
        common_name="good",
        organizational_units=("Ünit+1",),
        organizations=('Acme, "Inc"',),
        countries=("DE",),
    )
    assert name_text(to_name(subject)) == r"CN=good,OU=\C3\9Cnit\+1,O=Acme\, \"Inc\",C=DE"


def test_the_attributes_stand_in_the_order_of_cloudflares_fields() -> None:
    subject = Subject(
        common_name="James Royal",
        organizational_units=("Access Admins",),
        organizations=("Access",),
        localities=("Austin",),
        provinces=("Texas",),
        countries=("US",),
    )
    text = "CN=James Royal,OU=Access Admins,O=Access,L=Austin,ST=Texas,C=US"
    assert name_text(to_name(subject)) == text


def test_several_values_keep_their_order_in_the_certificate_and_are_reversed_in_the_text() -> None:
    assert name_text(to_name(Subject(organizations=("A", "B")))) == "O=B,O=A"


def test_an_empty_subject_is_an_empty_text() -> None:
    assert name_text(to_name(Subject())) == ""


#: Seen in Envoy 1.40.0 for certificates with these common names.
ENVOY_ESCAPES = [
    (" lead", r"\ lead"),
    ("trail ", r"trail\ "),
    ("#x", r"\#x"),
    ("#", r"\#"),
    (" ", r"\ "),
    ("  ", r"\ \ "),
    ("a#b", "a#b"),
    ("a  b", "a  b"),
    ("=;<>\\/", r"=\;\<\>\\/"),
    ("a=b/c", "a=b/c"),
    ('"', r"\""),
    ("tab\tnl\n\x7f\x01", r"tab\09nl\0A\7F\01"),
    ("nul\x00x", r"nul\00x"),
    ("\U0001f600é", r"\F0\9F\98\80\C3\A9"),
    ("é ", r"\C3\A9\ "),
]


@pytest.mark.parametrize(("value", "text"), ENVOY_ESCAPES, ids=[ascii(value) for value, _ in ENVOY_ESCAPES])
def test_a_value_is_escaped_as_envoy_escapes_it(value: str, text: str) -> None:
    assert name_text(common_name(value)) == f"CN={text}"


#: Seen in Envoy 1.40.0, where several differ from OpenSSL: it knows fewer short names.
ENVOY_NAMES = [
    ("2.5.4.98", "2.5.4.98=#0C0178"),
    ("2.5.4.97", "2.5.4.97=#0C0178"),
    ("1.3.6.1.4.1.311.60.2.1.2", "1.3.6.1.4.1.311.60.2.1.2=#0C0178"),
    ("1.2.643.100.1", "1.2.643.100.1=#0C0178"),
    ("1.2.3.4.5", "1.2.3.4.5=#0C0178"),
    ("2.5.4.5", "serialNumber=x"),
    ("2.5.4.4", "SN=x"),
    ("2.5.4.42", "GN=x"),
    ("2.5.4.9", "street=x"),
    ("2.5.4.16", "postalAddress=x"),
    ("2.5.4.20", "telephoneNumber=x"),
    ("1.2.840.113549.1.9.1", "emailAddress=x"),
    ("0.9.2342.19200300.100.1.1", "UID=x"),
    ("0.9.2342.19200300.100.1.25", "DC=x"),
]


@pytest.mark.parametrize(("oid", "text"), ENVOY_NAMES)
def test_an_attribute_has_envoys_short_name_or_is_dumped(oid: str, text: str) -> None:
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oid), "x")])
    assert name_text(name) == text


def test_a_long_unknown_attribute_is_dumped_with_its_long_length() -> None:
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4.5"), "x" * 300)])
    assert name_text(name) == "1.2.3.4.5=#0C82012C" + "78" * 300


def test_an_rdn_of_several_attributes_is_joined_with_plus_in_reverse_order_of_its_der() -> None:
    name = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "z"),
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "a"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "b"),
                ]
            ),
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "last")]),
        ]
    )
    assert name_text(name_from_der(name)) == "O=last,OU=a+CN=z+CN=b"


def name_from_der(name: x509.Name) -> x509.Name:
    """Return the name as a reader sees it: in a certificate the members of a set are sorted."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    return x509.load_der_x509_csr(request.public_bytes(serialization.Encoding.DER)).subject


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        ({"common_name": "x" * 65}, "commonName"),
        ({"common_name": "ü" * 33}, "commonName"),
        ({"common_name": "nul\x00"}, "commonName"),
        ({"common_name": "line\n"}, "commonName"),
        ({"common_name": "\x7f"}, "commonName"),
        ({"common_name": "\x85"}, "commonName"),
        ({"common_name": "\ud800"}, "commonName"),
        ({"organizations": ("",)}, "organizations"),
        ({"organizations": ("ok", "x" * 65)}, "organizations"),
        ({"organizational_units": ("x" * 65,)}, "organizationalUnits"),
        ({"localities": ("x" * 129,)}, "localities"),
        ({"provinces": ("x" * 129,)}, "provinces"),
        ({"countries": ("D",)}, "countries"),
        ({"countries": ("DEU",)}, "countries"),
        ({"countries": ("D1",)}, "countries"),
        ({"countries": ("ÄÖ",)}, "countries"),
        ({"countries": ("DE\n",)}, "countries"),
        ({"countries": ("",)}, "countries"),
    ],
)
def test_a_value_that_x520_does_not_allow_is_refused_with_its_field(
    subject: dict[str, str | tuple[str, ...]], field: str
) -> None:
    with pytest.raises(PkiError, match=rf"^subject\.{field}: ") as caught:
        Subject(**subject)  # type: ignore[arg-type]  # each case has the right type for its field
    assert caught.value.reason is Reason.INVALID_SUBJECT


def test_the_longest_values_pass() -> None:
    subject = Subject(common_name="ü" * 32, organizations=("ü" * 64,), localities=("ü" * 128,))
    assert len(to_name(subject).rdns) == 3
