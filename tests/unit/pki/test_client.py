"""Whether a client certificate is valid: what a person is told offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.support.certs import SERVER, Pair, authority, leaf

from mtls_operator.pki import PkiError, judge_client

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority("ca", now=NOW)


def constrained(ca: Pair) -> Pair:
    """Return an intermediate that may only have some names below it."""
    other = authority("limited", now=NOW, issuer=ca)
    names = x509.NameConstraints([x509.DNSName("example.com")], None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(other.certificate.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(other.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            other.certificate.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True
        )
        .add_extension(names, critical=True)
    )
    return Pair(builder.sign(ca.key, hashes.SHA256()), other.key)


def test_a_leaf_of_the_ca_is_valid_and_its_issuer_is_named(ca: Pair) -> None:
    judged = judge_client(leaf(ca, "a", now=NOW).certificate_pem, ca.certificate_pem, now=NOW)
    assert judged.problem == ""
    assert judged.issuer is not None
    assert judged.issuer.fingerprint_sha256 == ca.digest
    assert judged.leaf.subject == "CN=a"


def test_a_ca_of_the_same_name_with_another_key_is_not_the_issuer(ca: Pair) -> None:
    other = authority("ca", now=NOW)
    judged = judge_client(leaf(other, "a", now=NOW).certificate_pem, ca.certificate_pem, now=NOW)
    assert (judged.issuer, judged.problem) == (None, "no CA that is trusted has signed it")


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (NOW + timedelta(days=2), "it expired at 2026-06-01T23:55:00Z"),
        (NOW - timedelta(hours=1), "it is valid from 2026-05-31T23:55:00Z on only"),
        (datetime(2026, 6, 1, 23, 55, tzinfo=UTC), "it expired at 2026-06-01T23:55:00Z"),
    ],
)
def test_its_time_counts_to_the_second(ca: Pair, moment: datetime, problem: str) -> None:
    judged = judge_client(leaf(ca, "a", now=NOW).certificate_pem, ca.certificate_pem, now=moment)
    assert (judged.issuer, judged.problem) == (None, problem)


def test_a_server_certificate_is_no_client_certificate(ca: Pair) -> None:
    judged = judge_client(leaf(ca, "a", now=NOW, usage=SERVER).certificate_pem, ca.certificate_pem, now=NOW)
    assert judged.issuer is None
    assert "clientAuth" in judged.problem


def test_an_intermediate_that_the_client_sends_is_used(ca: Pair) -> None:
    between = authority("between", now=NOW, issuer=ca)
    end = leaf(between, "a", now=NOW)
    judged = judge_client(end.certificate_pem + between.certificate_pem, ca.certificate_pem, now=NOW)
    assert judged.issuer is not None
    assert judged.issuer.fingerprint_sha256 == between.digest
    alone = judge_client(end.certificate_pem, ca.certificate_pem, now=NOW)
    assert alone.issuer is None


def test_a_leaf_cannot_sign_another(ca: Pair) -> None:
    first = leaf(ca, "first", now=NOW)
    second = leaf(first, "second", now=NOW)
    judged = judge_client(second.certificate_pem + first.certificate_pem, ca.certificate_pem, now=NOW)
    assert judged.issuer is None
    assert "may not sign certificates" in judged.problem


def test_an_expired_ca_makes_it_not_valid() -> None:
    old = authority("old", now=NOW - timedelta(days=3660))
    judged = judge_client(leaf(old, "a", now=NOW).certificate_pem, old.certificate_pem, now=NOW)
    assert judged.issuer is None
    assert "CN=old: it expired at" in judged.problem


def test_a_ca_with_limits_on_names_is_refused_by_name(ca: Pair) -> None:
    limited = constrained(ca)
    end = leaf(limited, "a", now=NOW)
    with pytest.raises(PkiError, match="limits names or policies"):
        judge_client(end.certificate_pem + limited.certificate_pem, ca.certificate_pem, now=NOW)


def test_signed_in_a_circle_comes_to_an_end(ca: Pair) -> None:
    circle = authority("circle", now=NOW)
    again = authority("circle", now=NOW, issuer=circle, key_of=circle)
    end = leaf(circle, "a", now=NOW)
    chain = end.certificate_pem + circle.certificate_pem + again.certificate_pem
    assert judge_client(chain, ca.certificate_pem, now=NOW).issuer is None


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_an_error(ca: Pair, text: str) -> None:
    with pytest.raises(PkiError):
        judge_client(text, ca.certificate_pem, now=NOW)
    with pytest.raises(PkiError):
        judge_client(ca.certificate_pem, text, now=NOW)
