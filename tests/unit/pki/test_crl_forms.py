"""The forms of a list for others: the same list in both, with what caches need to know."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    Authority,
    CrlForms,
    PkiError,
    Reason,
    Revocation,
    crl_forms,
    fresh_for,
    read_crl,
    sign_crl,
)

WEEK = timedelta(days=7)


@pytest.fixture
def pem(authority: Authority, now: datetime) -> str:
    revocation = Revocation("2B0A", now, RevocationReason.SUPERSEDED, now + WEEK, "shop/a")
    return sign_crl(authority, [revocation], number=42, now=now, lifetime=WEEK)


@pytest.fixture
def forms(pem: str) -> CrlForms:
    return crl_forms(pem)


def test_both_forms_are_the_list(forms: CrlForms, pem: str, authority: Authority) -> None:
    assert x509.load_der_x509_crl(forms.der) == x509.load_pem_x509_crl(pem.encode())
    assert read_crl(forms.pem, authority) == read_crl(pem, authority)


def test_openssl_reads_the_der(
    forms: CrlForms, authority: Authority, openssl: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = openssl(
        *("crl", "-inform", "DER", "-in", "crl", "-noout", "-CAfile", "ca", "-crlnumber"),
        crl=forms.der,
        ca=authority.certificate_pem,
    )
    assert "verify OK" in done.stderr
    assert "crlNumber=0x2A" in done.stdout


def test_number_and_times_are_those_of_the_list(forms: CrlForms, now: datetime) -> None:
    assert (forms.number, forms.this_update, forms.next_update) == (42, now, now + WEEK)


def test_each_form_of_each_list_has_a_tag_of_its_own(
    forms: CrlForms, pem: str, authority: Authority, now: datetime
) -> None:
    other = crl_forms(sign_crl(authority, [], number=43, now=now, lifetime=WEEK))
    tags = {forms.der_tag, forms.pem_tag, other.der_tag, other.pem_tag}
    assert len(tags) == 4
    assert all(tag.startswith('"') and tag.endswith('"') and '"' not in tag[1:-1] for tag in tags)
    assert crl_forms(pem) == forms


def test_a_list_is_fresh_until_the_next_one_is_due_and_never_past_its_end(
    forms: CrlForms, now: datetime
) -> None:
    day = timedelta(days=1)
    assert fresh_for(forms, renew_at=now + day, now=now) == day
    assert fresh_for(forms, renew_at=now + 9 * day, now=now) == WEEK
    assert fresh_for(forms, renew_at=now + day, now=now + 2 * day) == timedelta(0)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_list_has_no_forms(text: str) -> None:
    with pytest.raises(PkiError) as caught:
        crl_forms(text)
    assert caught.value.reason is Reason.INVALID_CRL
