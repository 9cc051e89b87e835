"""A CA of the user's own: it works as the managed one, or is refused with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit.pki.made import DAY, NOW, Ca, limited, make_ca, usage

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    MAX_ABOVE,
    Issued,
    IssuingAuthority,
    PkiError,
    Reason,
    Revocation,
    is_issued_by,
    load_issuing_authority,
    load_kept_authority,
    make_serial,
    read_crl,
    sign_crl,
)

OpenSsl = Callable[..., subprocess.CompletedProcess[str]]


def load(first: Ca, *above: Ca, key: Secret | None = None, now: datetime = NOW) -> IssuingAuthority:
    text = "".join(ca.pem for ca in (first, *above))
    return load_issuing_authority(text, key or first.key_pem, now=now)


def refusal(*cas: Ca, **options: Any) -> tuple[Reason, str]:
    with pytest.raises(PkiError) as caught:
        load(*cas, **options)
    return caught.value.reason, str(caught.value)


@pytest.fixture
def line() -> tuple[Ca, Ca, Ca]:
    """Return an issuing CA, the one above it, and the root."""
    root = make_ca("Root", basic=limited(2))
    middle = make_ca("Middle", issuer=root, basic=limited(1))
    return make_ca("Issuing", issuer=middle, basic=limited(0)), middle, root


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["P-256", "P-384", "P-521", "RSA"],
)
def test_a_root_issues_by_itself(key: Any, issue: Callable[..., Issued]) -> None:
    loaded = load(make_ca("Own CA", key=key))
    assert is_issued_by(loaded.authority, issue(by=loaded.authority).certificate_pem)
    assert (loaded.chain_pem, loaded.intermediates_pem) == ((), ())
    assert loaded.bundle_pem == loaded.authority.certificate_pem


def test_an_intermediate_issues_with_everything_above_it(line: tuple[Ca, Ca, Ca]) -> None:
    issuing, middle, root = line
    loaded = load(issuing, middle, root)
    assert loaded.authority.digest == issuing.digest
    assert loaded.chain_pem == (middle.pem, root.pem)
    assert loaded.intermediates_pem == (issuing.pem, middle.pem)
    assert loaded.bundle_pem == issuing.pem + middle.pem + root.pem


def test_the_order_above_the_first_certificate_does_not_matter(line: tuple[Ca, Ca, Ca]) -> None:
    issuing, middle, root = line
    assert load(issuing, root, middle) == load(issuing, middle, root)


def test_openssl_accepts_what_an_intermediate_issues_and_refuses_what_its_list_revokes(
    line: tuple[Ca, Ca, Ca], issue: Callable[..., Issued], openssl: OpenSsl
) -> None:
    loaded = load(*line)
    good, bad = (issue(by=loaded.authority, serial=make_serial(index, bytes(15))) for index in (1, 2))
    revocation = Revocation(bad.facts.serial, NOW, RevocationReason.SUPERSEDED, NOW + DAY, "shop/a")
    crl = sign_crl(loaded.authority, [revocation], number=1, now=NOW, lifetime=7 * DAY)
    files = {"good": good.certificate_pem, "bad": bad.certificate_pem, "crl": crl}
    files |= {"root": loaded.chain_pem[-1], "above": "".join(loaded.intermediates_pem)}
    at = ("-attime", f"{NOW.timestamp():.0f}", "-purpose", "sslclient", "-crl_check", "-CRLfile", "crl")
    check = ("verify", *at, "-CAfile", "root", "-untrusted", "above")
    assert openssl(*check, "good", **files).stdout == "good: OK\n"
    assert "certificate revoked" in openssl(*check, "bad").stderr
    assert [one.serial for one in read_crl(crl, loaded.authority).revocations] == [bad.facts.serial]


def test_what_is_issued_ends_with_its_ca(issue: Callable[..., Issued]) -> None:
    loaded = load(make_ca(end=NOW + DAY))
    assert issue(by=loaded.authority).facts.not_after == NOW + DAY


def test_the_key_of_another_ca_is_refused() -> None:
    assert refusal(make_ca(), key=make_ca().key_pem)[0] is Reason.KEY_MISMATCH


def test_a_key_that_cannot_be_read_is_refused_and_not_shown() -> None:
    reason, message = refusal(make_ca(), key=Secret(b"hunter2"))
    assert reason is Reason.INVALID_KEY
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("options", "reason", "why"),
    [
        ({"basic": None}, Reason.NOT_AN_AUTHORITY, "CA:TRUE"),
        ({"key_usage": usage(sign=False)}, Reason.NOT_AN_AUTHORITY, "keyCertSign"),
        ({"key_usage": usage(lists=False)}, Reason.INVALID_CA_CERTIFICATE, "cRLSign"),
        ({"start": NOW - 9 * DAY, "end": NOW}, Reason.AUTHORITY_EXPIRED, "expired at"),
        ({"start": NOW + DAY}, Reason.AUTHORITY_NOT_YET_VALID, "valid from"),
        (
            {"more": ((x509.NameConstraints([x509.DNSName("example.com")], None), True),)},
            Reason.INVALID_CA_CERTIFICATE,
            "NameConstraints",
        ),
        (
            {"more": ((x509.PolicyConstraints(0, None), True),)},
            Reason.INVALID_CA_CERTIFICATE,
            "PolicyConstraints",
        ),
        (
            {"more": ((x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),)},
            Reason.INVALID_CA_CERTIFICATE,
            "clientAuth",
        ),
    ],
    ids=["no CA", "signs nothing", "no lists", "expired", "future", "names", "policies", "servers"],
)
def test_a_ca_that_could_not_issue_for_clients_is_refused(
    options: dict[str, Any], reason: Reason, why: str
) -> None:
    found, message = refusal(make_ca("Own CA", **options))
    assert found is reason
    assert "certificate 1 (CN=Own CA)" in message
    assert why in message


def test_a_ca_without_key_identifier_is_refused() -> None:
    assert "subject key identifier" in refusal(make_ca(ski=None))[1]


def test_a_certificate_that_stands_there_twice_is_read_once(line: tuple[Ca, Ca, Ca]) -> None:
    """A Secret may repeat in ca.crt what tls.crt has."""
    issuing, middle, root = line
    assert load(issuing, middle, root, root, issuing) == load(issuing, middle, root)


def test_as_many_cas_are_above_it_as_a_proxy_looks_at() -> None:
    line = [make_ca("0")]
    for number in range(1, MAX_ABOVE + 2):
        line.insert(0, make_ca(str(number), issuer=line[0]))
    assert len(load(*line[1:]).chain_pem) == MAX_ABOVE
    assert f"at most {MAX_ABOVE}" in refusal(*line)[1]


def test_what_is_kept_of_it_is_the_same_ca_at_any_time(line: tuple[Ca, Ca, Ca]) -> None:
    loaded = load(*line)
    kept = load_kept_authority(loaded.authority.certificate_pem, line[0].key_pem, "".join(loaded.chain_pem))
    assert (kept.authority, kept.chain_pem, kept.key_digest) == (
        loaded.authority,
        loaded.chain_pem,
        loaded.key_digest,
    )
    root = make_ca(start=NOW - 9 * DAY, end=NOW - DAY)
    assert load_kept_authority(root.pem, root.key_pem, "").chain_pem == ()


@pytest.mark.parametrize(
    "how", ["none", "no root", "another root", "another order", "another key", "no CA", "damaged"]
)
def test_what_is_kept_counts_only_as_it_was_taken(line: tuple[Ca, Ca, Ca], how: str) -> None:
    issuing, middle, root = line
    chains = {
        "none": "",
        "no root": middle.pem,
        "another root": middle.pem + make_ca("Root").pem,
        "another order": root.pem + middle.pem,
        "damaged": middle.pem.replace("MII", "M!!", 1) + root.pem,
    }
    key = make_ca().key_pem if how == "another key" else issuing.key_pem
    first = make_ca(issuer=middle, basic=None, key=issuing.key) if how == "no CA" else issuing
    with pytest.raises(PkiError):
        load_kept_authority(first.pem, key, chains.get(how, middle.pem + root.pem))


def test_an_intermediate_without_its_root_is_refused(line: tuple[Ca, Ca, Ca]) -> None:
    assert "up to the root" in refusal(*line[:2])[1]


def test_a_limit_above_the_issuing_ca_is_refused() -> None:
    root = make_ca("Root", more=((x509.NameConstraints(None, [x509.DNSName("example.com")]), True),))
    assert "certificate 2 (CN=Root) limits" in refusal(make_ca("Issuing", issuer=root), root)[1]


def test_a_root_that_may_have_no_ca_below_it_is_refused() -> None:
    root = make_ca("Root", basic=limited(0))
    assert "pathLenConstraint" in refusal(make_ca("Issuing", issuer=root), root)[1]


def test_a_ca_that_outlives_its_issuer_is_refused() -> None:
    root = make_ca("Root", end=NOW + DAY)
    assert "renew that first" in refusal(make_ca("Issuing", issuer=root, end=NOW + 2 * DAY), root)[1]


def test_a_damaged_certificate_above_is_refused(line: tuple[Ca, Ca, Ca]) -> None:
    issuing, middle, root = line
    text = issuing.pem + middle.pem.replace("MII", "M!!", 1) + root.pem
    with pytest.raises(PkiError, match="certificate 2") as caught:
        load_issuing_authority(text, issuing.key_pem, now=NOW)
    assert caught.value.reason is Reason.INVALID_CA_CERTIFICATE


@pytest.mark.parametrize("text", ["", "nonsense"])
def test_no_certificate_at_all_is_refused(text: str) -> None:
    with pytest.raises(PkiError) as caught:
        load_issuing_authority(text, make_ca().key_pem, now=NOW)
    assert caught.value.reason is Reason.INVALID_CA_CERTIFICATE


def test_a_ca_is_refused_from_the_second_of_its_end() -> None:
    ca = make_ca(end=NOW + DAY)
    assert load(ca, now=NOW + DAY - timedelta(seconds=1))
    assert refusal(ca, now=NOW + DAY)[0] is Reason.AUTHORITY_EXPIRED


def test_the_key_never_shows() -> None:
    assert "PRIVATE" not in repr(load(make_ca()))
