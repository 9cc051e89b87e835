"""Imported revocation lists: how serial numbers are packed, and that Lua finds exactly those."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy import ScriptError, SerialSet, Unlisted, is_packed, pack_serials
from mtls_operator.envoy.imported import imported_lists
from mtls_operator.envoy.script import call

LUA = LuaRuntime()
#: own.lua asks the connection for nothing else.
REQUEST: Any = LUA.eval(
    """function(serial)
      local ssl = {
        sha256PeerCertificateDigest = function() return serial end,
        urlEncodedPemEncodedPeerCertificate = function() return "" end,
        serialNumberPeerCertificate = function() return serial end,
      }
      return { info = { downstreamSslConnection = function() return ssl end } }
    end"""
)
DIGEST, OTHER = "a" * 64, "b" * 64

serials = (
    st.integers(1, 2**160)
    .map(lambda number: f"{number:X}")
    .map(lambda text: text.zfill(len(text) + len(text) % 2))
)


def state(listed: SerialSet | Unlisted | None, serial: str, *, issuer: str = DIGEST) -> str:
    """Return what the proxy says of a serial number."""
    statements = "\n".join(imported_lists({DIGEST: listed}))
    certificates = "{ bodies = function() return {} end }"
    own = LUA.execute(f"{statements}\nreturn {call('own', 'imported', certificates, call('sha256'))}")
    return str(own["state"](REQUEST(serial), issuer))


@given(st.sets(serials, min_size=1, max_size=40), serials)
def test_lua_finds_exactly_the_serial_numbers_of_the_list(listed: set[str], another: str) -> None:
    one = SerialSet(pack_serials(listed))
    for serial in listed:
        assert state(one, serial.lower()) == "1"
    assert state(one, another.lower()) == ("1" if another in listed else "0")


def test_a_ca_without_a_list_has_revoked_nothing() -> None:
    assert state(None, "0a") == "0"
    assert state(SerialSet(pack_serials(["0A"])), "0a", issuer=OTHER) == "0"


def test_an_empty_list_is_a_list() -> None:
    assert state(SerialSet(pack_serials([])), "0a") == "0"


def test_of_a_list_that_is_missing_or_at_its_end_nobody_knows_anything() -> None:
    keys = pack_serials(["0A"])
    assert state(Unlisted.UNKNOWN, "0a") == "?"
    assert state(SerialSet(keys, ends=1), "0a") == "?"
    assert state(SerialSet(keys, ends=2**40), "0a") == "1"


@given(st.sets(serials, max_size=40))
def test_what_is_packed_is_recognised_and_counted(listed: set[str]) -> None:
    keys = pack_serials(listed)
    assert is_packed(keys)
    assert SerialSet(keys).count == len(listed)


@pytest.mark.parametrize(
    "keys",
    ["AAAA", "AAAAAAA!", '"]]os.exi', "BBBBBBBBAAAAAAAA", "AAAAAAAAAAAAAAAA", "AAAAAAA\n"],
)
def test_a_text_that_is_not_packed_is_recognised(keys: str) -> None:
    assert not is_packed(keys)


def test_a_text_that_is_not_packed_never_becomes_a_part_of_a_script() -> None:
    with pytest.raises(ScriptError):
        imported_lists({DIGEST: SerialSet('x" .. os.exit() .. "')})


def test_one_list_of_two_certificates_of_a_ca_is_written_once() -> None:
    listed = SerialSet(pack_serials(["0A", "0B"]))
    text = "\n".join(imported_lists({DIGEST: listed, OTHER: listed}))
    assert text.count(listed.keys) == 1


def test_forty_thousand_serial_numbers_take_a_third_of_a_config_map() -> None:
    assert len(pack_serials(f"{number:040X}" for number in range(40_000))) == 320_000
