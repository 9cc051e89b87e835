"""Issuing CAs that administrators give to the operator in Secrets of its own namespace: which one is to be used next.

Only who may write Secrets in the operator's namespace can give one, so a tenant cannot. What is used is a copy: a
Secret that changes, or goes, changes nothing about a CA that signs. A CA is used once: for one namespace, in one life
of it, as one generation. Twice would mean two lists of revocations for one issuer, of which proxies look at one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.pki import IssuingAuthority, PkiError, TrustedCa, describe_ca, load_issuing_authority
from mtls_operator.plan.authority import Phase, Stored, missing_predecessors
from mtls_operator.plan.objects import secret_value
from mtls_operator.plan.rotation import rotation_time, wants_successor
from mtls_operator.plan.trouble import Trouble

#: Reasons of a notice.
NOTICES: Final = (Reason.FORMER_CA_MISSING, Reason.ISSUING_CA_REFUSED, Reason.ISSUING_CA_REQUIRED)
#: What a Secret may hold of certificates: some dozens of large ones. Above, nothing is parsed.
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """What a Secret says once its CA was taken: for which life of a namespace, as which generation, and which CA."""

    uid: str
    generation: int
    digest: str

    def __str__(self) -> str:
        return f"{self.uid}/{self.generation}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Given:
    """What the Secrets of a namespace come to, without any key.

    ``candidate`` names the one whose CA is to be used next; empty: none. ``refused`` says of each other one what is
    wrong with it. ``look_again`` is when time alone changes the answer.
    """

    candidate: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A CA that can be taken: ``body`` is its Secret as it was read."""

    name: str
    issuing: IssuingAuthority
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a CA is judged against: one life of a namespace, its generations, and all CAs of the operator."""

    uid: str
    generations: Sequence[Stored]
    others: Sequence[TrustedCa]
    now: datetime

    @property
    def newest(self) -> int:
        """The number of the newest generation."""
        return max((stored.generation for stored in self.generations), default=0)


class _RefusedError(Exception):
    """A CA that is not taken; the message follows the name of its Secret."""


def judge(bodies: Iterable[Mapping[str, Any]], scene: Scene) -> tuple[Given, Candidate | None]:
    """Return what the Secrets that are labelled for a namespace come to, and the CA that can be taken next.

    Two that could be taken are both refused: nobody knows which one was meant.
    """
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    moments: list[datetime] = []
    for body in sorted(bodies, key=lambda body: str(body["metadata"]["name"])):
        name = str(body["metadata"]["name"])
        try:
            found = _judge_one(name, body, scene, moments)
        except _RefusedError as problem:
            refused[name] = f"Secret {name} in the operator's namespace {problem}"
            continue
        if found is not None:
            candidates.append(found)
    if len(candidates) > 1:
        named = " and ".join(one.name for one in candidates)
        for one in candidates:
            refused[one.name] = (
                f"Secrets {named} in the operator's namespace are both labelled {names.ISSUING_CA_LABEL} for this "
                "namespace: take the label off all but one."
            )
        candidates = []
    chosen = candidates[0] if candidates else None
    upcoming = [moment for moment in moments if moment > scene.now]
    given = Given(chosen.name if chosen is not None else "", refused, min(upcoming, default=None))
    return given, chosen


def _judge_one(name: str, body: Mapping[str, Any], scene: Scene, moments: list[datetime]) -> Candidate | None:
    """Return the CA of one Secret; None for one that was taken before, or is being deleted.

    Raises:
        _RefusedError: it cannot be taken.
    """
    meta = body["metadata"]
    if meta.get("deletionTimestamp"):
        return None
    text, key = _content(body)
    try:
        first = describe_ca(text)
        if any(stored.authority.digest == first.digest for stored in scene.generations):
            return None
        moments += [first.not_before, first.not_after]
        _require_unused(first, meta, scene)
        issuing = load_issuing_authority(text, Secret(key), now=scene.now)
    except PkiError as error:
        raise _RefusedError(f"cannot be used as the issuing CA: {error}") from error
    _require_own_key(first, scene)
    return Candidate(name, issuing, body)


def _content(body: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the certificates, the issuing one first, and the key."""
    values = {key: secret_value(body, key) for key in (names.TLS_CERT_KEY, names.TLS_KEY_KEY)}
    for key, value in values.items():
        if not value:
            raise _RefusedError(f"has no {key}: it is to hold the CA's certificate and its key.")
    text = b"\n".join((values[names.TLS_CERT_KEY] or b"", secret_value(body, names.CA_KEY) or b""))
    if len(text) > _MOST_BYTES:
        raise _RefusedError(f"has {len(text)} bytes of certificates, at most {_MOST_BYTES} are read.")
    return text, values[names.TLS_KEY_KEY] or b""


def _require_unused(ca: TrustedCa, meta: Mapping[str, Any], scene: Scene) -> None:
    """Refuse a CA that this Secret says was taken, but for a step that a crash interrupted."""
    mark = _mark_of(meta)
    if mark is None or mark.digest != ca.digest:
        return
    if mark.uid != scene.uid:
        raise _RefusedError(
            "holds a CA that has issued for a former namespace of this name, or for another one, whose certificates "
            "must not count here: give a new CA."
        )
    if mark.generation <= scene.newest:
        raise _RefusedError(
            f"holds a CA that was generation {mark.generation} of this namespace, which is not there any more: give "
            "a new CA."
        )


def _require_own_key(ca: TrustedCa, scene: Scene) -> None:
    for other in scene.others:
        if other.key_digest == ca.key_digest:
            raise _RefusedError(
                "holds the key of another CA of this operator, here or for another namespace. Proxies could not tell "
                "their revocations apart: give a CA with a key of its own."
            )
        if other.ski and other.ski == ca.ski:
            raise _RefusedError(
                "holds a CA with the subject key identifier of another CA of this operator, and another key: give one "
                "with an identifier of its own."
            )


def mark_of(candidate: Candidate, *, uid: str, generation: int) -> Mark:
    """Return the mark that a Secret gets before its CA is used."""
    return Mark(uid, generation, candidate.issuing.authority.digest)


def _mark_of(meta: Mapping[str, Any]) -> Mark | None:
    parts = str((meta.get("annotations") or {}).get(names.ADOPTED_ANNOTATION) or "").split("/")
    if len(parts) != len(Mark.__dataclass_fields__) or not parts[1].isdigit():
        return None
    return Mark(parts[0], int(parts[1]), parts[2])


def notice_of(
    namespace: str, generations: Sequence[Stored], given: Given, *, now: datetime
) -> Trouble | None:
    """Return what an administrator has to do about the managed CA while everything goes on; None: nothing."""
    missing = [names.authority_secret(namespace, number) for number in missing_predecessors(generations)]
    if missing:
        return Trouble(
            Reason.FORMER_CA_MISSING,
            f"Of a former CA the Secret {' and '.join(missing)} is missing in the operator's namespace: certificates "
            "that it signed are refused, although they have not ended. Restore it from a backup.",
        )
    active = next((stored for stored in generations if stored.phase is Phase.ACTIVE), None)
    prepared = any(stored.phase is Phase.PREPARED for stored in generations)
    if given.refused:
        return Trouble(
            Reason.ISSUING_CA_REFUSED,
            f"{' '.join(message for _, message in sorted(given.refused.items()))} The CA that signs stays.",
        )
    if active is None or prepared or not active.given_by or given.candidate:
        return None
    if not wants_successor(active, now=now):
        return None
    since = (
        "is to be replaced"
        if active.rotate
        else f"has been due to be replaced since {format_timestamp(rotation_time(active))}"
        if now >= rotation_time(active)
        else "has given out most of its serial numbers"
    )
    return Trouble(
        Reason.ISSUING_CA_REQUIRED,
        f"The CA that was given to the operator {since} and ends at "
        f"{format_timestamp(active.authority.facts.not_after)}: give the next one in a Secret of the operator's "
        f"namespace with the label {names.ISSUING_CA_LABEL}. The operator makes none in its place.",
    )
