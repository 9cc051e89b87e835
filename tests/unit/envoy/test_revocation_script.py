"""Revocation lists as text: small, and exactly the bits that were given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy import IssuerRevocations, ScriptError, revocation_script, revocations_in
from mtls_operator.envoy.revocation_script import sextets

DIGEST = "ab" * 32
#: What Envoy offers to a script, as far as this one needs it.
HANDLE = """
local connection, presented, validated, issuer, serial = ...
local states = {}
local ssl = {
  peerCertificatePresented = function() return presented end,
  peerCertificateValidated = function() return validated end,
  sha256PeerCertificateIssuerDigest = function() return issuer end,
  serialNumberPeerCertificate = function() return serial end,
}
local filter_state = {
  get = function(_, key) assert(key == "mtls.connection"); return connection end,
  set = function(_, key, kind, value) states[key] = value end,
}
local info = {
  downstreamSslConnection = function() return ssl end,
  filterState = function() return filter_state end,
}
envoy_on_request({ streamInfo = function() return info end })
return states["mtls.revoked"]
"""
EPOCH = 1_764_000_000_001


class Script:
    """A revocation script in LuaJIT."""

    def __init__(self, bitmap: bytes, *, first: int = 0) -> None:
        self._lua = LuaRuntime()
        self._lua.execute(
            revocation_script(
                epoch=EPOCH,
                issuers=[IssuerRevocations(DIGEST, bitmap, first)],
                mounted="/nonexistent/revocation.lua",
            )
        )
        self._run: Any = self._lua.eval(f"function(...) {HANDLE} end")

    def said(
        self,
        serial: str,
        *,
        connection: str | None = None,
        presented: bool = True,
        validated: bool = True,
        issuer: str = DIGEST,
    ) -> str | None:
        """Return what the script says at a request; ``connection`` is the number that the listener gave."""
        found: str | None = self._run(connection, presented, validated, issuer, serial)
        return found

    def state(self, serial: str, **about: Any) -> str | None:
        """Return the state alone."""
        said = self.said(serial, **about)
        return None if said is None else said.removesuffix(f" {EPOCH}")


def serial(index: int) -> str:
    return "0a" + "5c" * 14 + f"{index:08x}"


@given(st.sets(st.integers(0, 400)), st.integers(0, 500))
def test_exactly_the_bits_of_the_bitmap_are_revoked(revoked: set[int], index: int) -> None:
    bits = sum(1 << each for each in revoked)
    script = Script(bits.to_bytes((bits.bit_length() + 7) // 8, "little"))
    assert script.state(serial(index)) == ("1" if index in revoked else "0")


@given(st.sets(st.integers(0, 100)), st.integers(0, 2**32 - 200), st.integers(-150, 150))
def test_the_bits_of_a_successor_begin_at_its_first_index(revoked: set[int], first: int, off: int) -> None:
    bits = sum(1 << each for each in revoked)
    script = Script(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), first=first)
    index = max(first + off, 0)
    assert script.state(serial(index)) == ("1" if index - first in revoked else "0")


@pytest.mark.parametrize("first", [-1, 2**32])
def test_a_list_begins_with_an_index(first: int) -> None:
    with pytest.raises(ScriptError, match="no index"):
        revocation_script(epoch=1, issuers=[IssuerRevocations(DIGEST, b"", first)])


@given(st.binary(max_size=200), st.integers(0, 4))
def test_zero_bytes_at_the_end_do_not_change_the_text(bitmap: bytes, zeros: int) -> None:
    assert sextets(bitmap) == sextets(bitmap + b"\0" * zeros)


@pytest.mark.parametrize(
    "number",
    [
        "2a",
        "0a" * 18,
        "0a" * 20,
        "80" + "5c" * 14 + "00000003",
        "ff" * 19,
        "-0a" + "5c" * 13 + "00000003",
        "",
    ],
    ids=["short", "18 bytes", "20 bytes", "sign bit", "all ones", "negative", "none"],
)
def test_nobody_knows_of_a_number_that_the_operator_cannot_have_given_out(number: str) -> None:
    """A CA that was given to the operator may have issued elsewhere: no list could ever name such a certificate."""
    assert Script(b"").state(number) == "?"


def test_the_digits_of_a_number_may_be_of_either_case() -> None:
    script = Script(b"\0\x04")
    assert (script.state(serial(10).upper()), script.state(serial(11).upper())) == ("1", "0")


def test_a_certificate_beyond_the_list_is_not_revoked() -> None:
    script = Script(b"\xff")
    assert [script.state(serial(index)) for index in (7, 8, 11, 12, 0xFFFFFFFF)] == ["1", "0", "0", "0", "0"]


def test_an_empty_list_revokes_nothing() -> None:
    assert Script(b"").state(serial(0)) == "0"


def test_without_a_certificate_nothing_is_said() -> None:
    assert Script(b"\xff").state("", presented=False) is None


def test_a_certificate_that_is_not_validated_is_of_no_interest() -> None:
    assert Script(b"\xff").state(serial(1), validated=False, issuer="") == "0"


@pytest.mark.parametrize("issuer", ["cd" * 32, ""])
def test_the_state_of_another_issuers_certificate_is_unknown(issuer: str) -> None:
    assert Script(b"\xff").state(serial(1), issuer=issuer) == "?"


@pytest.mark.parametrize("text", ["", "zz"])
def test_the_state_of_a_serial_number_that_is_none_is_unknown(text: str) -> None:
    assert Script(b"\xff").state(text) == "?"


def test_a_million_certificates_fit_into_a_hundred_and_eighty_kilobytes() -> None:
    text = revocation_script(epoch=1_764_000_000_001, issuers=[IssuerRevocations(DIGEST, b"\xaa" * 125_000)])
    assert len(text) < 180_000


def test_the_epoch_of_the_lists_is_told_with_every_answer() -> None:
    script = Script(b"\x02")
    about = ({}, {"issuer": ""}, {"validated": False})
    assert [script.said(serial(1), **each) for each in about] == [f"{state} {EPOCH}" for state in "1?0"]


def test_one_connection_is_asked_about_once_and_another_one_for_itself() -> None:
    script = Script(b"\x02")
    assert script.state(serial(1), connection="7") == "1"
    assert script.state("", connection="7", presented=False) == "1"
    assert script.state(serial(0), connection="8") == "0"
    assert script.state("", connection="9", presented=False) is None
    assert script.state(serial(1), connection="10") == "1"


def test_without_a_number_every_request_is_asked_about() -> None:
    script = Script(b"\x02")
    assert [script.state(serial(index)) for index in (1, 0, 1)] == ["1", "0", "1"]


@given(
    st.dictionaries(
        st.sampled_from(["a" * 64, "b" * 64, DIGEST]),
        st.tuples(st.binary(max_size=40), st.integers(0, 2**32 - 1)),
    )
)
def test_what_a_script_says_can_be_read_again(said: dict[str, tuple[bytes, int]]) -> None:
    issuers = {
        digest: IssuerRevocations(digest, bits.rstrip(b"\0"), first) for digest, (bits, first) in said.items()
    }
    assert revocations_in(revocation_script(epoch=1, issuers=list(issuers.values()))) == issuers


@given(st.text())
def test_what_is_no_script_says_nothing(text: str) -> None:
    assert revocations_in(text) == {}


def test_lines_that_are_not_written_as_we_write_them_say_nothing() -> None:
    good = f'  ["{"a" * 64}"] = {{7, "AQAA"}},'
    bad = [
        f'  ["{"b" * 64}"] = {{4294967296, "AQAA"}},',
        f'  ["{"c" * 64}"] = {{7, "AQA"}},',
        f'  ["{"D" * 64}"] = {{7, "AQAA"}},',
        f'  ["{"e" * 64}"] = {{-1, "AQAA"}},',
    ]
    script = "\n".join(["-- mtls-revocation 7", "local lists = {", good, *bad, "}", good.replace("a", "f")])
    assert revocations_in(script).keys() == {"a" * 64}
