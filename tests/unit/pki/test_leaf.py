"""Leaves: one purpose each, within the life of their CA, accepted by a strict verifier for it only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_operator.api.secret import Secret
from mtls_operator.pki import (
    Authority,
    Issued,
    KeyAlgorithm,
    KeySpec,
    PkiError,
    Reason,
    Subject,
    SubjectAltNames,
    format_serial,
    issue_client,
    issue_internal_client,
    issue_internal_server,
    issue_server,
    key_to_pem,
    load_key,
    make_serial,
    read_certificate,
)

DAY = timedelta(days=1)
SERIAL = make_serial(9, bytes(15))
URI = "spiffe://mtls-operator.dev/ns/shop/0b1c"
Issue = Callable[..., Issued]
OpenSsl = Callable[..., subprocess.CompletedProcess[str]]


def extensions(issued: Issued) -> dict[str, tuple[object, bool]]:
    parsed = x509.load_pem_x509_certificate(issued.certificate_pem.encode()).extensions
    return {type(one.value).__name__: (one.value, one.critical) for one in parsed}


def server(authority: Authority, now: datetime, *hostnames: str) -> Issued:
    return issue_server(authority, hostnames=hostnames, validity=90 * DAY, serial=SERIAL, now=now)


def internal_client(authority: Authority, now: datetime, uri: str = URI) -> Issued:
    return issue_internal_client(authority, uri=uri, validity=90 * DAY, serial=SERIAL, now=now)


def internal_server(authority: Authority, now: datetime, *names: str) -> Issued:
    return issue_internal_server(authority, dns_names=names, validity=90 * DAY, serial=SERIAL, now=now)


@pytest.fixture(params=["client", "server", "internal client", "internal server"])
def leaf(
    request: pytest.FixtureRequest, issue: Issue, authority: Authority, now: datetime
) -> tuple[str, Issued]:
    made: dict[str, Callable[[], Issued]] = {
        "client": issue,
        "server": lambda: server(authority, now, "api.example.com", "*.api.example.com"),
        "internal client": lambda: internal_client(authority, now),
        "internal server": lambda: internal_server(authority, now, "mtls-operator.mtls-system.svc"),
    }
    return request.param, made[request.param]()


def test_every_leaf_is_no_ca_and_only_signs(leaf: tuple[str, Issued]) -> None:
    found = extensions(leaf[1])
    assert found["BasicConstraints"] == (x509.BasicConstraints(ca=False, path_length=None), True)
    usage, critical = found["KeyUsage"]
    assert isinstance(usage, x509.KeyUsage)
    assert critical
    assert usage.digital_signature
    others = (
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    )
    assert not any(others)


def test_every_leaf_has_one_purpose(leaf: tuple[str, Issued]) -> None:
    kind, issued = leaf
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if "client" in kind else ExtendedKeyUsageOID.SERVER_AUTH
    assert extensions(issued)["ExtendedKeyUsage"] == (x509.ExtendedKeyUsage([purpose]), False)


def test_every_leaf_names_its_key_and_its_issuers_key(leaf: tuple[str, Issued], authority: Authority) -> None:
    found = extensions(leaf[1])
    public = load_key(leaf[1].key_pem).public_key()
    assert found["SubjectKeyIdentifier"] == (x509.SubjectKeyIdentifier.from_public_key(public), False)
    expected = x509.AuthorityKeyIdentifier(bytes.fromhex(authority.facts.ski), None, None)
    assert found["AuthorityKeyIdentifier"] == (expected, False)


def test_every_leaf_has_its_own_facts_and_its_own_key(leaf: tuple[str, Issued]) -> None:
    assert read_certificate(leaf[1].certificate_pem) == leaf[1].facts
    assert key_to_pem(load_key(leaf[1].key_pem)) == leaf[1].key_pem


def test_every_leaf_shows_no_key(leaf: tuple[str, Issued]) -> None:
    shown = f"{leaf[1]!r}{leaf[1]}"
    assert "[redacted]" in shown
    assert "PRIVATE" not in shown


def test_a_strict_verifier_accepts_every_leaf_for_its_purpose_only(
    leaf: tuple[str, Issued], authority: Authority, now: datetime, openssl: OpenSsl
) -> None:
    right, wrong = ("sslclient", "sslserver") if "client" in leaf[0] else ("sslserver", "sslclient")
    common = ("verify", "-x509_strict", "-attime", f"{now.timestamp():.0f}", "-CAfile", "ca", "-purpose")
    files = {"ca": authority.certificate_pem, "leaf": leaf[1].certificate_pem}
    assert openssl(*common, right, "leaf", **files).stdout == "leaf: OK\n"
    refused = openssl(*common, wrong, "leaf", **files)
    assert refused.returncode != 0
    assert "purpose" in refused.stderr


def test_a_ca_of_the_same_name_did_not_issue_it(
    issue: Issue, other_authority: Authority, now: datetime, openssl: OpenSsl
) -> None:
    done = openssl(
        "verify",
        "-attime",
        f"{now.timestamp():.0f}",
        "-CAfile",
        "ca",
        "leaf",
        ca=other_authority.certificate_pem,
        leaf=issue().certificate_pem,
    )
    assert done.returncode != 0


@pytest.mark.parametrize(
    "key", [KeySpec(), KeySpec(KeyAlgorithm.ECDSA, 384), KeySpec(KeyAlgorithm.RSA, 2048)], ids=str
)
def test_a_client_certificate_has_the_key_asked_for(issue: Issue, key: KeySpec) -> None:
    assert issue(key=key).facts.public_key == f"{key.algorithm.value}-{key.size}"


def test_two_certificates_never_share_a_key(issue: Issue) -> None:
    assert issue().facts.ski != issue().facts.ski


def test_a_certificate_lives_as_long_as_asked_from_five_minutes_ago(issue: Issue, now: datetime) -> None:
    facts = issue(validity=timedelta(hours=1)).facts
    assert (facts.not_before, facts.not_after) == (now - timedelta(minutes=5), now + timedelta(hours=1))


def test_a_certificate_does_not_outlive_its_ca(issue: Issue, authority: Authority) -> None:
    assert issue(validity=3650 * DAY).facts.not_after == authority.facts.not_after


def test_a_certificate_does_not_start_before_its_ca(issue: Issue, authority: Authority) -> None:
    moment = authority.facts.not_before + timedelta(minutes=1)
    assert issue(now=moment).facts.not_before == authority.facts.not_before


def test_an_expired_ca_issues_nothing(issue: Issue, authority: Authority) -> None:
    with pytest.raises(PkiError, match="expired at 20") as caught:
        issue(now=authority.facts.not_after)
    assert caught.value.reason is Reason.AUTHORITY_EXPIRED


def test_a_ca_from_the_future_issues_nothing(issue: Issue, authority: Authority) -> None:
    with pytest.raises(PkiError, match="clock") as caught:
        issue(now=authority.facts.not_before - timedelta(seconds=1))
    assert caught.value.reason is Reason.AUTHORITY_NOT_YET_VALID


@pytest.mark.parametrize("validity", [timedelta(0), -DAY, timedelta(milliseconds=1)], ids=str)
def test_a_validity_that_is_none_is_refused(issue: Issue, validity: timedelta) -> None:
    with pytest.raises(PkiError) as caught:
        issue(validity=validity)
    assert caught.value.reason is Reason.INVALID_VALIDITY


@pytest.mark.parametrize("serial", [0, -1, 1, 2**159, int("7F" * 20, 16)], ids=hex)
def test_a_client_certificate_that_could_not_be_revoked_is_not_issued(issue: Issue, serial: int) -> None:
    with pytest.raises(PkiError) as caught:
        issue(serial=serial)
    assert caught.value.reason is Reason.INVALID_SERIAL


@pytest.mark.parametrize("serial", [0, -1, 2**159], ids=hex)
def test_a_server_certificate_has_a_legal_serial(authority: Authority, now: datetime, serial: int) -> None:
    with pytest.raises(PkiError) as caught:
        issue_server(authority, hostnames=["a.example"], validity=DAY, serial=serial, now=now)
    assert caught.value.reason is Reason.INVALID_SERIAL


def test_the_alternative_names_are_not_critical_beside_a_subject(issue: Issue) -> None:
    sans = SubjectAltNames(dns_names=("dev1.example",))
    assert extensions(issue(sans=sans))["SubjectAlternativeName"][1] is False


def test_the_alternative_names_are_critical_where_they_are_the_only_name(issue: Issue) -> None:
    issued = issue(subject=Subject(), sans=SubjectAltNames(uris=("spiffe://acme/dev/1",)))
    assert extensions(issued)["SubjectAlternativeName"][1] is True
    assert issued.facts.subject == ""


def test_a_certificate_without_alternative_names_has_no_such_extension(issue: Issue) -> None:
    assert "SubjectAlternativeName" not in extensions(issue())


def test_a_certificate_for_nobody_is_refused(issue: Issue) -> None:
    with pytest.raises(PkiError, match="at least one") as caught:
        issue(subject=Subject(), sans=SubjectAltNames())
    assert caught.value.reason is Reason.INVALID_SUBJECT


def test_a_server_certificate_names_all_hosts_and_the_first_one_as_common_name(
    authority: Authority, now: datetime
) -> None:
    facts = server(authority, now, "api.example.com", "*.api.example.com").facts
    assert facts.dns_names == ("api.example.com", "*.api.example.com")
    assert facts.subject == "CN=api.example.com"


@pytest.mark.parametrize("first", ["*.api.example.com", f"{'x' * 60}.example.com"])
def test_a_server_certificate_without_a_fitting_common_name_has_critical_names(
    authority: Authority, now: datetime, first: str
) -> None:
    issued = server(authority, now, first)
    assert issued.facts.subject == ""
    assert extensions(issued)["SubjectAlternativeName"][1] is True


@pytest.mark.parametrize(
    "hostname", ["", "*", "*.com", "a.*.com", "a b", "10.0.0.1", "a.example.", "bücher.example"]
)
def test_a_server_certificate_for_a_bad_host_name_is_refused(
    authority: Authority, now: datetime, hostname: str
) -> None:
    with pytest.raises(PkiError, match="is not a DNS name") as caught:
        server(authority, now, "ok.example", hostname)
    assert caught.value.reason is Reason.INVALID_HOSTNAME


def test_a_server_certificate_for_no_host_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(PkiError, match="at least one host name"):
        server(authority, now)


def test_an_internal_client_is_its_uri_and_nothing_else(authority: Authority, now: datetime) -> None:
    facts = internal_client(authority, now).facts
    assert (facts.uris, facts.subject, facts.dns_names) == ((URI,), "", ())


def test_an_internal_client_with_a_bad_uri_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(PkiError, match="absolute URI"):
        internal_client(authority, now, "shop")


def test_an_internal_server_takes_service_names_but_no_wildcards(authority: Authority, now: datetime) -> None:
    names = ("mtls-operator", "mtls-operator.mtls-system.svc", "mtls-operator.mtls-system.svc.cluster.local")
    assert internal_server(authority, now, *names).facts.dns_names == names
    with pytest.raises(PkiError, match="without wildcard"):
        internal_server(authority, now, "*.mtls-system.svc")


def test_names_are_written_as_utf8_strings_and_countries_as_printable_ones(
    issue: Issue, openssl: OpenSsl
) -> None:
    issued = issue(subject=Subject(common_name="plain", organizations=("ACME",), countries=("DE",)))
    shown = openssl(
        "x509", "-in", "leaf", "-noout", "-subject", "-nameopt", "show_type", leaf=issued.certificate_pem
    )
    assert shown.stdout.strip() == "subject=C=PRINTABLESTRING:DE, O=UTF8STRING:ACME, CN=UTF8STRING:plain"


def test_a_client_certificate_can_be_issued_again_for_the_key_that_is_kept(
    authority: Authority, issue: Issue, now: datetime
) -> None:
    first = issue()
    again = issue_client(
        authority,
        subject=Subject("gateway-7"),
        sans=SubjectAltNames(),
        key=first.key_pem,
        validity=DAY,
        serial=SERIAL,
        now=now,
    )
    assert again.key_pem == first.key_pem
    assert (again.facts.ski, again.facts.serial) == (first.facts.ski, format_serial(SERIAL))


def test_a_kept_key_that_cannot_be_read_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(PkiError) as caught:
        issue_client(
            authority,
            subject=Subject("gateway-7"),
            sans=SubjectAltNames(),
            key=Secret(b"damaged"),
            validity=DAY,
            serial=SERIAL,
            now=now,
        )
    assert caught.value.reason is Reason.INVALID_KEY


def listed_at(authority: Authority, now: datetime, url: str) -> Issued:
    return issue_client(
        authority,
        subject=Subject("gateway-7"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=DAY,
        serial=SERIAL,
        now=now,
        crl_url=url,
    )


def test_a_client_certificate_says_where_the_list_is_if_asked(authority: Authority, now: datetime) -> None:
    url = "http://crl.example.com/crl/shop/1.crl"
    value, critical = extensions(listed_at(authority, now, url))["CRLDistributionPoints"]
    assert value == x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)]
    )
    assert not critical


@pytest.mark.parametrize("url", ["ldap://a.example/x", "crl.example.com", "http://a.example/a,b", "http://"])
def test_a_place_for_lists_that_is_no_http_url_is_refused(
    authority: Authority, now: datetime, url: str
) -> None:
    with pytest.raises(PkiError):
        listed_at(authority, now, url)
