"""Headers, cookies and arguments as rules read them; and no text makes that slow."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from mtls_operator.envoy.script import call
from mtls_operator.rules import RUNTIME
from mtls_operator.rules.request import field_value

LUA = LuaRuntime(encoding=None)
COLLECTIONS: Any = LUA.eval(call("collections"))
#: Lines of a request as Envoy offers them: iteration in order of arrival, and by a name in any case, cut at NUL.
HEADERS: Any = LUA.eval(
    r"""function(names, values)
  pairs = function(container)
    return (getmetatable(container) or { __pairs = next }).__pairs, container
  end
  local function of(name)
    local found = {}
    name = name:gsub("%z.*", ""):lower()
    for place = 1, #names do
      if names[place] == name then
        found[#found + 1] = values[place]
      end
    end
    return found
  end
  local place = 0
  local function following()
    place = place + 1
    return names[place], values[place]
  end
  return setmetatable({
    getNumValues = function(_, name) return #of(name) end,
    getAtIndex = function(_, name, position) return of(name)[position + 1] end,
  }, { __pairs = following })
end"""
)
RT: Any = LUA.eval(f"(function()\n{RUNTIME}\nend)()")
NAMES = (b"x-a", b"x-b", b"host", b":path", b"x-forwarded-for", b"x-request-id", b"cookie")
#: Names that a rule may ask for, and that no line has.
STRANGE = (b"X-A", b"x-a\0", b"x-a ", b"", b"x-c", b"x-\xe4", b":authority", b"Host")
LINES = st.lists(
    st.tuples(st.sampled_from([each for each in NAMES if each != b"host"]), st.text(" \ta,b", max_size=6)),
    max_size=8,
)


def arrays(value: Any) -> Any:
    """Return nested Lua arrays as lists."""
    return [arrays(each) for each in value.values()] if hasattr(value, "values") else value


@given(LINES, st.lists(st.sampled_from(NAMES + STRANGE), max_size=8))
def test_a_header_that_is_read_alone_is_the_one_among_all(
    lines: list[tuple[bytes, str]], asked: list[bytes]
) -> None:
    def headers() -> Any:
        names = LUA.table_from([name for name, _ in lines])
        return HEADERS(names, LUA.table_from([value.encode() for _, value in lines]))

    whole = COLLECTIONS[b"header_lines"](headers(), b"api")[b"map"]
    alone = COLLECTIONS[b"header_map"](headers(), b"api", lambda: whole)
    for name in asked:
        assert arrays(alone[name]) == arrays(whole[name]), name
    assert arrays(RT[b"in_order"](alone)) == arrays(RT[b"in_order"](whole))


def test_of_a_map_of_headers_only_what_is_asked_for_is_read() -> None:
    read: list[bytes] = []
    headers = LUA.eval(
        """function(read) return {
          getNumValues = function(_, name) read(name) return name == "x-a" and 1 or 0 end,
          getAtIndex = function() return " 1 " end,
        } end"""
    )(read.append)
    by_name = COLLECTIONS[b"header_map"](headers, b"api", None)
    for name in (b"x-a", b"x-b") * 3:
        assert arrays(by_name[name]) == ([b"1"] if name == b"x-a" else None)
    assert read == [b"x-a", b"x-b"]


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
