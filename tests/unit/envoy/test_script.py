"""What makes a text a script that may be published."""

from __future__ import annotations

import hashlib

import pytest
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy import (
    IssuerRevocations,
    IssuerTrust,
    RuleScript,
    ScriptError,
    check_script,
    epoch_of,
    revocation_script,
    rules_script,
    script_version,
)

DIGEST = "0123456789abcdef" * 4
HANDLER = "function envoy_on_request(handle) end\n"


def script(**changes: object) -> str:
    arguments: dict[str, object] = {
        "epoch": 1_764_000_000_000,
        "hostnames": ["api.example.com"],
        "issuers": [IssuerTrust(DIGEST, listed=True)],
        "rules": [],
        "reads_certificate": True,
        "forward": ["xfcc"],
        "runtime": "return {}",
    }
    return rules_script(**{**arguments, **changes})  # type: ignore[arg-type]  # the builder of these tests


def test_the_first_line_names_the_filter_and_the_epoch() -> None:
    assert script().splitlines()[0] == "-- mtls-rules 1764000000000"
    assert revocation_script(epoch=7, issuers=[]).splitlines()[0] == "-- mtls-revocation 7"


def test_the_epoch_can_be_read_back() -> None:
    assert epoch_of(script(epoch=42)) == 42
    assert epoch_of(revocation_script(epoch=43, issuers=[])) == 43


@pytest.mark.parametrize(
    "text", ["", "\n-- mtls-rules 1", "-- mtls-rules", "-- mtls-rules x", "--mtls-rules 1", "x"]
)
def test_a_text_without_the_line_has_no_epoch(text: str) -> None:
    assert epoch_of(text) is None


@pytest.mark.parametrize("family", ["XFCC", "", "client-cert"])
def test_a_family_of_headers_that_nobody_knows_is_refused(family: str) -> None:
    with pytest.raises(ScriptError, match="family"):
        script(forward=["xfcc", family])


def test_the_order_of_what_is_forwarded_changes_nothing() -> None:
    assert script(forward=["xfcc", "rfc9440"]) == script(forward=["rfc9440", "xfcc"])


@pytest.mark.parametrize("epoch", [0, -1, 2**53])
def test_an_epoch_that_lua_cannot_compare_exactly_is_refused(epoch: int) -> None:
    with pytest.raises(ScriptError, match="epoch"):
        script(epoch=epoch)


def test_the_largest_epoch_is_exact_in_lua() -> None:
    text = script(epoch=2**53 - 1)
    assert "9007199254740991" in text
    check_script(text)


def test_the_version_is_the_beginning_of_the_sha256() -> None:
    assert script_version("text") == hashlib.sha256(b"text").hexdigest()[:16]


def test_generated_scripts_load() -> None:
    check_script(script())
    check_script(revocation_script(epoch=1, issuers=[IssuerRevocations(DIGEST, b"\x01")]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"-- mtls-rules 1\n{HANDLER}if then\n", "does not load"),
        (f"-- mtls-rules 1\n{HANDLER}error('boom')\n", "boom"),
        ("-- mtls-rules 1\nlocal nothing = 1\n", "envoy_on_request"),
        ("-- mtls-rules 1\nenvoy_on_request = 7\n", "envoy_on_request"),
        (f"-- mtls-rules 1\n{HANDLER}\0", "NUL"),
        (HANDLER, "epoch"),
    ],
)
def test_a_script_that_would_fail_in_the_proxy_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ScriptError, match=problem):
        check_script(text)


def test_a_script_cannot_reach_python() -> None:
    with pytest.raises(ScriptError, match="python"):
        check_script(f"-- mtls-rules 1\n{HANDLER}python.eval('1')\n")


def test_a_rule_that_is_no_lua_is_refused() -> None:
    with pytest.raises(ScriptError, match="does not load"):
        check_script(script(rules=[RuleScript("bad", "block", (), "and and")]))


def test_a_nul_in_a_compiled_expression_is_refused() -> None:
    with pytest.raises(ScriptError, match="NUL"):
        script(rules=[RuleScript("bad", "block", (), '"\0"')])


def test_a_nul_in_a_text_of_the_user_is_escaped() -> None:
    text = script(rules=[RuleScript("nul", "block", (), "true", body="a\0b")])
    assert "\0" not in text
    check_script(text)


@pytest.mark.parametrize("status", [200, 302, 399, 500, 0])
def test_a_block_answers_with_a_client_error(status: int) -> None:
    with pytest.raises(ScriptError, match="400 to 499"):
        script(rules=[RuleScript("bad", "block", (), "true", status)])


@pytest.mark.parametrize("content_type", ["text/plain\r\nset-cookie: a=b", "a\nb", "a\0b", "", "ü", "a\tb"])
def test_a_content_type_cannot_add_headers(content_type: str) -> None:
    with pytest.raises(ScriptError, match="header value"):
        script(rules=[RuleScript("bad", "block", (), "true", 403, content_type, "")])


def test_a_content_type_goes_with_a_body() -> None:
    with pytest.raises(ScriptError, match="goes with a body"):
        script(rules=[RuleScript("bad", "block", (), "true", 403, "text/plain")])


@pytest.mark.parametrize("digest", ["", "ab", DIGEST.upper(), f"{DIGEST}0", f'{DIGEST[:-1]}"'])
def test_an_issuer_is_named_by_a_sha256(digest: str) -> None:
    with pytest.raises(ScriptError, match="64"):
        script(issuers=[IssuerTrust(digest, listed=True)])
    with pytest.raises(ScriptError, match="64"):
        revocation_script(epoch=1, issuers=[IssuerRevocations(digest, b"")])


def test_two_lists_of_one_issuer_are_refused() -> None:
    lists = [IssuerRevocations(DIGEST, b"\x01"), IssuerRevocations(DIGEST, b"")]
    with pytest.raises(ScriptError, match="two revocation lists"):
        revocation_script(epoch=1, issuers=lists)


def test_an_issuer_that_is_listed_once_needs_its_list_however_often_it_is_named() -> None:
    trust = [IssuerTrust(DIGEST, listed=True), IssuerTrust(DIGEST, listed=False)]
    assert script(issuers=trust) == script(issuers=[IssuerTrust(DIGEST, listed=True)])
    assert script(issuers=trust[::-1]) == script(issuers=[IssuerTrust(DIGEST, listed=True)])


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ScriptError, match="no action"):
        script(rules=[RuleScript("bad", "allow", (), "true")])  # type: ignore[arg-type]  # what a bug would pass


def test_the_order_of_hostnames_and_issuers_does_not_matter() -> None:
    trust = [IssuerTrust(DIGEST, listed=True), IssuerTrust("f" * 64, listed=False)]
    one = script(hostnames=["b.example.com", "*.a.example.com"], issuers=trust)
    two = script(hostnames=["*.A.example.com", "b.example.com"], issuers=trust[::-1])
    assert one == two


def test_three_thousand_rules_load() -> None:
    path = 'f["http.request.uri.path"]'
    rules = [RuleScript(f"rule-{n}", "block", (f'"/{n}"',), f"{path} == K[1]") for n in range(3000)]
    check_script(script(rules=rules))


@pytest.mark.parametrize(
    "text", [script(), revocation_script(epoch=7, issuers=[])], ids=["rules", "revocation"]
)
def test_garbage_is_collected_when_two_megabytes_are_in_use_besides_what_is_kept(text: str) -> None:
    lua = LuaRuntime()
    lua.execute(text)
    kept = lua.eval('collectgarbage("count")')
    assert lua.eval('collectgarbage("setpause", 200)') == pytest.approx(100 + 204_800 / kept, rel=0.1)
