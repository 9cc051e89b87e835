"""Reading certificates: every fact in its form, and no other error than ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Reason,
    Subject,
    SubjectAltNames,
    read_certificate,
)

SANS = SubjectAltNames(
    dns_names=("dev1.example", "dev2.example"),
    uris=("spiffe://acme/dev/1",),
    emails=("a@b.example",),
    ip_addresses=("10.1.2.3", "2001:db8::1"),
)


@pytest.mark.parametrize(
    "key", [KeySpec(), KeySpec(KeyAlgorithm.ECDSA, 384), KeySpec(KeyAlgorithm.RSA, 2048)], ids=str
)
def test_the_facts_of_an_issued_certificate_are_those_that_are_read(
    issue: Callable[..., Issued], key: KeySpec
) -> None:
    subject = Subject(common_name="Ünit", countries=("DE",), organizations=("A", "B"))
    issued = issue(subject=subject, sans=SANS, key=key)
    assert read_certificate(issued.certificate_pem) == issued.facts
    assert read_certificate(issued.certificate_pem.encode()) == issued.facts


def test_every_fact_has_its_form(issue: Callable[..., Issued], authority: Authority, now: datetime) -> None:
    facts = issue(sans=SANS).facts
    assert facts.serial == "2B" + "2A" * 14 + "00000007"
    assert facts.index == 7
    assert facts.subject == "CN=gateway-7"
    assert facts.issuer_subject == "CN=Shop CA,O=mtls-operator"
    assert facts.issuer_ski == authority.facts.ski
    assert (len(facts.ski), facts.ski) == (40, facts.ski.upper())
    assert (len(facts.fingerprint_sha256), facts.fingerprint_sha256) == (64, facts.fingerprint_sha256.lower())
    assert (facts.not_before, facts.not_after) == (now - timedelta(minutes=5), now + timedelta(days=365))
    assert facts.public_key == "ECDSA-256"
    assert (facts.dns_names, facts.uris) == (SANS.dns_names, SANS.uris)
    assert (facts.emails, facts.ip_addresses) == (SANS.emails, SANS.ip_addresses)


def test_openssl_sees_the_same_facts(
    issue: Callable[..., Issued], openssl: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    issued = issue(subject=Subject(common_name="Ünit+1", organizations=('Acme, "Inc"',), countries=("DE",)))
    shown = openssl(
        "x509",
        "-in",
        "leaf",
        "-noout",
        "-serial",
        "-subject",
        "-nameopt",
        "RFC2253",
        "-fingerprint",
        "-sha256",
        leaf=issued.certificate_pem,
    ).stdout.splitlines()
    facts = issued.facts
    assert shown[0] == f"serial={facts.serial}"
    assert shown[1] == f"subject={facts.subject}"
    assert shown[2].partition("=")[2].replace(":", "").lower() == facts.fingerprint_sha256


def test_only_the_first_certificate_of_a_chain_is_read(
    issue: Callable[..., Issued], authority: Authority
) -> None:
    leaf = issue()
    assert read_certificate(leaf.certificate_pem + authority.certificate_pem) == leaf.facts


def test_a_serial_of_another_length_has_no_index(authority: Authority) -> None:
    assert authority.facts.index is None


@pytest.mark.parametrize(
    "pem",
    [
        "",
        b"\xff\xfe",
        "\ud800",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n====\n-----END CERTIFICATE-----\n",
    ],
    ids=ascii,
)
def test_what_is_no_certificate_is_refused(pem: str | bytes) -> None:
    with pytest.raises(PkiError, match="cannot be read") as caught:
        read_certificate(pem)
    assert caught.value.reason is Reason.INVALID_CERTIFICATE


def test_a_private_key_is_no_certificate_and_is_not_quoted(issue: Callable[..., Issued]) -> None:
    key = issue().key_pem.reveal()
    with pytest.raises(PkiError) as caught:
        read_certificate(key)
    assert key.decode().splitlines()[1] not in str(caught.value)
