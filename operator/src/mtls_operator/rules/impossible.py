"""Values that a field never has: comparing it with one makes a rule that never blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from mtls_operator.rules.schema import CERTIFICATE_PREFIX

_DECODED_ESCAPE: Final = re.compile(rb"%(?:2[d-fD-F]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[cCfF]|7[eE])")
_LOWER_ESCAPE: Final = re.compile(rb"%(?:[a-f][0-9A-Fa-f]|[0-9A-F][a-f])")
_DELETE: Final = 0x7F
LOWER: Final = re.compile(rb"[a-z]")
UPPER: Final = re.compile(rb"[A-Z]")


def impossible(field: str, value: bytes) -> str | None:
    """Return why a field never has a value, None if it can or where nothing is known of it."""
    reason = _REASONS.get(field)
    return None if reason is None else reason(value)


def impossible_part(field: str, part: bytes) -> str | None:
    """Return why no value of a field has these bytes anywhere, None if one can or where nothing is known of it."""
    reason = _PART_REASONS.get(field)
    return None if reason is None else reason(part)


def impossible_path(path: bytes) -> str | None:
    """Return why no request has this normalised path, None if one can."""
    return next((reason for never, reason in _PATH_REASONS if never(path)), None)


def impossible_host(host: bytes) -> str | None:
    """Return why no request has this host, None if one can."""
    if UPPER.search(host):
        return "the host is in lower case"
    if b":" in host and not host.startswith(b"["):
        return "the host has no port"
    return "the host has no dot at its end" if host.endswith(b".") else None


def _host_part(part: bytes) -> str | None:
    return "the host is in lower case" if UPPER.search(part) else None


def _path_part(part: bytes) -> str | None:
    return next((reason for never, reason in _PATH_PART_REASONS if never(part)), None)


def _lower_hex(text: bytes) -> str | None:
    return (
        "fingerprints are lower-case hexadecimal without colons" if re.search(rb"[^0-9a-f]", text) else None
    )


def _upper_hex(text: bytes) -> str | None:
    return (
        "serial numbers and key identifiers are upper-case hexadecimal without colons"
        if re.search(rb"[^0-9A-F]", text)
        else None
    )


def _method(text: bytes) -> str | None:
    return "methods are in upper case" if LOWER.search(text) else None


_Reasons: TypeAlias = tuple[tuple[Callable[[bytes], bool], str], ...]
#: What no path has anywhere.
_PATH_PART_REASONS: Final[_Reasons] = (
    (lambda path: b"?" in path or b"#" in path, "a path ends before the query"),
    (lambda path: b"//" in path, "repeated slashes are merged before rules see the path"),
    (
        lambda path: any(not ord(" ") < byte < _DELETE for byte in path),
        "blanks and characters outside ASCII arrive percent-encoded",
    ),
    (lambda path: b"\\" in path, "backslashes are turned into slashes before rules see the path"),
    (
        lambda path: _LOWER_ESCAPE.search(path) is not None,
        "escapes are in upper case before rules see the path",
    ),
    (
        lambda path: _DECODED_ESCAPE.search(path) is not None,
        "escapes of plain characters and slashes are decoded before rules see the path",
    ),
)
_PATH_REASONS: Final[_Reasons] = (
    (lambda path: not path.startswith(b"/"), "a path begins with a slash"),
    *_PATH_PART_REASONS,
    (
        lambda path: not {b".", b".."}.isdisjoint(path.split(b"/")),
        "dot segments are removed before rules see the path",
    ),
)
_HEX: Final[dict[str, Callable[[bytes], str | None]]] = {
    **{
        CERTIFICATE_PREFIX + name: _lower_hex for name in ("cert_fingerprint_sha1", "cert_fingerprint_sha256")
    },
    **{
        CERTIFICATE_PREFIX + name: _upper_hex
        for name in ("cert_issuer_serial", "cert_issuer_ski", "cert_serial", "cert_ski")
    },
}
_PART_REASONS: Final[dict[str, Callable[[bytes], str | None]]] = {
    "http.host": _host_part,
    "http.request.method": _method,
    "http.request.uri.path": _path_part,
    **_HEX,
}
_REASONS: Final[dict[str, Callable[[bytes], str | None]]] = {
    "http.host": impossible_host,
    "http.request.method": _method,
    "http.request.uri.path": impossible_path,
    **_HEX,
}
