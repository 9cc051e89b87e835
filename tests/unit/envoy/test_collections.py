"""Cookies and arguments out of their texts, in Lua as in the reference; and no text makes that slow."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy.script import call
from mtls_operator.rules.request import field_value

LUA = LuaRuntime(encoding=None)
COLLECTIONS: Any = LUA.eval(call("collections"))


def cookies(text: bytes) -> dict[bytes, list[bytes]]:
    return {name: list(values.values()) for name, values in COLLECTIONS[b"cookies"](text).items()}


def arguments(text: bytes) -> tuple[list[bytes], list[bytes], dict[bytes, list[bytes]]]:
    table = COLLECTIONS[b"arguments"](text)
    grouped = {name: list(values.values()) for name, values in table[b"map"].items()}
    return list(table[b"names"].values()), list(table[b"values"].values()), grouped


@given(st.lists(st.sampled_from(list(b"ab=;; \t%61&,\xff")), max_size=14).map(bytes))
def test_cookies_are_those_of_the_reference(text: bytes) -> None:
    request = {"http.cookie": {"hex": text.hex()}}
    assert cookies(text) == field_value(request, "http.request.cookies")


@given(st.lists(st.sampled_from(list(b"ab=&&;+%61\xff")), max_size=14).map(bytes))
def test_arguments_are_those_of_the_reference(text: bytes) -> None:
    request = {"http.request.uri.query": {"hex": text.hex()}}
    fields = ("http.request.uri.args.names", "http.request.uri.args.values", "http.request.uri.args")
    assert arguments(text) == tuple(field_value(request, name) for name in fields)


@pytest.mark.parametrize("text", [b" " * 60_000, b"\t;" * 30_000, b"a" + b" " * 60_000 + b"b", b"=" * 60_000])
def test_no_cookie_takes_long(text: bytes) -> None:
    started = time.process_time()
    cookies(text)
    arguments(text)
    assert time.process_time() - started < 0.5
