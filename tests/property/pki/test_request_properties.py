"""Hostile requests: whatever is asked for, and however it is written, only a client certificate comes out."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.property.pki.hostile import MUTATIONS, Mutation, armoured, mutate

from mtls_operator.pki import (
    Authority,
    PkiError,
    Reason,
    Request,
    issue_client_from_request,
    make_serial,
    names_of,
    read_request,
)

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = x509.SubjectAlternativeName(
    [
        x509.DNSName("a.example"),
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.RFC822Name("a@b.example"),
    ]
)
#: Extensions that somebody may ask for; the first one counts, none of the others may.
ASKED = st.sampled_from(
    [
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        x509.ObjectIdentifier("1.2.3.4"),
    ]
)
CA = x509.BasicConstraints(ca=True, path_length=None).public_bytes()
VALUES = st.one_of(
    st.binary(max_size=40), MUTATIONS.map(lambda how: mutate(NAMES.public_bytes(), how)), st.just(CA)
)


def signed(name: x509.Name, *extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


WHOLE = signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway-7")]), NAMES)


def read(pem: bytes | str) -> Request | None:
    try:
        return read_request(pem)
    except PkiError as error:
        if error.reason is not Reason.INVALID_REQUEST:
            raise
        return None


def require_client_certificate(authority: Authority, request: Request, now: datetime) -> None:
    made = issue_client_from_request(
        authority, request, validity=timedelta(days=1), serial=make_serial(1, bytes(15)), now=now
    )
    parsed = x509.load_pem_x509_certificate(made.certificate_pem.encode())
    values = {one.oid: one.value for one in parsed.extensions}
    assert values.pop(ExtensionOID.BASIC_CONSTRAINTS) == x509.BasicConstraints(ca=False, path_length=None)
    assert values.pop(ExtensionOID.EXTENDED_KEY_USAGE) == x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    usage = values.pop(ExtensionOID.KEY_USAGE)
    assert isinstance(usage, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
    assert values.keys() <= {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
    subject, sans = names_of(request)
    assert made.facts.dns_names == sans.dns_names
    assert made.facts.uris == sans.uris
    assert made.facts.subject.startswith("CN=") is bool(subject.common_name)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_anything_is_refused_as_ours(data: bytes | str) -> None:
    assert read(data) is None


@given(mutation=MUTATIONS)
def test_a_changed_text_is_the_request_or_refused(mutation: Mutation) -> None:
    text = armoured(WHOLE, "CERTIFICATE REQUEST")
    assert read(mutate(text.encode(), mutation)) in {None, read(text)}


@given(mutation=MUTATIONS)
def test_a_request_that_says_anything_else_than_was_signed_is_never_taken(mutation: Mutation) -> None:
    changed = mutate(WHOLE, mutation)
    taken = read(armoured(changed, "CERTIFICATE REQUEST"))
    assert taken in {None, read(armoured(WHOLE, "CERTIFICATE REQUEST"))}


@given(oid=ASKED, value=VALUES)
def test_whatever_extension_is_asked_for_only_a_client_certificate_is_issued(
    oid: x509.ObjectIdentifier, value: bytes, authority: Authority, now: datetime
) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway-7")])
    der = signed(name, x509.UnrecognizedExtension(oid, value))
    request = read(armoured(der, "CERTIFICATE REQUEST"))
    if request is not None:
        require_client_certificate(authority, request, now)


@given(
    oid=st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.USER_ID]),
    value=st.text(min_size=1, max_size=70),
)
def test_whatever_subject_is_asked_for_it_is_issued_unchanged_or_refused(
    oid: x509.ObjectIdentifier, value: str, authority: Authority, now: datetime
) -> None:
    try:
        name = x509.Name([x509.NameAttribute(oid, value)])
    except ValueError:
        return
    request = read(armoured(signed(name), "CERTIFICATE REQUEST"))
    if request is not None:
        assert value in {request.subject.common_name, *request.subject.organizations}
        require_client_certificate(authority, request, now)
