"""Texts become Lua literals, and nothing but literals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy.lua_text import lua_bool, lua_list, lua_string, lua_table

LUA = LuaRuntime(encoding=None)


def test_every_byte_survives_as_itself() -> None:
    data = bytes(range(256))
    assert LUA.eval(lua_string(data)) == data


@given(st.binary())
def test_any_bytes_come_back_from_lua(data: bytes) -> None:
    assert LUA.eval(lua_string(data)) == data


@given(st.text())
def test_any_text_comes_back_from_lua_as_utf8(text: str) -> None:
    assert LUA.eval(lua_string(text)) == text.encode()


@given(st.binary())
def test_a_literal_holds_nothing_that_could_end_it(data: bytes) -> None:
    inner = lua_string(data)[1:-1]
    assert '"' not in inner
    assert "\n" not in inner
    assert inner.isascii()


def test_a_digit_after_an_escaped_byte_is_not_taken_into_it() -> None:
    assert LUA.eval(lua_string(b"\x019")) == b"\x019"


def test_booleans() -> None:
    assert (lua_bool(True), lua_bool(False)) == ("true", "false")


def test_tables_are_sorted_and_lists_keep_their_order() -> None:
    assert lua_table([("b", "1"), ("a", "2")]) == '{\n  ["a"] = 2,\n  ["b"] = 1,\n}'
    assert lua_list(["2", "1"]) == "{\n  2,\n  1,\n}"
    assert (lua_table([]), lua_list([])) == ("{}", "{}")
