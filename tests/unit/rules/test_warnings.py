"""Warnings: valid expressions that almost certainly mean something else; what is written as meant has none."""

from pathlib import Path

import pytest

from mtls_operator.rules import parse

PAGE = (Path(__file__).parents[3] / "docs" / "rules-language.md").read_text("utf-8")
X = 'http.request.headers["x"]'
Y = 'http.request.headers["y"]'
GOOD = "not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked"

WARNED = [
    ("ssl or ssl and ssl", "mixed_without_parentheses", "ssl and ssl"),
    ("ssl xor ssl or ssl", "mixed_without_parentheses", "ssl xor ssl"),
    ("ssl && ssl || not ssl", "mixed_without_parentheses", "ssl && ssl"),
    ("not (ssl or ssl and ssl)", "mixed_without_parentheses", "ssl and ssl"),
    (f'{X}[0] ne "a"', "missing_ne", f'{X}[0] ne "a"'),
    (f"len({X}) ne 1", "missing_ne", f"len({X}) ne 1"),
    (f'concat({X}[0], {Y}[0]) ne "a"', "missing_ne", f'concat({X}[0], {Y}[0]) ne "a"'),
    ('decode_base64(http.user_agent) ne "a"', "missing_ne", 'decode_base64(http.user_agent) ne "a"'),
    (f'any(({X}[*] eq "a" or {Y}[*] eq "b"))', "unequal_arrays", f'{X}[*] eq "a" or {Y}[*] eq "b"'),
    ('http.request.full_uri wildcard "a.example/*"', "never_equal", '"a.example/*"'),
    ('http.request.full_uri strict wildcard "a.example/"', "never_equal", '"a.example/"'),
    ("cf.edge.server_port in {0673}", "octal", "0673"),
    ('http.request.headers["X-Role"][0] eq "a"', "header_key_case", 'http.request.headers["X-Role"]'),
    ('any(http.request.headers.names[*] eq "X-Role")', "header_key_case", '"X-Role"'),
    ('has_key(http.request.headers, "X-Role")', "header_key_case", '"X-Role"'),
    ('has_value(http.request.headers.names, "X-Role")', "header_key_case", '"X-Role"'),
    ('http.host in {"*.example.com"}', "star_in_equality", '{"*.example.com"}'),
    ('lower(http.user_agent) eq "Curl"', "never_equal", '"Curl"'),
    (f'any(lower({X}[*])[*] in {{"Curl" "b"}})', "never_equal", '{"Curl" "b"}'),
    (f'any(lower({X}[*])[*] contains "Curl")', "never_equal", '"Curl"'),
    ('starts_with(upper(http.user_agent), "curl")', "never_equal", '"curl"'),
    (f'any(ends_with(lower({X}[*])[*], "L"))', "never_equal", '"L"'),
    ('http.host contains "Example"', "never_equal", '"Example"'),
    ('ends_with(http.host, ".Example.com")', "never_equal", '".Example.com"'),
    ('http.host strict wildcard "*.Example.com"', "never_equal", '"*.Example.com"'),
    ('http.request.method contains "et"', "never_equal", '"et"'),
    ('http.request.uri.path contains "%2f"', "never_equal", '"%2f"'),
    ('http.request.uri.path wildcard "/a//*"', "never_equal", '"/a//*"'),
    ('starts_with(http.request.uri.path, "/é")', "never_equal", '"/é"'),
    ('cf.tls_client_auth.cert_fingerprint_sha1 wildcard "ab:*"', "never_equal", '"ab:*"'),
    ('any(http.request.headers.names[*] contains "X-")', "header_key_case", '"X-"'),
    ('any(starts_with(http.request.headers.names[*], "X-"))', "header_key_case", '"X-"'),
    ('cf.tls_client_auth.cert_fingerprint_sha256 eq "AB:CD"', "never_equal", '"AB:CD"'),
    ('cf.tls_client_auth.cert_serial eq "0a"', "never_equal", '"0a"'),
    ("not cf.tls_client_auth.cert_verified", "revoked_not_tested", "cf.tls_client_auth.cert_verified"),
    ('any(tls.client.san.dns[*] eq "a")', "unverified_claim", "tls.client.san.dns"),
    ("ip.src eq ::ffff:10.0.0.1", "mapped_address", "::ffff:10.0.0.1"),
    (
        f'({GOOD}) and not cf.tls_client_auth.cert_verified and cf.tls_client_auth.cert_ski ne "A"',
        "pin_joined_with_and",
        'cf.tls_client_auth.cert_ski ne "A"',
    ),
]


@pytest.mark.parametrize(("text", "code", "place"), WARNED)
def test_a_trap_is_warned_of_at_its_place(text: str, code: str, place: str) -> None:
    found = [warning for warning in parse(text).warnings if warning.code == code]
    assert [text.encode()[each.span.start : each.span.end].decode() for each in found] == [place]
    assert found[0].message


@pytest.mark.parametrize(
    "text",
    [
        "ssl or (ssl and ssl)",
        "(ssl or ssl) and ssl",
        "ssl and not ssl and ssl",
        'http.host ne "a"',
        f'not any({X}[*] eq "a")',
        f'any({X}[*] ne "a")',
        f'coalesce({X}[0], "") ne "a"',
        f'concat({X}[0], "-") ne "a"',
        'any((http.request.headers.names[*] eq "x" and http.request.headers.values[*] eq "A"))',
        'any((http.request.uri.args.names[*] eq "X" and starts_with(http.request.uri.args.values[*], "b")))',
        f'any(({X}[*] eq "a" or lower({X}[*])[*] eq "b"))',
        'http.request.full_uri wildcard "http*://a.example/*"',
        'http.request.full_uri wildcard "*.example/*"',
        'http.request.full_uri wildcard "HTTPS://a.example/"',
        "len(http.host) in {0 10 0x10}",
        'http.host wildcard "*.Example.com"',
        'http.request.method wildcard "get"',
        'lower(http.user_agent) wildcard "*Curl*"',
        'any(http.request.headers.names[*] wildcard "X-*")',
        'http.request.uri.path contains "../"',
        'http.request.uri.path strict wildcard "*/a%3A*.*"',
        'ends_with(http.request.uri.path, "/.")',
        'cf.tls_client_auth.cert_fingerprint_sha256 wildcard "AB*"',
        f"({GOOD})",
    ],
)
def test_what_is_written_as_meant_has_no_warning(text: str) -> None:
    assert parse(text).warnings == ()


@pytest.mark.parametrize("code", sorted({code for _, code, _ in WARNED} | {"server_port", "more"}))
def test_every_warning_is_documented(code: str) -> None:
    assert f"| `{code}` |" in PAGE
