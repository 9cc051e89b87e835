"""Lineage: a signature decides who issued a certificate, nothing that anybody can write into one."""

from __future__ import annotations

from collections.abc import Callable

from mtls_operator.pki import Authority, Issued, is_issued_by


def test_a_ca_issued_what_it_signed(authority: Authority, issue: Callable[..., Issued]) -> None:
    assert is_issued_by(authority, issue().certificate_pem)


def test_a_ca_did_not_issue_what_another_one_of_its_name_signed(
    authority: Authority, other_authority: Authority, issue: Callable[..., Issued]
) -> None:
    assert not is_issued_by(authority, issue(by=other_authority).certificate_pem)


def test_only_the_first_certificate_of_a_chain_counts(
    authority: Authority, other_authority: Authority, issue: Callable[..., Issued]
) -> None:
    chain = issue(by=other_authority).certificate_pem + issue().certificate_pem
    assert not is_issued_by(authority, chain)


def test_a_ca_did_not_issue_what_cannot_be_read(authority: Authority) -> None:
    assert not is_issued_by(authority, "")
    assert not is_issued_by(authority, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
