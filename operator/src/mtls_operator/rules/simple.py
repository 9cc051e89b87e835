"""The simple form of a rule: hosts and paths instead of an expression.

It expands to ``((not verified or revoked) and (hosts) and (paths))``, each group in parentheses of its own:
without them ``and`` would bind tighter than ``or`` and let revoked certificates through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mtls_operator.rules.diagnostics import Code, RuleError, Span
from mtls_operator.rules.impossible import impossible_host, impossible_path
from mtls_operator.rules.lints import REVOKED, VERIFIED
from mtls_operator.rules.printer import quote

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class SimpleFormError(RuleError):
    """A host or path that no request has, so that the rule would never apply; ``field`` says which."""

    def __init__(self, field: str, message: str, *, source: str) -> None:
        span = Span(0, len(source.encode("utf-8", "surrogatepass")))
        super().__init__(Code.IMPOSSIBLE, f"{field}: {message}", span=span, source=source)
        self.field = field


def simple_form(
    *, paths: Sequence[str], path_prefixes: Sequence[str], hostnames: Sequence[str], allow_revoked: bool
) -> str:
    """Return the expression of a simple form; a group that is empty is left out, and with it its restriction.

    Host names are lower-cased; one that begins with ``*.`` covers every name below it. Paths are exact,
    prefixes are byte-wise. Raises :class:`SimpleFormError` for what can never match.
    """
    groups = [f"not {VERIFIED}" if allow_revoked else f"(not {VERIFIED} or {REVOKED})"]
    narrowed = (_host_group(hostnames), _path_group(paths, path_prefixes))
    groups.extend("(" + " or ".join(alternatives) + ")" for alternatives in narrowed if alternatives)
    return "(" + " and ".join(groups) + ")" if len(groups) > 1 else groups[0]


def _host_group(hostnames: Sequence[str]) -> list[str]:
    names = [_host(f"hostnames[{position}]", name) for position, name in enumerate(hostnames)]
    exact = sorted({name for name in names if not name.startswith("*.")})
    patterns = sorted({name for name in names if name.startswith("*.")})
    return [*_set("http.host", exact), *(f"http.host wildcard {quote(name.encode())}" for name in patterns)]


def _host(field: str, name: str) -> str:
    lowered = "".join(char.lower() if char.isascii() else char for char in name)
    if _HOST.fullmatch(lowered) is None or impossible_host(lowered.encode()) is not None:
        message = "a host name without port, or one that begins with '*.', is expected (in its ASCII form)"
        raise SimpleFormError(field, message, source=name)
    return lowered


def _path_group(paths: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    for kind, values in (("paths", paths), ("pathPrefixes", prefixes)):
        for position, value in enumerate(values):
            reason = impossible_path(_encoded(f"{kind}[{position}]", value))
            if reason is not None:
                raise SimpleFormError(
                    f"{kind}[{position}]", f"no request has this path: {reason}", source=value
                )
    beginnings = (re.sub(r"([*\\])", r"\\\1", prefix) + "*" for prefix in sorted(set(prefixes)))
    starts = (f"http.request.uri.path strict wildcard {quote(start.encode())}" for start in beginnings)
    return [*_set("http.request.uri.path", sorted(set(paths))), *starts]


def _encoded(field: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise SimpleFormError(field, "the text is not valid Unicode", source=value) from error


def _set(name: str, members: Sequence[str]) -> list[str]:
    return [f"{name} in {{{' '.join(quote(member.encode()) for member in members)}}}"] if members else []
