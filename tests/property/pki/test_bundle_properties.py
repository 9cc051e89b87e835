"""Hostile bundles: a changed CA is never trusted for what it did not say, and never an error."""

from __future__ import annotations

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from tests.property.pki.hostile import MUTATIONS, Mutation, armoured, der_of, mutate
from tests.unit.pki.made import NOW, limited, make_ca

from mtls_operator.pki import PkiError, load_issuing_authority, read_bundle

ROOT = make_ca("Root")
ISSUING = make_ca("Issuing", issuer=ROOT, basic=limited(0))
TEXT = (ROOT.pem + ISSUING.pem).encode()


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_text_trusts_nobody_and_says_why(text: bytes | str) -> None:
    bundle = read_bundle(text, now=NOW)
    assert bundle.accepted == ()
    assert bundle.refused


@given(mutations=st.lists(MUTATIONS, max_size=4))
def test_whatever_the_text_says_only_cas_are_trusted_and_the_rest_is_named(mutations: list[Mutation]) -> None:
    text = TEXT
    for mutation in mutations:
        text = mutate(text, mutation)
    bundle = read_bundle(text, now=NOW)
    for ca in bundle.accepted:
        extensions = ca.certificate.extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert bundle.accepted or bundle.refused


@given(mutation=MUTATIONS)
def test_a_changed_root_is_trusted_for_nothing_that_its_key_did_not_sign(mutation: Mutation) -> None:
    changed = armoured(mutate(der_of(ROOT.pem), mutation), "CERTIFICATE")
    for ca in read_bundle(changed, now=NOW).accepted:
        assert not ca.self_signed or (
            ca.certificate.tbs_certificate_bytes == ROOT.certificate.tbs_certificate_bytes
        )


@given(order=st.permutations([ROOT, ISSUING, make_ca("Other"), make_ca("Root")]))
def test_the_order_of_a_bundle_changes_nothing_but_places(order: list[object]) -> None:
    bundle = read_bundle("".join(ca.pem for ca in order), now=NOW)  # type: ignore[attr-defined]  # all are CAs
    found = {ca.digest: (ca.path, ca.rooted) for ca in bundle.accepted}
    assert len(found) == 4
    assert found[ISSUING.digest] == ((ROOT.digest,), True)
    assert len(bundle.notes) == 1


@given(mutation=MUTATIONS)
def test_a_changed_issuing_ca_is_loaded_as_it_was_or_refused(mutation: Mutation) -> None:
    text = mutate(TEXT, mutation)
    try:
        loaded = load_issuing_authority(text, ROOT.key_pem, now=NOW)
    except PkiError:
        return
    assert loaded.authority.facts.subject == "CN=Root"
    certificate = x509.load_pem_x509_certificate(loaded.authority.certificate_pem.encode())
    assert certificate.public_key() == ROOT.key.public_key()
