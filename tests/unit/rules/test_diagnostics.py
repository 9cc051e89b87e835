"""Errors that a person can act upon: place, caret, hint."""

import pytest

from mtls_operator.rules import Code, RuleError, Span, parse


def failure(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse(text)
    return caught.value


def test_the_display_has_place_source_caret_and_hint() -> None:
    assert failure('ssl and\n  http.host = "a"').display() == (
        "line 2, column 13: an operator is expected after this String\n"
        '  http.host = "a"\n'
        "            ^^^^^\n"
        "hint: write == or eq"
    )


def test_columns_are_characters_and_spans_are_bytes() -> None:
    error = failure('http.host eq "éé" and nope')
    assert error.line_column() == (1, 23)
    assert error.span == Span(24, 28)


def test_the_caret_line_ends_with_the_source_line() -> None:
    lines = failure("ssl ssl\nand ssl").display().split("\n")
    assert lines[1:3] == ["ssl ssl", "    ^^^"]


def test_an_error_at_the_end_has_one_caret_behind_it() -> None:
    assert failure("ssl and").display().split("\n")[1:3] == ["ssl and", "       ^"]


def test_an_empty_expression_has_a_place_too() -> None:
    error = failure("")
    assert error.line_column() == (1, 1)
    assert error.display().startswith("line 1, column 1: a field or function is expected here")


def test_white_space_before_the_expression_counts() -> None:
    assert failure("\n\n  nope").line_column() == (3, 3)


def test_a_tab_is_no_blank_and_keeps_the_caret_in_place() -> None:
    assert failure("ssl and\tnope").display().split("\n")[1:] == [
        "ssl and nope",
        "       ^^^^^",
        "hint: only spaces and line ends are blanks here: write a space",
    ]


def test_control_characters_do_not_reach_the_terminal() -> None:
    shown = failure('http.host eq "\x1b[31m\x07\u202e" nope').display()
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize(
    "text", ["ip.src eq 1\x1b[2J", "http.host eq a\x1b[2J", "http.host in a\x1b[2J", "\x1b"]
)
def test_control_characters_in_a_token_do_not_reach_the_terminal(text: str) -> None:
    error = failure(text)
    assert "\x1b" not in error.display() + str(error) + repr(error) + (error.hint or "")


def test_a_lone_surrogate_is_an_error_with_a_place() -> None:
    error = failure('http.host eq "\ud800"')
    assert (error.code, error.line_column()) == (Code.BAD_TEXT, (1, 15))
    assert error.display().startswith("line 1, column 15: the text is not valid Unicode")


def test_the_text_of_the_exception_names_the_place() -> None:
    assert str(failure("nope")) == "line 1, column 1: there is no field nope"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cf.edge.server_prt eq 1", "did you mean cf.edge.server_port?"),
        ("cf.tls_client_auth.cert_verifed", "did you mean cf.tls_client_auth.cert_verified?"),
        ('http.request.uri.paht eq "/"', "did you mean http.request.uri.path?"),
        ('HTTP.HOST eq "a"', "did you mean http.host?"),
        ('startswith(http.host, "a")', "did you mean starts_with?"),
        ("notssl", "a blank is missing after not"),
        ("ssl andnot ssl", "a blank is missing after and"),
        ("ssl AND ssl", "operators are written in lower case: and"),
        ('http.host =~ "a"', "write matches or ~"),
        ('http.host !~ "a"', "write: not (x matches …)"),
        ('http.host not in {"a"}', "write the negation first: not (x in {…})"),
        ('http.host starts_with "a"', "starts_with is a function: starts_with(x, …)"),
        ("ssl == 1", "a Boolean stands alone: x, or: not x"),
        ("http.host eq foo", 'write "foo"'),
        ("http.host eq 'foo'", "strings are written in double quotes"),
        ('http.host eq R"foo"', "a raw string begins with a lower-case r"),
        ('http.host in {"a", "b"}', "the elements of a set are separated by blanks, not by commas"),
        ('http.host in "a"', 'write {"a"}'),
        ("ip.src in 10.0.0.0/8", "write {10.0.0.0/8}"),
        ("ip.src eq 10.0.0.0/8", "networks stand in braces: in {10.0.0.0/8}"),
        ("ip.src in {10.0.0.1/8}", "the network is 10.0.0.0/8"),
        ('ip.src eq "10.0.0.1"', "addresses are written without quotes"),
        ("ip.src in $office_b", "it is a ConfigMap named office-b with the label mtls-operator.dev/list"),
        ("cf.edge.server_port in {80-90}", "a range is written with two dots: 80..90"),
        ('"a" eq http.host', "the field stands on the left, the literal on the right"),
        ("(ssl\nand (ssl)", "the parenthesis opened at line 1, column 1"),
        ('http.host matches "[a"', "an opening [ of a character class is never closed"),
        ('http.request.headers["a"] eq "b"', "compare one element: x[0], or each: any(x[*] …)"),
        (
            'any(http.request.headers.names[*] eq "a" or ssl)',
            "put the whole argument in parentheses: any((… or …))",
        ),
    ],
)
def test_a_common_mistake_has_a_hint(text: str, hint: str) -> None:
    assert failure(text).hint == hint


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            'ip.src.country eq "DE"',
            Code.NOT_AVAILABLE,
            "the field ip.src.country is known, but not available in mTLS rules",
        ),
        (
            "cf.threat_score gt 5",
            Code.NOT_AVAILABLE,
            "the field cf.threat_score is known, but not available in mTLS rules",
        ),
        (
            'sha256(http.host) eq "a"',
            Code.NOT_AVAILABLE,
            "the function sha256 is known, but not available in mTLS rules",
        ),
        (
            "http.host eq http.referer",
            Code.NOT_SUPPORTED,
            "not supported yet: a comparison with another field",
        ),
        ("cf.edge.server_port eq 0x", Code.PARSE_INT, "this is not an integer"),
        ("cf.edge.server_port eq 080", Code.PARSE_INT, "this is not an integer"),
        ("cf.edge.server_port eq -010", Code.PARSE_INT, "this is not an integer"),
        ("cf.edge.server_port & 1", Code.UNSUPPORTED_OP, "the undocumented operator '&' is not supported"),
    ],
)
def test_what_exists_elsewhere_is_refused_by_name(text: str, code: Code, message: str) -> None:
    error = failure(text)
    assert (error.code, error.message) == (code, message)
