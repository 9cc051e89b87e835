"""What an expression says about itself: preview, fields, warnings."""

import time
from contextlib import suppress

import pytest

from mtls_operator.rules import GENERATED_LIMITS, Code, Expression, RequestError, RuleError, evaluate, parse


@pytest.mark.parametrize(
    ("text", "preview"),
    [
        ("ssl", "ssl"),
        ("((ssl))", "ssl"),
        ("not ssl", "not ssl"),
        ("! ! ssl", "not not ssl"),
        ('not http.host == "a"', 'not (http.host eq "a")'),
        ("not ssl or ssl && ssl", "((not ssl) or (ssl and ssl))"),
        ("ssl || ssl ^^ ssl && ssl", "(ssl or (ssl xor (ssl and ssl)))"),
        ("ssl or ssl or ssl", "(ssl or ssl or ssl)"),
        ("(ssl or ssl) or ssl", "((ssl or ssl) or ssl)"),
        ("ssl and not (ssl or ssl)", "(ssl and (not (ssl or ssl)))"),
        ('http.host in {"a"  "b"}', 'http.host in {"a" "b"}'),
        ('http.host eq r#"a"b\\"#', 'http.host eq "a\\"b\\\\"'),
        ('http.host eq "\\x00é\\xff\\u"'.replace("\\u", ""), 'http.host eq "\\x00é\\xff"'),
        (
            "ip.src in {10.0.0.0/8 10.0.0.1..10.0.0.2 10.0.0.1..10.0.0.3 2001:DB8::/32}",
            "ip.src in {10.0.0.0/8 10.0.0.1..10.0.0.2 10.0.0.1..10.0.0.3 2001:db8::/32}",
        ),
        ("ip.src in {10.0.0.0..10.0.0.255}", "ip.src in {10.0.0.0/24}"),
        ("cf.edge.server_port in {0x50 1..9}", "cf.edge.server_port in {80 1..9}"),
        ('http.host strict wildcard r"\\*a*"', 'http.host strict wildcard "\\\\*a*"'),
        ('http.host ~ r#"a"[\\"]\\d"#', 'http.host matches "a\\"["]\\d"'),
        (
            'any(lower(http.request.headers["a"][*])[*]=="b")',
            'any(lower(http.request.headers["a"][*])[*] eq "b")',
        ),
    ],
)
def test_the_preview_shows_every_grouping(text: str, preview: str) -> None:
    expression = parse(text)
    assert expression.preview == preview
    assert parse(preview, limits=GENERATED_LIMITS).tree == expression.tree


def test_bidirectional_controls_are_shown_as_escapes() -> None:
    assert parse('http.host eq "\u202eb"').preview == 'http.host eq "\\xe2\\x80\\xaeb"'


def test_an_expression_knows_its_fields() -> None:
    expression = parse('ssl and any(lower(http.request.headers["a"][*])[*] eq "b")')
    assert expression.fields == {"ssl", "http.request.headers"}
    assert expression.reads_certificate is False


def test_an_expression_knows_that_it_reads_the_certificate() -> None:
    assert parse("ssl or not cf.tls_client_auth.cert_presented").reads_certificate is True


def test_equal_texts_are_equal_expressions() -> None:
    deep = "!(" * 64 + "ssl" + ")" * 64
    assert parse(deep) == parse(deep) != parse("ssl")
    assert len({parse(deep), parse(deep)}) == 1
    assert deep in repr(parse(deep))


def codes(expression: Expression) -> list[str]:
    return [warning.code for warning in expression.warnings]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not cf.tls_client_auth.cert_verified", "revoked_not_tested"),
        ('cf.tls_client_auth.cert_fingerprint_sha256 eq "AB"', "never_equal"),
        ('cf.tls_client_auth.cert_fingerprint_sha256 in {"ab:cd"}', "never_equal"),
        ('cf.tls_client_auth.cert_issuer_serial eq "0a"', "never_equal"),
        ('cf.tls_client_auth.cert_issuer_serial ne "0A:0B"', "never_equal"),
        ('http.host eq "API.example.com"', "never_equal"),
        ('http.host in {"a:443"}', "never_equal"),
        ('http.host eq "a.example.com."', "never_equal"),
        ('http.host contains "A:"', "never_equal"),
        ('http.request.method eq "get"', "never_equal"),
        ('http.request.uri.path eq "admin"', "never_equal"),
        ('http.request.uri.path in {"/a" "/b?c"}', "never_equal"),
        ('http.request.uri.path eq "/%61dmin"', "never_equal"),
        ('http.request.uri.path eq "/café"', "never_equal"),
        ('lower(http.host) eq "ABC"', "never_equal"),
        ('upper(http.host) eq "abc"', "never_equal"),
        ('http.host in {"*.example.com"}', "star_in_equality"),
        ('http.request.headers["X-Role"][0] eq "a"', "header_key_case"),
        ("ip.src in {::ffff:10.0.0.1}", "mapped_address"),
        ("ip.src eq ::ffff:10.0.0.1", "mapped_address"),
        ("cf.edge.server_port eq 443", "server_port"),
        ('cf.tls_client_auth.cert_subject_dn eq "CN=a"', "unverified_claim"),
        ('any(tls.client.san.dns[*] eq "a")', "unverified_claim"),
    ],
)
def test_a_probable_mistake_is_a_warning_with_a_place(text: str, code: str) -> None:
    expression = parse(text)
    assert codes(expression) == [code]
    assert 0 <= expression.warnings[0].span.start < expression.warnings[0].span.end <= len(text.encode())


@pytest.mark.parametrize(
    "pin",
    ['cf.tls_client_auth.cert_serial ne "AA"', 'not cf.tls_client_auth.cert_serial in {"AA"}'],
)
def test_a_pin_that_blocks_nobody_is_a_warning(pin: str) -> None:
    text = f"cf.tls_client_auth.cert_revoked or (not cf.tls_client_auth.cert_verified and ssl and {pin})"
    assert codes(parse(text)) == ["pin_joined_with_and"]
    assert codes(parse(text.replace(" and ", " or "))) == []


@pytest.mark.parametrize(
    "text",
    [
        "(not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked)",
        'http.host wildcard "*.example.com" and http.request.uri.path in {"/admin" "/a.b/%C3%A9"}',
        'cf.tls_client_auth.cert_fingerprint_sha256 in {"0123456789abcdef"}',
        'http.request.headers["x-role"][0] eq "A"',
        'http.host contains "a:"',
        'cf.tls_client_auth.cert_revoked or cf.tls_client_auth.cert_subject_dn eq "CN=a"',
    ],
)
def test_a_sound_expression_has_no_warnings(text: str) -> None:
    assert parse(text).warnings == ()


def test_warnings_are_few_and_short() -> None:
    long = "x" * 200
    members = " ".join(f'"{number}{long}*"' for number in range(40))
    *warnings, last = parse(f"http.host in {{{members}}}", limits=GENERATED_LIMITS).warnings
    assert len(warnings) == 32
    assert last.message == "and 8 more warnings"
    assert max(len(warning.message) for warning in warnings) < 250


def test_control_characters_do_not_reach_a_warning() -> None:
    (warning,) = parse('http.host eq "\x1b[2j*"').warnings
    assert warning.message.startswith("'*' in \"\\x1b[2j*\" is an ordinary character")


@pytest.mark.parametrize(
    "request_",
    [
        {"nope": 1},
        {"true": False},
        {"ssl": 1},
        {"http.host": 1},
        {"ip.src": "x"},
        {"cf.edge.server_port": True},
        {"http.host": {"hex": 1}},
        {"http.request.headers": []},
    ],
)
def test_a_request_of_another_form_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        evaluate(parse("ssl"), request_)


def test_the_length_limit_counts_characters_without_the_blanks_around() -> None:
    text = 'http.host ne "' + "é" * 4081 + '"'
    assert parse("  \n" + text + "\n").text.strip() == text
    with pytest.raises(RuleError) as caught:
        parse(text + " or ssl")
    assert caught.value.code is Code.TOO_LONG


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000,
        "!" * 4000,
        "lower(" * 600,
        "any(" * 1000,
        "any((" * 800,
        '"' * 4000,
        "http.host eq " + "r" + "#" * 4000,
        "cf.edge.server_port in {" + "1 " * 2000,
        "http.request.headers" + "[*]" * 1200,
        'http.host matches "' + "(" * 4000 + '"',
        'http.host matches "' + "a{1000}" * 500 + '"',
        'http.host matches "' + "(a*)*" * 700 + '"',
        'http.host wildcard "' + "*a" * 2000 + '"',
        "a." * 2000,
        "ssl" + " or ssl" * 580,
        "ip.src in {" + "1.1.1.1.." * 400 + "}",
    ],
    ids=lambda text: text[:24],
)
def test_a_hostile_text_is_read_quickly_and_never_crashes(text: str) -> None:
    started = time.process_time()
    with suppress(RuleError):
        parse(text)
    assert time.process_time() - started < 1
