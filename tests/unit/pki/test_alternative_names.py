"""Alternative names: good ones pass, each bad one is refused by its name."""

from __future__ import annotations

import pytest

from mtls_operator.pki import PkiError, Reason, SubjectAltNames


def test_well_formed_names_of_every_kind_pass() -> None:
    names = SubjectAltNames(
        dns_names=("a.example", "localhost", "xn--bcher-kva.example", "A-1.example"),
        uris=(
            "spiffe://acme/dev/1",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "https://x.example/a%2Cb?q#f",
        ),
        emails=("a@b.example", "first.last+tag@b.example"),
        ip_addresses=("10.1.2.3", "2001:db8::1"),
    )
    assert len(names.uris) == 3


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a.example",
        "a-.example",
        "a_b.example",
        "*.example.com",
        "*",
        "a.example\n",
        "a.example\x00.evil",
        "bücher.example",
        "10.0.0.1",
        "a.example;Subject=x",
        "a.example,By=x",
        "x" * 64,
        ".".join(["x" * 50] * 6),
    ],
    ids=ascii,
)
def test_a_bad_dns_name_is_refused(name: str) -> None:
    with pytest.raises(PkiError) as caught:
        SubjectAltNames(dns_names=("ok.example", name))
    assert caught.value.reason is Reason.INVALID_SUBJECT_ALT_NAME
    assert repr(name)[:40] in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "no-scheme",
        "//host/path",
        "spiffe:",
        "1a:b",
        "spiffe://a b",
        "spiffe://a\n",
        "spiffe://a\x00",
        "spiffe://ä",
        "spiffe://a%zz",
        "spiffe://a%2",
        'spiffe://a"b',
        "spiffe://a;Hash=0000",
        "spiffe://a,By=spiffe://admin",
        "spiffe://" + "a" * 2048,
    ],
    ids=lambda uri: ascii(uri[:40]),
)
def test_a_bad_uri_is_refused(uri: str) -> None:
    with pytest.raises(PkiError, match="absolute URI") as caught:
        SubjectAltNames(uris=(uri,))
    assert caught.value.reason is Reason.INVALID_SUBJECT_ALT_NAME


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b@c.example",
        "a b@c.example",
        "A <a@b.example>",
        "a@b.example\n",
        "ä@b.example",
        "a..b@c.example",
        "a@[10.0.0.1]",
        "a,b@c.example",
        "x" * 65 + "@b.example",
    ],
    ids=ascii,
)
def test_a_bad_email_address_is_refused(email: str) -> None:
    with pytest.raises(PkiError, match="e-mail") as caught:
        SubjectAltNames(emails=(email,))
    assert caught.value.reason is Reason.INVALID_SUBJECT_ALT_NAME


@pytest.mark.parametrize(
    "address", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/8", "::g", "fe80::1%eth0", "a.example"]
)
def test_a_bad_ip_address_is_refused(address: str) -> None:
    with pytest.raises(PkiError) as caught:
        SubjectAltNames(ip_addresses=(address,))
    assert caught.value.reason is Reason.INVALID_SUBJECT_ALT_NAME
