"""Server certificates that users bring: everything that is wrong is said, and nothing wrong passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    Subject,
    SubjectAltNames,
    check_server_pair,
    generate_key,
    issue_server,
    key_to_pem,
    make_serial,
    plain_server_pair,
)

HOSTS = ("api.example.com", "*.api.example.com")
Reasons = Callable[..., list[str]]


@pytest.fixture
def pair(authority: Authority, now: datetime) -> Issued:
    return issue_server(
        authority, hostnames=HOSTS, validity=timedelta(days=90), serial=make_serial(1, bytes(15)), now=now
    )


@pytest.fixture
def reasons(pair: Issued, now: datetime) -> Reasons:
    """Check the good pair with one thing changed; return the reasons."""

    def check(
        *,
        certificate: str | bytes = pair.certificate_pem,
        key: Secret = pair.key_pem,
        hostnames: tuple[str, ...] = HOSTS,
        at: datetime = now,
    ) -> list[str]:
        return [str(problem.reason) for problem in check_server_pair(certificate, key, hostnames, now=at)]

    return check


def test_a_good_pair_has_no_problem(reasons: Reasons) -> None:
    assert reasons() == []


def test_a_good_pair_with_its_chain_has_no_problem(
    reasons: Reasons, pair: Issued, authority: Authority
) -> None:
    assert reasons(certificate=pair.certificate_pem + authority.certificate_pem) == []


@pytest.mark.parametrize("hostname", ["a.api.example.com", "API.example.com", "*.API.example.com"])
def test_a_host_that_a_name_covers_is_no_problem(reasons: Reasons, hostname: str) -> None:
    assert reasons(hostnames=(hostname,)) == []


@pytest.mark.parametrize("hostname", ["example.com", "a.b.api.example.com", "other.example", "*.example.com"])
def test_a_host_that_no_name_covers_is_a_problem(reasons: Reasons, hostname: str) -> None:
    assert reasons(hostnames=("api.example.com", hostname)) == ["HostnameNotInCertificate"]


def test_every_host_that_is_missing_is_named(pair: Issued, now: datetime) -> None:
    problems = check_server_pair(pair.certificate_pem, pair.key_pem, ("x.example", "y.example"), now=now)
    assert [problem.message.split()[-1] for problem in problems] == ["x.example.", "y.example."]


def test_the_common_name_is_no_host_name(reasons: Reasons, issue: Callable[..., Issued]) -> None:
    named = issue(subject=Subject(common_name="api.example.com"))
    found = reasons(certificate=named.certificate_pem, key=named.key_pem, hostnames=("api.example.com",))
    assert "HostnameNotInCertificate" in found


def test_a_client_certificate_does_not_serve(reasons: Reasons, issue: Callable[..., Issued]) -> None:
    client = issue(sans=SubjectAltNames(dns_names=("api.example.com",)))
    found = reasons(certificate=client.certificate_pem, key=client.key_pem, hostnames=("api.example.com",))
    assert found == ["InvalidServingCertificate"]


def test_a_certificate_without_limited_usages_serves(now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.example.com")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    assert check_server_pair(pem, key_to_pem(key), ("api.example.com",), now=now) == ()


def test_a_key_of_something_else_is_a_problem(reasons: Reasons) -> None:
    assert reasons(key=key_to_pem(generate_key(KeySpec()))) == ["KeyMismatch"]


def test_a_chain_in_the_wrong_order_is_a_problem(
    reasons: Reasons, pair: Issued, authority: Authority
) -> None:
    assert "KeyMismatch" in reasons(certificate=authority.certificate_pem + pair.certificate_pem)


def test_the_moment_of_expiry_is_already_too_late(reasons: Reasons, pair: Issued) -> None:
    assert reasons(at=pair.facts.not_after - timedelta(seconds=1)) == []
    assert reasons(at=pair.facts.not_after) == ["ServingCertificateExpired"]


def test_a_certificate_of_tomorrow_does_not_serve_today(reasons: Reasons, pair: Issued) -> None:
    assert reasons(at=pair.facts.not_before) == []
    assert reasons(at=pair.facts.not_before - timedelta(seconds=1)) == ["ServingCertificateNotYetValid"]


def test_all_problems_are_told_at_once(reasons: Reasons, pair: Issued) -> None:
    found = reasons(
        key=key_to_pem(generate_key(KeySpec())), at=pair.facts.not_after, hostnames=("x.example",)
    )
    assert found == ["KeyMismatch", "ServingCertificateExpired", "HostnameNotInCertificate"]


@pytest.mark.parametrize(
    "certificate",
    ["", "nonsense", b"\xff", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ids=ascii,
)
def test_an_unreadable_certificate_is_a_problem(reasons: Reasons, certificate: str | bytes) -> None:
    assert reasons(certificate=certificate) == ["InvalidServingCertificate"]


def test_a_chain_with_a_broken_end_is_a_problem(reasons: Reasons, pair: Issued) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert reasons(certificate=pair.certificate_pem + broken) == ["InvalidServingCertificate"]


@pytest.mark.parametrize(
    "key", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_an_unreadable_key_is_a_problem_that_does_not_quote_it(
    pair: Issued, now: datetime, key: bytes
) -> None:
    (problem,) = check_server_pair(pair.certificate_pem, Secret(key), HOSTS, now=now)
    assert str(problem.reason) == "InvalidServingCertificate"
    assert "AAAA" not in problem.message
    assert "nonsense" not in problem.message


def test_a_chain_of_any_length_is_not_sent_in_every_handshake(
    reasons: Reasons, pair: Issued, authority: Authority
) -> None:
    assert reasons(certificate=pair.certificate_pem + 15 * authority.certificate_pem) == []
    assert reasons(certificate=pair.certificate_pem + 16 * authority.certificate_pem) == [
        "InvalidServingCertificate"
    ]


def test_what_is_served_is_the_certificates_and_the_key_and_nothing_else(
    pair: Issued, authority: Authority
) -> None:
    chain = pair.certificate_pem + authority.certificate_pem
    other = key_to_pem(generate_key(KeySpec())).reveal()
    text = b"Bag Attributes: \xff\r\n"
    assert plain_server_pair(chain, pair.key_pem) == (chain, pair.key_pem)
    assert plain_server_pair(
        text
        + chain.replace("-----\n-----", f"-----\n{text.decode('latin-1')}-----").encode("latin-1")
        + text,
        Secret(text + pair.key_pem.reveal() + other),
    ) == (chain, pair.key_pem)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm), ids=lambda algorithm: algorithm.value)
def test_a_key_in_an_older_form_is_served_as_pkcs8(pair: Issued, algorithm: KeyAlgorithm) -> None:
    key = generate_key(KeySpec(algorithm, {KeyAlgorithm.ECDSA: 384, KeyAlgorithm.RSA: 2048}[algorithm]))
    older = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert b"BEGIN PRIVATE KEY" not in older
    assert plain_server_pair(pair.certificate_pem, Secret(older))[1] == key_to_pem(key)
