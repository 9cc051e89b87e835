"""The Lua files that need no proxy: addresses and paths."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaError, LuaRuntime

from mtls_operator.envoy.script import call

LUA = LuaRuntime(encoding=None)
PACKED: Any = LUA.eval(call("address"))
PATHS: Any = LUA.eval(call("path"))


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_an_ipv4_peer_becomes_four_bytes(address: IPv4Address, port: int) -> None:
    assert PACKED(f"{address}:{port}".encode()) == address.packed


@given(st.ip_addresses(v=6), st.integers(0, 65535), st.sampled_from(["exploded", "compressed"]))
def test_an_ipv6_peer_becomes_sixteen_bytes(address: IPv6Address, port: int, text: str) -> None:
    mapped = address.ipv4_mapped
    spelling = getattr(address, text)
    assert PACKED(f"[{spelling}]:{port}".encode()) == (mapped.packed if mapped else address.packed)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("[::ffff:192.0.2.7]:1", bytes([192, 0, 2, 7])),
        ("[::]:1", bytes(16)),
        ("[::1]:1", bytes(15) + b"\1"),
        ("[fe80::1%eth0]:1", b"\xfe\x80" + bytes(13) + b"\1"),
    ],
)
def test_this_spelling_of_an_address_is_read(text: str, packed: bytes) -> None:
    assert PACKED(text.encode()) == packed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1.2.3:4",
        "1.2.3.4",
        "1.2.3.400:1",
        "[1:2]:3",
        "[::1]",
        "/run/socket",
        "[1:2:3:4:5:6:7:8:9]:1",
    ],
)
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(LuaError):
        PACKED(text.encode())


@pytest.mark.parametrize("path", ["/", "/a/b", "/a;b", "/a%20b", "/%C3%A9", "/.mtls/ready"])
def test_this_path_is_plain(path: str) -> None:
    assert PATHS[b"plain"](path.encode()) is True


@pytest.mark.parametrize(
    "path", ["", "*", "a", "/a b", "/a\\b", "/a#b", "/a\tb", "/a\x7f", "/%00", "/%0A", "/%1f", "/%7F"]
)
def test_this_path_is_not_plain(path: str) -> None:
    assert PATHS[b"plain"](path.encode()) is False


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        ("/admin;x", "/admin"),
        ("/admin;", "/admin"),
        ("/admin;x/", "/admin/"),
        ("/admin/;x", "/admin/"),
        ("/;x", "/"),
        ("/a;x/b;y", "/a/b"),
        ("/a%3bx/b", "/a/b"),
        ("/a%3Bx;y/b", "/a/b"),
        ("/x/..;/admin", "/admin"),
        ("/x/%2e%2E;/admin", "/admin"),
        ("/x/.;/admin", "/x/admin"),
        ("/..;/..;/admin", "/admin"),
        ("/x/..;", "/"),
        ("/x/y/..;", "/x/"),
        ("/a//;/b", "/a/b"),
    ],
)
def test_a_path_with_parameters_is_read_without_them(path: str, reading: str) -> None:
    assert PATHS[b"without_parameters"](path.encode()) == reading.encode()


@given(st.text("ab./%2e", max_size=12))
def test_a_path_without_parameters_has_one_reading(path: str) -> None:
    assert PATHS[b"without_parameters"](f"/{path}".encode()) is None


@given(st.text("ab./;%32eEbB", max_size=24))
def test_the_other_reading_has_neither_parameters_nor_dot_segments(path: str) -> None:
    reading = PATHS[b"without_parameters"](f"/{path};".encode())
    assert reading.startswith(b"/")
    assert b";" not in reading
    assert b"//" not in reading
    assert {b".", b".."}.isdisjoint(reading.split(b"/"))
