"""Hosts and paths instead of an expression: what they expand to, and what is refused because it could never match."""

from ipaddress import ip_address

import pytest

from mtls_operator.rules import (
    GENERATED_LIMITS,
    Code,
    RuleError,
    SimpleFormError,
    check_supported,
    evaluate,
    parse,
    simple_form,
)

CERTIFICATE = {
    "none": {},
    "invalid": {"cf.tls_client_auth.cert_presented": True},
    "good": {"cf.tls_client_auth.cert_presented": True, "cf.tls_client_auth.cert_verified": True},
    "revoked": {
        "cf.tls_client_auth.cert_presented": True,
        "cf.tls_client_auth.cert_verified": True,
        "cf.tls_client_auth.cert_revoked": True,
    },
}


def form(
    *paths: str, prefixes: tuple[str, ...] = (), hostnames: tuple[str, ...] = (), allow_revoked: bool = False
) -> str:
    return simple_form(paths=paths, path_prefixes=prefixes, hostnames=hostnames, allow_revoked=allow_revoked)


def blocks(text: str, path: str = "/", host: str = "api.example.com", certificate: str = "none") -> bool:
    expression = parse(text)
    check_supported(expression)
    return evaluate(
        expression, {"http.request.uri.path": path, "http.host": host, **CERTIFICATE[certificate]}
    )


def test_every_group_has_its_own_parentheses() -> None:
    assert form("/admin", "/a", prefixes=("/x/",), hostnames=("b.example.com", "*.example.org")) == (
        "((not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked)"
        ' and (http.host in {"b.example.com"} or http.host wildcard "*.example.org")'
        ' and (http.request.uri.path in {"/a" "/admin"} or http.request.uri.path strict wildcard "/x/*"))'
    )


def test_without_hosts_and_paths_it_is_about_every_request() -> None:
    assert form() == "(not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked)"
    assert form(allow_revoked=True) == "not cf.tls_client_auth.cert_verified"


@pytest.mark.parametrize(
    ("certificate", "blocked", "blocked_if_allowed"),
    [("none", True, True), ("invalid", True, True), ("good", False, False), ("revoked", True, False)],
)
def test_the_certificate_decides(certificate: str, *, blocked: bool, blocked_if_allowed: bool) -> None:
    assert blocks(form("/admin"), "/admin", certificate=certificate) is blocked
    assert blocks(form("/admin", allow_revoked=True), "/admin", certificate=certificate) is blocked_if_allowed
    assert blocks(form("/admin"), "/", certificate=certificate) is False


def test_paths_are_exact_and_prefixes_are_not() -> None:
    text = form("/admin", prefixes=("/admin/", "/a*b"))
    assert [blocks(text, path) for path in ("/admin", "/admin/", "/admin/x")] == [True] * 3
    assert [blocks(text, path) for path in ("/", "/Admin", "/administrator", "/aXb")] == [False] * 4
    assert blocks(text, "/a*bc") is True


def test_hosts_are_lower_cased_and_a_star_covers_every_name_below() -> None:
    text = form(hostnames=("API.Example.com", "*.Example.org"))
    assert blocks(text, host="api.example.com") is True
    assert blocks(text, host="a.b.example.org") is True
    assert [blocks(text, host=host) for host in ("example.org", "example.com", "xexample.org")] == [False] * 3


def test_the_order_of_the_lists_does_not_matter() -> None:
    assert form("/b", "/a", "/b") == form("/a", "/b")


@pytest.mark.parametrize(
    "path",
    [
        "admin",
        "",
        "/a?b",
        "/a#b",
        "//a",
        "/a/../b",
        "/a/.",
        "/%61",
        "/%7e",
        "/%2F",
        "/%5c",
        "/a\\b",
        "/a b",
        "/é",
        "/a\n",
        "/\ud800",
    ],
)
def test_a_path_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(SimpleFormError) as caught:
        form("/ok", path)
    assert caught.value.field == "paths[1]"
    with pytest.raises(SimpleFormError) as caught:
        form(prefixes=(path,))
    assert caught.value.field == "pathPrefixes[0]"


@pytest.mark.parametrize(
    "path", ["/", "/a.b", "/a..b", "/.well-known", "/%C3%A9", "/a;b", "/a*", '/a"b', "/%25"]
)
def test_a_path_that_a_request_can_have_is_taken_literally(path: str) -> None:
    assert blocks(form(path), path) is True
    assert blocks(form(path), path + "x") is False


@pytest.mark.parametrize(
    "host",
    [
        "a.example.com:443",
        "a.example.com.",
        "*",
        "a.*.com",
        "*a.com",
        "",
        "é.com",
        'a"b',
        "a b",
        "*.*.com",
        "a..b",
        "\u212a.com",
    ],
)
def test_a_host_that_no_request_has_is_refused(host: str) -> None:
    with pytest.raises(SimpleFormError) as caught:
        form(hostnames=("ok.example.com", host))
    assert caught.value.field == "hostnames[1]"


def test_a_refusal_is_an_error_like_that_of_an_expression() -> None:
    with pytest.raises(RuleError) as caught:
        form("/a?b")
    assert caught.value.code is Code.IMPOSSIBLE
    assert caught.value.display() == (
        "line 1, column 1: paths[0]: no request has this path: a path ends before the query\n/a?b\n^^^^"
    )


def test_the_longest_form_is_read_with_the_limits_of_generated_text() -> None:
    paths = ["/" + str(number) + "x" * 500 for number in range(64)]
    text = simple_form(
        paths=paths, path_prefixes=paths, hostnames=["a" * 60 + ".example.com"] * 64, allow_revoked=False
    )
    assert parse(text, limits=GENERATED_LIMITS).warnings == ()


def test_an_address_can_be_a_host() -> None:
    assert blocks(form(hostnames=(str(ip_address("192.0.2.1")),)), host="192.0.2.1") is True
