"""Hostile input: any bytes are refused as ours, and no change of a signed thing passes for the thing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from tests.property.pki.hostile import MUTATIONS, armoured, der_of, mutate

from mtls_operator.api.certificate import FINAL_REASONS, RevocationReason
from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    CertificateFacts,
    KeySpec,
    PkiError,
    Revocation,
    Subject,
    SubjectAltNames,
    check_server_pair,
    is_issued_by,
    issue_client,
    load_authority,
    load_key,
    make_serial,
    merge,
    read_certificate,
    read_crl,
    revoked_json,
    sign_crl,
)

REASONS = st.sampled_from(RevocationReason)
HOURS = st.integers(0, 3).map(lambda hours: timedelta(hours=hours))


def signed_part(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).tbs_certificate_bytes


@pytest.fixture(scope="session")
def leaf(authority: Authority, now: datetime) -> str:
    return issue_client(
        authority,
        subject=Subject(common_name="gateway-7", organizations=("ACME",), countries=("DE",)),
        sans=SubjectAltNames(("a.example",), ("spiffe://a/b",), ("a@b.example",), ("10.0.0.1",)),
        key=KeySpec(),
        validity=timedelta(days=1),
        serial=make_serial(1, bytes(15)),
        now=now,
    ).certificate_pem


@pytest.fixture(scope="session")
def crl(authority: Authority, now: datetime) -> str:
    revocation = Revocation("2B0A", now, RevocationReason.KEY_COMPROMISE, now, "shop/gateway-7")
    return sign_crl(authority, [revocation], number=1, now=now, lifetime=timedelta(days=7))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_ours(data: bytes) -> None:
    for read in (read_certificate, lambda pem: load_key(Secret(pem))):
        with pytest.raises(PkiError):
            read(data)


@given(mutation=MUTATIONS)
def test_a_changed_pem_is_read_or_refused_as_ours(mutation: tuple[float, str, bytes], leaf: str) -> None:
    try:
        facts = read_certificate(mutate(leaf.encode(), mutation))
    except PkiError:
        return
    assert isinstance(facts, CertificateFacts)


@given(mutation=MUTATIONS)
def test_a_changed_certificate_is_read_or_refused_as_ours(
    mutation: tuple[float, str, bytes], leaf: str
) -> None:
    try:
        facts = read_certificate(armoured(mutate(der_of(leaf), mutation), "CERTIFICATE"))
    except PkiError:
        return
    assert isinstance(facts, CertificateFacts)


@given(mutation=MUTATIONS)
def test_checking_a_changed_server_certificate_never_fails(
    mutation: tuple[float, str, bytes], leaf: str, authority: Authority, now: datetime
) -> None:
    changed = armoured(mutate(der_of(leaf), mutation), "CERTIFICATE")
    assert check_server_pair(changed, authority.key_pem, ("a.example",), now=now)


@given(mutation=MUTATIONS)
def test_an_authority_that_says_anything_else_than_was_signed_is_never_loaded(
    mutation: tuple[float, str, bytes], authority: Authority
) -> None:
    changed = armoured(mutate(der_of(authority.certificate_pem), mutation), "CERTIFICATE")
    try:
        loaded = load_authority(changed, authority.key_pem)
    except PkiError:
        return
    assert signed_part(loaded.certificate_pem) == signed_part(authority.certificate_pem)


@given(mutation=MUTATIONS)
def test_a_certificate_that_says_anything_else_than_was_signed_is_not_ours(
    mutation: tuple[float, str, bytes], leaf: str, authority: Authority
) -> None:
    changed = armoured(mutate(der_of(leaf), mutation), "CERTIFICATE")
    if is_issued_by(authority, changed):
        assert signed_part(changed) == signed_part(leaf)


@given(mutation=MUTATIONS)
def test_a_revocation_list_that_says_anything_else_than_was_signed_is_never_read(
    mutation: tuple[float, str, bytes], crl: str, authority: Authority
) -> None:
    changed = armoured(mutate(der_of(crl), mutation), "X509 CRL")
    try:
        facts = read_crl(changed, authority)
    except PkiError:
        return
    assert facts == read_crl(crl, authority)


@st.composite
def revocations(draw: st.DrawFn) -> list[Revocation]:
    start = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    one = st.builds(
        Revocation,
        serial=st.sampled_from(["01", "0A", "FF"]),
        revoked_at=HOURS.map(lambda after: start + after),
        reason=REASONS,
        not_after=HOURS.map(lambda after: start + after),
        source=st.sampled_from(["shop/a", "shop/b"]),
    )
    return draw(st.lists(one, max_size=6))


@given(listed=revocations(), data=st.data())
def test_the_order_of_revocations_does_not_matter(
    listed: list[Revocation], data: st.DataObject, authority: Authority
) -> None:
    other = data.draw(st.permutations(listed))
    assert merge(other) == merge(listed)
    assert revoked_json(other, epoch=1, issuers=[authority.facts]) == revoked_json(
        listed, epoch=1, issuers=[authority.facts]
    )


@given(first=revocations(), second=revocations())
def test_no_source_of_revocations_weakens_another_one(
    first: list[Revocation], second: list[Revocation]
) -> None:
    merged = {one.serial: one for one in merge([*first, *second])}
    for one in first:
        stands = merged[one.serial]
        assert stands.revoked_at <= one.revoked_at
        assert stands.not_after >= one.not_after
        assert stands.reason in FINAL_REASONS or one.reason not in FINAL_REASONS


@given(listed=revocations())
def test_merging_twice_changes_nothing(listed: list[Revocation]) -> None:
    assert merge(merge(listed)) == merge(listed)
