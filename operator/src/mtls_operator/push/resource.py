"""A published script as bytes on the wire, made once for all streams, and what became of it.

Two traps of Envoy 1.40 are closed here. It cuts a script at a NUL byte and accepts the rest: such a script is
not published. And a proxy that refused a configuration and is offered the same bytes again *accepts* them
without running them: refused bytes are remembered and not offered again; and where it is not known whether
a proxy refused them (its answer was lost, or an earlier process of ours heard it), the bytes are others,
because each script ends with a comment that names the process and the attempt.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from mtls_operator.api import names
from mtls_operator.push.errors import ScriptRefused
from mtls_operator.push.messages import encode_response
from mtls_operator.push.model import Scope, Script

_MAX_VERSION: Final = 128


@dataclass(frozen=True, slots=True)
class Resource:
    """One script, ready to be sent. ``order`` counts publications: higher is newer."""

    script: Script = field(repr=False)
    digest: bytes
    mark: str
    order: int
    body: bytes = field(repr=False)

    @property
    def version(self) -> str:
        """The version that a proxy acknowledges."""
        return self.script.version

    def attempt(self, number: int) -> bytes:
        """Return the response (without nonce) for an attempt; that of number 0, the usual one, is shared."""
        return self.body if number == 0 else _encode(self.script, f"{self.mark}.{number}")


@dataclass(slots=True)
class Verdict:
    """What proxies answered to one resource: the text of the first refusal, and whether any accepted it."""

    error: str | None = None
    accepted: bool = False


@dataclass(slots=True)
class Slot:
    """The present and the past of one resource in one scope.

    ``wanted`` is the latest that was published, ``accepted`` the newest one that a proxy acknowledged, and
    ``previous`` what was wanted before: they are what a refusing proxy falls back to.
    """

    limit: int
    wanted: Resource | None = None
    previous: Resource | None = None
    accepted: Resource | None = None
    verdicts: OrderedDict[bytes, Verdict] = field(default_factory=OrderedDict)

    def publish(self, resource: Resource) -> None:
        """Want a resource; what was wanted until now becomes a fall-back unless it was refused."""
        if self.wanted is not None and self.refusal(self.wanted) is None:
            self.previous = self.wanted
        self.wanted = resource

    def acknowledge(self, resource: Resource) -> None:
        """Remember that a proxy runs this resource."""
        self._verdict(resource).accepted = True
        if self.accepted is None or resource.order > self.accepted.order:
            self.accepted = resource

    def refuse(self, resource: Resource, error: str) -> None:
        """Remember that a proxy refused this resource, with the text of the first one that did."""
        verdict = self._verdict(resource)
        verdict.error = verdict.error or error

    def refusal(self, resource: Resource) -> str | None:
        """Return why a resource is not to be offered: a proxy refused it, and none accepted it.

        An acceptance outweighs a refusal: one broken or hostile proxy cannot keep a revocation from others.
        """
        verdict = self.verdicts.get(resource.digest)
        return None if verdict is None or verdict.accepted else verdict.error

    def known(self, version: str) -> Resource | None:
        """Return the resource of that version among those that are kept."""
        kept = (self.wanted, self.accepted, self.previous)
        return next((each for each in kept if each is not None and each.version == version), None)

    def candidates(self) -> list[Resource]:
        """Return what may be offered to any proxy, newest first."""
        known = {
            each.digest: each for each in (self.previous, self.accepted, self.wanted) if each is not None
        }
        offered = (each for each in known.values() if self.refusal(each) is None)
        return sorted(offered, key=lambda each: each.order, reverse=True)

    def _verdict(self, resource: Resource) -> Verdict:
        verdict = self.verdicts.setdefault(resource.digest, Verdict())
        self.verdicts.move_to_end(resource.digest)
        while len(self.verdicts) > self.limit:
            self.verdicts.popitem(last=False)
        return verdict


def make_resource(scope: Scope, script: Script, *, mark: str, order: int, limit: int) -> Resource:
    """Return a script as the bytes of a response, ending with the comment ``mark``.

    Raises:
        ScriptRefused: the name does not belong to the scope, or the text or version cannot be sent as it is.
    """
    expected = names.REVOCATION_FILTER if scope.host is None else names.RULES_FILTER
    if script.name != expected:
        raise ScriptRefused(f"{script.name!r} cannot be published for {scope}: only {expected!r}")
    if not (
        0 < len(script.version) <= _MAX_VERSION and script.version.isascii() and script.version.isprintable()
    ):
        raise ScriptRefused(f"{script.name}: a version is 1 to {_MAX_VERSION} printable ASCII characters")
    if "\0" in script.text:
        raise ScriptRefused(
            f"{script.name} {script.version}: a NUL character, at which a proxy would cut the script"
        )
    try:
        encoded = script.text.encode()
    except UnicodeEncodeError as error:
        raise ScriptRefused(f"{script.name} {script.version}: text that is not Unicode") from error
    if len(encoded) > limit:
        raise ScriptRefused(f"{script.name} {script.version}: {len(encoded)} bytes, more than {limit}")
    return Resource(script, hashlib.sha256(encoded).digest(), mark, order, _encode(script, mark))


def _encode(script: Script, mark: str) -> bytes:
    return encode_response(script.name, version=script.version, script=f"{script.text}\n-- {mark}\n")
