"""Which mounted file a running script follows: one with a higher epoch in the first line as we write it, whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from lupa.luajit21 import LuaRuntime

from mtls_operator.api import names
from mtls_operator.envoy.script import assemble

NAME: Final = names.RULES_FILTER
NOW: Final = int(time.time() * 1000)
YEAR: Final = 365 * 86_400_000
HANDLER: Final = "function envoy_on_request() return 'mounted' end\n"


def answer(folder: Path, text: bytes) -> object:
    """Return who answers the first request of a script of now: 'pushed', or 'mounted', the file with this text."""
    mounted = folder / "rules.lua"
    mounted.write_bytes(text)
    own = "local decide = function() return 'pushed' end"
    runtime = LuaRuntime()
    runtime.execute(assemble(NAME, epoch=NOW, mounted=str(mounted), body=own))
    handle = runtime.execute("return { logErr = function() end, logWarn = function() end }")
    return runtime.globals().envoy_on_request(handle)


def file_of(epoch: object, body: str = HANDLER) -> bytes:
    return f"-- {NAME} {epoch}\n{body}".encode()


@pytest.mark.parametrize(
    "text",
    [
        file_of(NOW + 1),
        file_of(NOW + 9 * YEAR),
        file_of(f"{NOW + 1} and more"),
        file_of(f"{NOW + 1}\r"),
        file_of(f"000{NOW + 1}"),
    ],
)
def test_a_newer_file_is_followed(tmp_path: Path, text: bytes) -> None:
    assert answer(tmp_path, text) == "mounted"


@pytest.mark.parametrize(
    "text",
    [
        file_of(NOW),
        file_of(NOW - 1),
        file_of(NOW + 11 * YEAR),
        file_of(-NOW - 1),
        file_of(f"0x{NOW:x}f"),
        file_of("1e18"),
        file_of("inf"),
        file_of("nan"),
        file_of("9" * 400),
        file_of("9" * 500_000),
        file_of(f" {NOW + 1}"),
        file_of(f"\t{NOW + 1}"),
        file_of(f"\0{NOW + 1}"),
        b"\xef\xbb\xbf" + file_of(NOW + 1),
        b"\n" + file_of(NOW + 1),
        b" " + file_of(NOW + 1),
        file_of(NOW + 1).replace(NAME.encode(), names.REVOCATION_FILTER.encode()),
        file_of(NOW + 1).replace(NAME.encode(), NAME.replace("-", "x").encode()),
        file_of(NOW + 1).replace(b"-- ", b"--"),
        # Newer, and no whole script.
        file_of(NOW + 1, ""),
        f"-- {NAME} {NOW + 1}".encode(),
        file_of(NOW + 1, HANDLER[:-6]),
        file_of(NOW + 1, "envoy_on_request = 'nothing'\n"),
        file_of(NOW + 1, "error('loading')\n" + HANDLER),
        file_of(NOW + 1, "error()\n"),
        file_of(NOW + 1, "local a = nil + 1\n" + HANDLER),
        b"",
        b"\0" * 4096,
        b"\x1bLJ\x02" + file_of(NOW + 1),
    ],
)
def test_another_file_changes_nothing(tmp_path: Path, text: bytes) -> None:
    assert answer(tmp_path, text) == "pushed"


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable link"])
def test_what_is_no_file_changes_nothing(tmp_path: Path, kind: str) -> None:
    mounted = tmp_path / "rules.lua"
    if kind == "folder":
        mounted.mkdir()
    elif kind == "unreadable link":
        mounted.symlink_to(mounted)
    runtime = LuaRuntime()
    own = "local decide = function() return 'pushed' end"
    runtime.execute(assemble(NAME, epoch=NOW, mounted=str(mounted), body=own))
    handle = runtime.execute("return { logErr = function() end, logWarn = function() end }")
    assert runtime.globals().envoy_on_request(handle) == "pushed"
