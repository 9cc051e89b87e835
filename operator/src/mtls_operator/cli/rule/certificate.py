"""What a client certificate is worth at a moment, and what rules read in it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from lupa import luajit21

from mtls_operator.cli.errors import Unanswered
from mtls_operator.envoy.script import call
from mtls_operator.pki import CertificateFacts, PkiError, read_certificate
from mtls_operator.rules.schema import CERTIFICATE_PREFIX, FIELDS, NAMES_PREFIX
from mtls_operator.rules.types import BOOL

_PREFIX: Final = CERTIFICATE_PREFIX + "cert_"
_BLOCK: Final = re.compile("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
#: As in the proxy (``facts.lua``): RFC 9440 texts above are left out.
_MOST_LEAF: Final = 10 * 1024
_MOST_CHAIN: Final = 16 * 1024
#: What only the certificate itself tells.
_TOLD: Final = frozenset(
    name
    for name, kind in FIELDS.items()
    if name.startswith(NAMES_PREFIX) or (name.startswith(CERTIFICATE_PREFIX) and kind != BOOL)
)


@dataclass(frozen=True, slots=True)
class Worth:
    """A certificate as rules see it: the three facts, why they are so, and the other fields as far as known.

    ``notes`` are remarks for the person who asks, such as that a revocation is on its way.
    """

    title: str
    presented: bool
    verified: bool
    revoked: bool
    why: str
    fields: dict[str, object] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def request(self) -> dict[str, object]:
        """The fields in the form of a request of the reference evaluator."""
        states = {"presented": self.presented, "verified": self.verified, "revoked": self.revoked}
        return {**{_PREFIX + name: value for name, value in states.items()}, **self.fields}


NOBODY: Final = Worth("none", False, False, False, "the client sends no certificate")


def some_certificate(*, verified: bool, revoked: bool, title: str, why: str) -> Worth:
    """Return a certificate of which only these facts are known."""
    return Worth(title, True, verified, revoked, why, unknown=_TOLD)


def known_fields(known: dict[str, object]) -> tuple[dict[str, object], frozenset[str]]:
    """Return fields by full name from short ones (``cert_serial`` as ``serial``), and which others are not known."""
    fields = {_PREFIX + name: value for name, value in known.items()}
    return fields, _TOLD - fields.keys()


def read_pem(pem: str, *, file: str) -> tuple[CertificateFacts, dict[str, object]]:
    """Return the facts of the first certificate of a text, and its fields but for ``cert_issuer_serial``.

    Raises:
        Unanswered: there is none, or it cannot be read.
    """
    try:
        facts = read_certificate(pem)
        leaf, *rest = (base64.b64decode("".join(body.split()), validate=True) for body in _BLOCK.findall(pem))
        inside = _Reader().read(leaf)
    except (PkiError, ValueError, binascii.Error, luajit21.LuaError) as error:
        raise Unanswered(f"{file}: {error}") from error
    encoded = f":{_base64(leaf)}:"
    chain = ", ".join(f":{_base64(each)}:" for each in rest)
    known: dict[str, object] = {
        **inside,
        "serial": facts.serial,
        "fingerprint_sha256": facts.fingerprint_sha256,
        "subject_dn": facts.subject,
        "subject_dn_rfc2253": facts.subject,
        "issuer_dn": facts.issuer_subject,
        "issuer_dn_rfc2253": facts.issuer_subject,
        "not_before": _Reader().time(facts.not_before.timestamp()),
        "not_after": _Reader().time(facts.not_after.timestamp()),
        "rfc9440": encoded if len(encoded) <= _MOST_LEAF else "",
        "rfc9440_too_large": len(encoded) > _MOST_LEAF,
        "chain_rfc9440": chain if len(chain) <= _MOST_CHAIN else "",
        "chain_rfc9440_too_large": len(chain) > _MOST_CHAIN,
    }
    names = {name: known.pop(name) for name in ("dns", "uri", "email", "ip")}
    fields = {_PREFIX + name: value for name, value in known.items()}
    return facts, {**fields, **{NAMES_PREFIX + name: value for name, value in names.items()}}


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode("ascii")


class _Reader:
    """The proxy's own reader of certificates, in Lua."""

    def __init__(self) -> None:
        lua = luajit21.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        self._lua: Any = lua.execute(f"return {call('certificate', call('sha1'))}".encode())

    def read(self, der: bytes) -> dict[str, object]:
        facts = self._lua[b"read"](der)
        texts = {
            "fingerprint_sha1": b"sha1",
            "ski": b"ski",
            "issuer_ski": b"issuer_ski",
            "subject_dn_legacy": b"subject",
            "issuer_dn_legacy": b"issuer",
        }
        found: dict[str, object] = {name: as_json(facts[key]) for name, key in texts.items()}
        for name in ("dns", "uri", "email"):
            found[name] = [as_json(value) for value in facts[name.encode()].values()]
        found["ip"] = [str(ip_address(value)) for value in facts[b"ip"].values()]
        return found

    def time(self, seconds: float) -> str:
        return bytes(self._lua[b"time_text"](int(seconds))).decode("ascii")


def as_json(value: bytes) -> object:
    """Return bytes as a request of the reference evaluator holds them: text, or hexadecimal digits."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": value.hex()}
