"""Guards: what a rule needs at least to apply, so that a proxy need not ask it otherwise."""

from __future__ import annotations

import pytest
from tests.unit.rules.machine import corpus

from mtls_operator.rules import Guard, RuleError, evaluate, parse, simple_form, to_lua

PATH = "http.request.uri.path"
BAD = "(not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked)"


def guard(text: str) -> Guard:
    return to_lua(parse(text)).guard


def paths(*exact: str, prefixes: tuple[str, ...] = ()) -> Guard:
    return Guard(frozenset(p.encode() for p in exact), frozenset(p.encode() for p in prefixes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{PATH} eq "/a"', paths("/a")),
        (f'{PATH} in {{"/a" "/b"}}', paths("/a", "/b")),
        (f'{PATH} strict wildcard "/a/*"', paths(prefixes=("/a/",))),
        (f'{PATH} strict wildcard "/a/*.js"', paths(prefixes=("/a/",))),
        (f'{PATH} strict wildcard "/a"', paths("/a")),
        (f'starts_with({PATH}, "/a/")', paths(prefixes=("/a/",))),
        (f'{PATH} eq "/a" or starts_with({PATH}, "/b")', paths("/a", prefixes=("/b",))),
        (f'{PATH} eq "/a" and ssl', paths("/a")),
        (f'ssl and ({PATH} eq "/a" or {PATH} eq "/b")', paths("/a", "/b")),
        (f'{PATH} in {{"/a" "/b"}} and {PATH} eq "/c"', paths("/c")),
    ],
)
def test_a_rule_about_paths_is_guarded_by_them(text: str, expected: Guard) -> None:
    assert guard(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        f'{PATH} ne "/a"',
        f'not {PATH} eq "/a"',
        f'{PATH} eq "/a" or ssl',
        f'{PATH} eq "/a" xor {PATH} eq "/b"',
        f'{PATH} ge "/a"',
        f'{PATH} wildcard "/a/*"',
        f'{PATH} strict wildcard "*/a"',
        f'{PATH} contains "/a"',
        f'{PATH} matches "^/a$"',
        f'lower({PATH}) eq "/a"',
        f'starts_with(lower({PATH}), "/a")',
        f'starts_with({PATH}, "")',
        f'ends_with({PATH}, "/a")',
        'http.request.uri eq "/a"',
        'http.host eq "a"',
        'any(http.request.headers["a"][*] eq "/a")',
        "ssl",
    ],
)
def test_what_can_hold_at_any_path_is_not_guarded_by_paths(text: str) -> None:
    assert guard(text) == Guard()


@pytest.mark.parametrize(
    "text",
    [
        BAD,
        "not cf.tls_client_auth.cert_verified",
        "not cf.tls_client_auth.cert_presented",
        "cf.tls_client_auth.cert_revoked",
        f"{BAD} and ssl",
        "cf.tls_client_auth.cert_verified xor not cf.tls_client_auth.cert_revoked",
        "false",
    ],
)
def test_a_rule_against_bad_certificates_spares_good_ones(text: str) -> None:
    assert guard(text) == Guard(spares_good=True)


@pytest.mark.parametrize(
    "text",
    [
        f"{BAD} or ssl",
        "cf.tls_client_auth.cert_verified",
        "not cf.tls_client_auth.cert_revoked",
        f"not {BAD}",
        'cf.tls_client_auth.cert_serial ne "01"',
        'any(http.request.headers["a"][*] eq "a") or not cf.tls_client_auth.cert_verified',
    ],
)
def test_what_can_hold_for_a_good_certificate_does_not_spare_it(text: str) -> None:
    assert not guard(text).spares_good


def test_the_simple_form_is_guarded_in_both_ways() -> None:
    text = simple_form(paths=["/admin"], path_prefixes=["/admin/"], hostnames=["a.com"], allow_revoked=False)
    assert guard(text) == Guard(frozenset({b"/admin"}), frozenset({b"/admin/"}), spares_good=True)


def test_no_case_of_the_corpus_holds_outside_of_its_guard() -> None:
    seen = 0
    for case in corpus():
        if case.get("result") is not True:
            continue
        try:
            expression = parse(case["expr"])
            found = to_lua(expression).guard
        except RuleError:
            continue
        request = case.get("request") or {}
        assert evaluate(expression, request) is True
        assert admits(found, request), case["id"]
        seen += 1
    assert seen > 100


def admits(found: Guard, request: dict[str, object]) -> bool:
    """Return whether a guard lets the rule be asked."""
    states = [
        request.get(f"cf.tls_client_auth.cert_{name}", False) for name in ("presented", "verified", "revoked")
    ]
    if found.spares_good and states == [True, True, False]:
        return False
    if found.paths is None:
        return True
    value = request.get(PATH, "")
    path = bytes.fromhex(value["hex"]) if isinstance(value, dict) else str(value).encode()
    return path in found.paths or path.startswith(tuple(found.prefixes))
