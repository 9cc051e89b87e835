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
from mtls_operator.envoy.imported import SerialSet, Unlisted, imported_lists
from mtls_operator.envoy.lua_text import lua_bool, lua_list, lua_string, lua_table
from mtls_operator.envoy.script import COMPILED, ScriptError, assemble, call
from mtls_operator.envoy.sharing import Shared

Action = Literal["block", "log", "skip"]
#: Families of headers that tell the application about the certificate; the names that forward.lua knows.
Forwarded = Literal["xfcc", "rfc9440", "cloudflare"]

DEFAULT_STATUS: Final = 403
DEFAULT_CONTENT_TYPE: Final = "application/json"
_STATUS: Final = range(400, 500)
_ACTIONS: Final = frozenset({"block", "log", "skip"})
_FORWARDED: Final[tuple[Forwarded, ...]] = get_args(Forwarded)
#: What rules.lua takes, in its order: locals of the script.
_ARGUMENTS: Final = (
    *("config", "rules_for", "facts_of", "paths", "answer", "record", "forward", "own"),
    "by_connection",
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: A header value without line ends or other control characters (RFC 9110, 5.5).
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class IssuerTrust:
    """A CA certificate that issues client certificates for a host.

    ``digest``: SHA-256 of the DER, 64 lower-case hex digits. ``listed``: a managed CA, whose revocations must be in
    the namespace's revocation script; without them its certificates are of unknown state and refused. ``imported``:
    what is known of the revocations of a CA that its users brought; None: it has no lists. ``ends``: its end, in
    seconds since 1970: then nothing that it issued counts, also on connections that are open; None: not asked.
    """

    digest: str
    listed: bool
    imported: SerialSet | Unlisted | None = None
    ends: int | None = None


@dataclass(frozen=True, slots=True)
class RuleScript:
    """A compiled rule: Lua ``expression`` over ``f``, ``rt`` and ``K`` (its ``constants``, expressions over ``rt``).

    ``status``, ``content_type`` and ``body`` are the answer of a Block. Without a body it is the default answer, in the
    form that the client accepts; without a content type a body is JSON.

    The proxy does not evaluate a rule where it cannot apply: with ``paths``, when the path is none of them and begins
    with none of the ``prefixes``; with ``spares_good``, when the certificate is valid and not revoked.
    """

    name: str
    action: Action
    constants: tuple[str, ...]
    expression: str
    status: int | None = None
    content_type: str | None = None
    body: str | None = None
    paths: tuple[bytes, ...] | None = None
    prefixes: tuple[bytes, ...] = ()
    spares_good: bool = False


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
            f"local rt = (function()\n{COMPILED}\n{runtime.rstrip()}\nend)()",
            f"local config = {_config(hostnames, issuers, reads_certificate)}",
            *_rules(rules),
            f"local rules_for = {call('candidates', 'rules')}",
            f"local certificates, sha256 = {call('certificate', call('sha1'))}, {call('sha256')}",
            f"local facts_of = {call('facts', call('address'), call('collections'), 'certificates')}",
            f"local answer, record = {call('answer')}, {call('record', str(epoch))}",
            f"local wanted = {_wanted(forward)}",
            f"local forward = {call('forward', 'wanted', 'config.issuers', 'certificates', 'sha256')}",
            *imported_lists({issuer.digest: issuer.imported for issuer in issuers if not issuer.listed}),
            f"local own = {call('own', 'imported', 'certificates', 'sha256')}",
            f"local paths, by_connection = {call('path')}, {call('connection')}",
            f"local decide = {call('rules', *_ARGUMENTS)}",
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
    ends = {issuer.digest: str(int(issuer.ends)) for issuer in issuers if issuer.ends is not None}
    return lua_table(
        [
            ("exact", _set(exact)),
            ("wildcard", _set(wildcards)),
            ("issuers", lua_table(trust.items())),
            ("ends", lua_table(ends.items())),
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


def _rules(rules: Sequence[RuleScript]) -> list[str]:
    """Return the statements for the rules; what they have in common comes first.

    An expression is a function of its own: LuaJIT bounds constants, locals and upvalues per function. Its constants
    are an argument, so that rules which differ in nothing else share it.
    """
    expressions = Shared("expressions", (_function(rule) for rule in rules), always=True)
    constants = Shared("constants", (constant for rule in rules for constant in rule.constants))
    texts = Shared("texts", (lua_string(rule.body) for rule in rules if rule.body is not None))
    entries = lua_list(_rule(rule, expressions, constants, texts) for rule in rules)
    return [expressions.table(), constants.table(), texts.table(), f"local rules = {entries}"]


def _function(rule: RuleScript) -> str:
    return f"function(f, K) return {rule.expression} end"


def _rule(rule: RuleScript, expressions: Shared, constants: Shared, texts: Shared) -> str:
    if rule.action not in _ACTIONS:
        raise ScriptError(f"rule {rule.name}: {rule.action} is no action")
    entries = [
        ("name", lua_string(rule.name)),
        ("action", lua_string(rule.action)),
        ("applies", expressions(_function(rule))),
        ("constants", f"{{ {', '.join(constants(constant) for constant in rule.constants)} }}"),
        *_guard(rule),
    ]
    if rule.action == "block":
        entries += _answer(rule, texts)
    return lua_table(entries)


def _guard(rule: RuleScript) -> list[tuple[str, str]]:
    entries = [("spares_good", "true")] if rule.spares_good else []
    if rule.paths is None:
        return entries
    for key, texts in (("paths", rule.paths), ("prefixes", rule.prefixes)):
        entries.append((key, "{" + ", ".join(map(lua_string, texts)) + "}"))
    return entries


def _answer(rule: RuleScript, texts: Shared) -> list[tuple[str, str]]:
    status = DEFAULT_STATUS if rule.status is None else rule.status
    if status not in _STATUS:
        raise ScriptError(f"rule {rule.name}: a Block answers with 400 to 499, not with {status}")
    entries = [("status", lua_string(str(status)))]
    if rule.body is None:
        if rule.content_type is not None:
            raise ScriptError(f"rule {rule.name}: a content type goes with a body")
        return entries
    content_type = DEFAULT_CONTENT_TYPE if rule.content_type is None else rule.content_type
    if not _HEADER_VALUE.fullmatch(content_type):
        raise ScriptError(f"rule {rule.name}: the content type is not a header value")
    own = [("body", texts(lua_string(rule.body))), ("content_type", lua_string(content_type))]
    return [*entries, ("own", lua_table(own))]


def _digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ScriptError("an issuer is named by 64 lower-case hex digits")
    return digest
