"""Host names: which name of a certificate covers which host (RFC 6125, RFC 9525)."""

from __future__ import annotations

import pytest

from mtls_operator.pki import covers, is_hostname, is_wildcard


@pytest.mark.parametrize(
    ("presented", "hostname"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.com", "api.example.COM"),
        ("*.example.com", "api.example.com"),
        ("*.EXAMPLE.com", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("*.example.com", "xn--bcher-kva.example.com"),
    ],
)
def test_a_name_covers(presented: str, hostname: str) -> None:
    assert covers(presented, hostname)


@pytest.mark.parametrize(
    ("presented", "hostname"),
    [
        ("example.com", "api.example.com"),
        ("*.example.com", "example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.example.com", ".example.com"),
        ("*.b.example.com", "*.example.com"),
        ("api.example.com", "*.example.com"),
        ("a*.example.com", "api.example.com"),
        ("*pi.example.com", "api.example.com"),
        ("api.*.com", "api.example.com"),
        ("*.*.com", "api.example.com"),
        ("*.com", "example.com"),
        ("*", "example"),
        ("*", "*"),
        ("", ""),
        ("api.example.com.", "api.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("api.example.com\x00.evil.com", "api.example.com"),
    ],
)
def test_a_name_does_not_cover(presented: str, hostname: str) -> None:
    assert not covers(presented, hostname)


def test_a_wildcard_is_no_host_name_and_a_host_name_no_wildcard() -> None:
    assert (is_hostname("*.example.com"), is_wildcard("*.example.com")) == (False, True)
    assert (is_hostname("example.com"), is_wildcard("example.com")) == (True, False)
