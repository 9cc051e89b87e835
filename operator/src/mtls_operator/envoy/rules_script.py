"""The rules script of one host: its host names, the issuers it trusts, and its rules in order.

The text is assembled from the Lua files beside this package and three small generated tables. Expressions
come compiled from the ``rules`` package, together with the Lua runtime that they call; this module knows
nothing of the language.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mtls_operator.api import names
from mtls_operator.envoy.config import IN_POD
from mtls_operator.envoy.lua_text import lua_bool, lua_list, lua_string, lua_table
from mtls_operator.envoy.script import ScriptError, assemble, call

Action = Literal["block", "log", "skip"]
#: Families of headers that tell the application about the certificate; the names that forward.lua knows.
Forwarded = Literal["xfcc", "rfc9440", "cloudflare"]

DEFAULT_STATUS: Final = 403
_STATUS: Final = range(400, 500)
_ACTIONS: Final = frozenset({"block", "log", "skip"})
_FORWARDED: Final[tuple[Forwarded, ...]] = get_args(Forwarded)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: A header value without line ends or other control characters (RFC 9110, 5.5).
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class IssuerTrust:
    """A CA certificate that issues client certificates for a host.

    ``digest``: SHA-256 of the DER, 64 lower-case hex digits. ``listed``: a revocation list of it must exist
    (a managed CA); without one its certificates are of unknown state and refused.
    """

    digest: str
    listed: bool


@dataclass(frozen=True, slots=True)
class RuleScript:
    """A compiled rule: Lua ``expression`` over ``f``, ``rt`` and ``K`` (its ``constants``, Lua expressions).

    ``status``, ``content_type`` and ``body`` are the answer of a Block; None is the default answer.
    """

    name: str
    action: Action
    constants: tuple[str, ...]
    expression: str
    status: int | None = None
    content_type: str | None = None
    body: str | None = None


def rules_script(  # noqa: PLR0913 - keyword-only, and each is a part of the text
    *,
    epoch: int,
    hostnames: Sequence[str],
    issuers: Sequence[IssuerTrust],
    rules: Sequence[RuleScript],
    reads_certificate: bool,
    forward: Collection[Forwarded],
    runtime: str,
    mounted: str = IN_POD.rules_file,
) -> str:
    """Return the rules script of a host.

    ``rules`` are in the order of evaluation. ``reads_certificate``: some rule reads a certificate field, so a
    presented certificate of unknown state is refused. ``forward``: what the application is told about a good
    certificate. ``runtime``: Lua text that returns the table ``rt``.

    Raises:
        ScriptError: a digest, status, content type, epoch or family of headers is not one.
    """
    body = "\n".join(
        [
            f"local rt = (function()\n{runtime.rstrip()}\nend)()",
            f"local config = {_config(hostnames, issuers, reads_certificate)}",
            f"local rules = {lua_list(_rule(rule) for rule in rules)}",
            f"local certificates = {call('certificate', call('sha1'))}",
            f"local facts_of = {call('facts', call('address'), call('collections'), 'certificates')}",
            f"local wanted = {_wanted(forward)}",
            f"local forward = {call('forward', 'wanted', 'config.issuers', 'certificates', call('sha256'))}",
            f"local decide = {call('rules', 'config', 'rules', 'facts_of', call('path'), 'forward')}",
        ]
    )
    return assemble(names.RULES_FILTER, epoch=epoch, mounted=mounted, body=body)


def _config(
    hostnames: Sequence[str],
    issuers: Sequence[IssuerTrust],
    reads_certificate: bool,  # noqa: FBT001 - private, passed on as it came
) -> str:
    lowered = {name.lower() for name in hostnames}
    wildcards = {name.removeprefix("*.") for name in lowered if name.startswith("*.")}
    exact = {name for name in lowered if not name.startswith("*.")}
    listed = {issuer.digest for issuer in issuers if issuer.listed}
    trust = {_digest(issuer.digest): lua_bool(issuer.digest in listed) for issuer in issuers}
    return lua_table(
        [
            ("exact", _set(exact)),
            ("wildcard", _set(wildcards)),
            ("issuers", lua_table(trust.items())),
            ("reads_certificate", lua_bool(reads_certificate)),
        ]
    )


def _wanted(forward: Collection[Forwarded]) -> str:
    for family in forward:
        if family not in _FORWARDED:
            raise ScriptError(f"{family} is no family of forwarded headers")
    return lua_table((family, lua_bool(family in forward)) for family in _FORWARDED)


def _set(members: Iterable[str]) -> str:
    return lua_table((member, "true") for member in members)


def _rule(rule: RuleScript) -> str:
    if rule.action not in _ACTIONS:
        raise ScriptError(f"rule {rule.name}: {rule.action} is no action")
    # One function per rule: LuaJIT bounds constants, locals and upvalues per function.
    constants = ", ".join(rule.constants)
    body = f"  local K = {{ {constants} }}\n  return function(f) return {rule.expression} end\n"
    applies = f"(function()\n{body}end)()"
    entries = [("name", lua_string(rule.name)), ("action", lua_string(rule.action)), ("applies", applies)]
    if rule.action == "block":
        entries += _answer(rule)
    return lua_table(entries)


def _answer(rule: RuleScript) -> list[tuple[str, str]]:
    status = DEFAULT_STATUS if rule.status is None else rule.status
    if status not in _STATUS:
        raise ScriptError(f"rule {rule.name}: a Block answers with 400 to 499, not with {status}")
    entries = [("status", lua_string(str(status)))]
    if rule.content_type is not None:
        if not _HEADER_VALUE.fullmatch(rule.content_type):
            raise ScriptError(f"rule {rule.name}: the content type is not a header value")
        entries.append(("content_type", lua_string(rule.content_type)))
    if rule.body is not None:
        entries.append(("body", lua_string(rule.body)))
    return entries


def _digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ScriptError("an issuer is named by 64 lower-case hex digits")
    return digest
