"""What the proxy makes of the path of a request, before any rule sees it.

First Envoy (``normalize_path``, ``merge_slashes`` and ``path_with_escaped_slashes_action`` of its connection manager,
written down here and compared with the real Envoy by a test), then the rules script, whose own Lua runs here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lupa import luajit21

from mtls_operator.envoy.script import module

_ESCAPED_SLASH: Final = re.compile(r"%2[fF]|%5[cC]")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_DOTS_WITH_PARAMETERS: Final = re.compile(r"(?<=/)(\.\.?);[^/]*")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
#: Written as escapes by Envoy; RFC 3986 has them nowhere.
_NOT_IN_PATHS: Final = re.compile(r'["<>^`{|}]')
_ENVOY_REFUSES: Final = re.compile(r"[^\x21-\x7e]|#")


@dataclass(frozen=True, slots=True)
class Path:
    """A path as rules and application get it; ``readings`` are the others that an application may make of it.

    ``redirect``: the client is sent to this target instead. ``malformed``: it is refused with 400.
    """

    path: str
    query: str
    readings: tuple[str, ...] = ()
    redirect: str | None = None
    malformed: bool = False


class Paths:
    """The path part of the rules script, loaded once."""

    def __init__(self) -> None:
        lua = luajit21.LuaRuntime(encoding="latin-1", register_eval=False, register_builtins=False)
        self._lua: Any = lua.execute(module("path"))

    def read(self, target: str) -> Path:
        """Return what becomes of a request target in origin form: a path, and perhaps ``?`` and a query."""
        sent, mark, query = target.partition("?")
        if _ENVOY_REFUSES.search(target) or not sent.startswith("/"):
            return Path(sent, query, malformed=True)
        unescaped = _ESCAPED_SLASH.sub(lambda match: "/" if match[0] in {"%2f", "%2F"} else "\\", sent)
        path = normalised(unescaped)
        if unescaped != sent:
            return Path(path, query, redirect=path + mark + query)
        if not self._lua.plain(path):
            return Path(path, query, malformed=True)
        path = self._lua.canonical(path)
        return Path(path, query, readings=tuple(self._lua.readings(path).values()))


def normalised(path: str) -> str:
    """Return a path as Envoy normalises it: RFC 3986, 6.2.2, and backslashes and repeated slashes are slashes.

    A dot segment with parameters counts as one (since Envoy 1.39.1) unless its dots are escaped, and a backslash
    is no slash there yet.
    """
    kept: list[str] = []
    _, *segments = re.split(r"[/\\]", _DOTS_WITH_PARAMETERS.sub(r"\1", path))
    for position, segment in enumerate(segments):
        read = re.sub("%2[eE]", ".", segment)
        if read == ".." and kept:
            kept.pop()
        if read not in {".", ".."}:
            kept.append(_characters(segment))
        elif position == len(segments) - 1:
            kept.append("")
    return _merged("/" + "/".join(kept))


def _characters(segment: str) -> str:
    """Return a segment with plain characters decoded and others escaped.

    What looks like an escape afterwards and was none before gets its percent sign escaped (googleurl's
    ``CheckForNestedEscapes``).
    """
    text, stray, place = "", -1, 0
    while place < len(segment):
        escape = _ESCAPE.match(segment, place)
        if escape is None:
            stray = len(text) if segment[place] == "%" else stray
            text += _NOT_IN_PATHS.sub(lambda match: f"%{ord(match[0]):02X}", segment[place])
            place += 1
            continue
        place = escape.end()
        character = chr(int(escape[1], 16))
        if not _UNRESERVED.fullmatch(character):
            text += escape[0]
            continue
        text += character
        if stray >= 0 and _ESCAPE.fullmatch((text + segment[place : place + 1])[stray : stray + 3]):
            text = f"{text[:stray]}%25{text[stray + 1 :]}"
            stray = -1
    return text


def _merged(path: str) -> str:
    return re.sub("/+", "/", path)
