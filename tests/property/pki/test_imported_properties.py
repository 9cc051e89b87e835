"""Hostile revocation lists: what a CA did not sign never counts, and is never an error."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID
from hypothesis import given
from hypothesis import strategies as st
from tests.property.pki.hostile import MUTATIONS, Mutation, armoured, mutate
from tests.unit.pki.made import DAY, NOW, make_ca

from mtls_operator.pki import read_bundle, read_crls

CA = make_ca("Partner CA")
TRUSTED = read_bundle(CA.pem, now=NOW).accepted


def signed(*, more: tuple[x509.ExtensionType, ...] = (), entry: tuple[x509.ExtensionType, ...] = ()) -> bytes:
    revoked = x509.RevokedCertificateBuilder().serial_number(0x2B0A).revocation_date(NOW)
    for value in entry:
        revoked = revoked.add_extension(value, critical=False)
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=[revoked.build()])
        .issuer_name(CA.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
    )
    for value in more:
        builder = builder.add_extension(value, critical=False)
    return builder.sign(CA.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


WHOLE = signed(more=(x509.CRLNumber(7),), entry=(x509.CRLReason(x509.ReasonFlags.superseded),))
#: Extensions that change what a list means, with any content: the list is then refused, or means the same.
MEANING = st.sampled_from(
    [
        ExtensionOID.DELTA_CRL_INDICATOR,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
    ]
)
OF_ENTRY = st.sampled_from(
    [
        CRLEntryExtensionOID.CRL_REASON,
        CRLEntryExtensionOID.CERTIFICATE_ISSUER,
        CRLEntryExtensionOID.INVALIDITY_DATE,
    ]
)
VALUES = st.one_of(st.binary(max_size=20), st.sampled_from([b"\x30\x00", b"\x02\x01\x05", b"\x0a\x01\x08"]))


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda data: b"\x30" + data)))
def test_any_bytes_revoke_nothing_and_say_why(data: bytes) -> None:
    imported = read_crls(data, TRUSTED, now=NOW)
    assert imported.accepted == ()
    assert imported.refused


@given(mutation=MUTATIONS)
def test_a_list_that_says_anything_else_than_was_signed_never_counts(mutation: Mutation) -> None:
    for data in (mutate(WHOLE, mutation), armoured(mutate(WHOLE, mutation), "X509 CRL").encode()):
        for crl in read_crls(data, TRUSTED, now=NOW).accepted:
            assert (crl.serials, crl.number, crl.this_update) == ({"2B0A"}, 7, NOW)


@given(oid=MEANING, value=VALUES)
def test_an_extension_of_a_list_makes_it_refused_or_leaves_it_whole(
    oid: x509.ObjectIdentifier, value: bytes
) -> None:
    imported = read_crls(signed(more=(x509.UnrecognizedExtension(oid, value),)), TRUSTED, now=NOW)
    assert bool(imported.accepted) != bool(imported.refused)
    for crl in imported.accepted:
        assert oid in {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER}
        assert crl.serials == {"2B0A"}


@given(oid=OF_ENTRY, value=VALUES)
def test_an_extension_of_an_entry_makes_the_list_refused_or_leaves_it_revoked(
    oid: x509.ObjectIdentifier, value: bytes
) -> None:
    imported = read_crls(signed(entry=(x509.UnrecognizedExtension(oid, value),)), TRUSTED, now=NOW)
    assert bool(imported.accepted) != bool(imported.refused)
    for crl in imported.accepted:
        assert oid != CRLEntryExtensionOID.CERTIFICATE_ISSUER
        assert crl.serials == {"2B0A"}
