"""The managed CA of a namespace: which Secret is it, when may one be made, what tenants see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.api.reason import Reason
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp, parse_timestamp
from mtls_operator.pki import Authority, PkiError, load_authority, load_kept_authority
from mtls_operator.plan.objects import Document, Owner, config_map, metadata, secret, secret_value
from mtls_operator.plan.trouble import Trouble

#: Key in the CA's Secret: the first index that was never reserved.
NEXT_INDEX_KEY: Final = "next-index"
#: Key in the CA's Secret: the first index that this generation may give out; smaller ones are its predecessors'.
FIRST_INDEX_KEY: Final = "first-index"
#: The newest format of CAs and pages that this operator reads, and the one that it writes.
FORMAT: Final = 1
#: Indices are reserved in blocks: one extra write per block, a restart skips the rest of its block.
INDEX_BLOCK: Final = 1024
_KEYS: Final = frozenset({names.TLS_CERT_KEY, names.TLS_KEY_KEY, NEXT_INDEX_KEY, FIRST_INDEX_KEY})
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
#: Role of the Secret of a ClientCertificate.
CERTIFICATE_ROLE: Final = "certificate"


class AuthorityUnusableError(Exception):
    """The CA of a namespace cannot be used; the message says what to do."""


class AuthorityRefusedError(AuthorityUnusableError):
    """The CA of a namespace is not used, or not made, for a reason that is no damage."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


def require_format(body: Mapping[str, Any]) -> None:
    """Refuse an object that says that a newer operator has written it, in a way that this one would misread.

    Fields that are merely new are no reason for another format: they are kept as they are.

    Raises:
        AuthorityRefusedError: its format is not one that this operator knows.
    """
    meta = body["metadata"]
    text = str((meta.get("annotations") or {}).get(names.FORMAT_ANNOTATION, FORMAT))
    if text.isascii() and text.isdigit() and 1 <= int(text) <= FORMAT:
        return
    raise AuthorityRefusedError(
        Trouble(
            Reason.NEWER_FORMAT,
            f"{body.get('kind', 'Object')} {meta['name']} in the operator's namespace has the format {text[:20]!r}; "
            f"this operator reads formats up to {FORMAT}. Nothing is issued, recorded or published until an operator "
            "runs that knows it; what is in force stays.",
        )
    )


class Phase(StrEnum):
    """Where one generation of a managed CA stands; a rotation takes two of them through this, in this order.

    ``PREPARED``: in every bundle, signs nothing yet. ``ACTIVE``: signs. ``RETIRING``: signs nothing any more, its
    leaves count until the last has ended. ``RETIRED``: in no bundle, its leaves count no more.
    """

    PREPARED = "Prepared"
    ACTIVE = "Active"
    RETIRING = "Retiring"
    RETIRED = "Retired"


_ORDER: Final = (Phase.PREPARED, Phase.ACTIVE, Phase.RETIRING, Phase.RETIRED)
_CLOSED: Final = (Phase.RETIRING, Phase.RETIRED)


@dataclass(frozen=True, slots=True)
class Stored:
    """One generation of a CA as it is kept: which indices are its own, and the Secret without its data.

    ``next_index`` is the first that is not reserved. ``rotate`` is what an administrator asked for; empty: nothing.
    ``allowance`` is the mark of what its namespace has spent. ``given_by`` names the Secret of a user that it was taken
    from; empty: the operator made it. ``chain_pem`` are the certificates above such a CA, the root last. ``others`` is
    what else lies in the Secret, that chain and what a newer operator wrote: it stays. ``retired_at`` is since when its
    leaves count no more, where that is on record. ``predecessors`` are the generations before it that were closed, and
    where they stood.
    """

    authority: Authority
    generation: int
    next_index: int
    body: Document
    phase: Phase = Phase.ACTIVE
    first_index: int = 0
    rotate: str = ""
    allowance: str = ""
    given_by: str = ""
    chain_pem: tuple[str, ...] = ()
    others: Mapping[str, Secret] = field(default_factory=dict)
    retired_at: datetime | None = None
    predecessors: Mapping[int, Phase] = field(default_factory=dict)

    def signs_since(self, *, now: datetime) -> datetime:
        """Return when it took over from its predecessor; where nothing says so that can be true, when it was made."""
        made = self.authority.facts.not_before
        annotations = self.body.get("metadata", {}).get("annotations") or {}
        try:
            since = parse_timestamp(str(annotations.get(names.SIGNS_SINCE_ANNOTATION) or ""))
        except ValueError:
            return made
        return since if made <= since <= now else made

    @property
    def sent_pem(self) -> tuple[str, ...]:
        """What goes after a leaf in ``tls.crt``: the CA and those above it but the root; nothing for a root."""
        return (self.authority.certificate_pem, *self.chain_pem)[:-1]

    @property
    def trusted(self) -> bool:
        """Whether leaves of this generation count."""
        return self.phase is not Phase.RETIRED


def labels_of(namespace: str, namespace_uid: str) -> dict[str, str]:
    """Return the labels that bind an object of the operator's namespace to one life of a tenant namespace."""
    return {names.NAMESPACE_LABEL: namespace, names.NAMESPACE_UID_LABEL: namespace_uid}


def selector(role: str, namespace: str, namespace_uid: str | None = None) -> str:
    """Return the label selector for objects of a role that belong to a namespace, or to one life of it."""
    wanted = {names.ROLE_LABEL: role, names.NAMESPACE_LABEL: namespace}
    if namespace_uid is not None:
        wanted[names.NAMESPACE_UID_LABEL] = namespace_uid
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def authority_document(  # noqa: PLR0913 - the parts of one object, most of them by keyword
    operator_namespace: str,
    namespace: str,
    namespace_uid: str,
    *,
    generation: int,
    authority: Authority,
    phase: Phase = Phase.ACTIVE,
    given_by: str = "",
    chain_pem: Sequence[str] = (),
) -> Document:
    """Return the Secret of a new CA: no index is reserved yet. ``given_by`` and ``chain_pem`` as in `Stored`."""
    meta = metadata(
        operator_namespace,
        names.authority_secret(namespace, generation),
        role="authority",
        labels=labels_of(namespace, namespace_uid),
    )
    meta["annotations"] = {names.PHASE_ANNOTATION: phase.value}
    if given_by:
        meta["annotations"][names.GIVEN_BY_ANNOTATION] = given_by
    above = {names.CA_KEY: Secret("".join(chain_pem).encode())} if chain_pem else None
    return _authority_secret(meta, authority, next_index=0, first_index=0, others=above)


def _authority_secret(
    meta: Document,
    authority: Authority,
    *,
    next_index: int,
    first_index: int,
    others: Mapping[str, Secret] | None = None,
) -> Document:
    return secret(
        meta,
        {
            **(others or {}),
            names.TLS_CERT_KEY: authority.certificate_pem,
            names.TLS_KEY_KEY: authority.key_pem,
            NEXT_INDEX_KEY: str(next_index),
            FIRST_INDEX_KEY: str(first_index),
        },
    )


def read_generations(bodies: Iterable[Mapping[str, Any]], namespace: str) -> tuple[Stored, ...]:
    """Return all generations among the Secrets of a namespace's CA, oldest first.

    Raises:
        AuthorityUnusableError: the content of one cannot be used, or none of them can ever sign.
    """
    found = []
    for body in bodies:
        generation = generation_of(body["metadata"]["name"], namespace)
        if generation is not None:
            found.append(read_stored(body, generation))
    found.sort(key=lambda stored: stored.generation)
    generations = _as_recorded(_without_superseded(found))
    if generations and not any(stored.phase is Phase.ACTIVE for stored in generations):
        _require_successor(generations, namespace)
    return generations


def _without_superseded(generations: Sequence[Stored]) -> tuple[Stored, ...]:
    """Return generations where none signs beside, or in the place of, one that came after it.

    A Secret from an older copy says that its CA signs. The indices above its own are its successor's: no list could
    name what it would issue with them.
    """
    signed = max((one.generation for one in generations if one.phase is not Phase.PREPARED), default=0)
    return tuple(
        replace(one, phase=Phase.RETIRING) if one.phase is Phase.ACTIVE and one.generation < signed else one
        for one in generations
    )


def _as_recorded(generations: Sequence[Stored]) -> tuple[Stored, ...]:
    """Return generations where none is further back than its successors have seen it.

    A CA that was dropped because its key was stolen must not count again with an older copy of its Secret.
    """
    recorded = predecessors_of(generations)
    return tuple(
        replace(one, phase=recorded[one.generation])
        if _ORDER.index(recorded.get(one.generation, one.phase)) > _ORDER.index(one.phase)
        else one
        for one in generations
    )


def predecessors_of(generations: Iterable[Stored]) -> dict[int, Phase]:
    """Return where the closed generations stand, by their Secrets and by what their successors have on record."""
    found: dict[int, Phase] = {}
    for stored in generations:
        seen = {number: phase for number, phase in stored.predecessors.items() if number < stored.generation}
        if stored.phase in _CLOSED:
            seen[stored.generation] = stored.phase
        for number, phase in seen.items():
            found[number] = max(phase, found.get(number, phase), key=_ORDER.index)
    return found


def missing_predecessors(generations: Sequence[Stored]) -> tuple[int, ...]:
    """Return the generations whose leaves should count, but whose Secrets are missing."""
    there = {stored.generation for stored in generations}
    return tuple(
        number
        for number, phase in sorted(predecessors_of(generations).items())
        if phase is Phase.RETIRING and number not in there
    )


def is_set_back(stored: Stored) -> bool:
    """Say whether the Secret of a generation says less than what its successors show."""
    annotations = stored.body.get("metadata", {}).get("annotations") or {}
    said = annotations.get(names.PHASE_ANNOTATION, Phase.ACTIVE.value)
    return stored.phase in _CLOSED and bool(annotations) and said != stored.phase.value


def _require_successor(generations: tuple[Stored, ...], namespace: str) -> None:
    """Raise unless a rotation is between closing the old CA and opening its successor."""
    last = generations[-1]
    follows = len(generations) > 1 and generations[-2].generation == last.generation - 1
    if last.phase is Phase.PREPARED and follows:
        return
    missing = last.generation - 1 if last.phase is Phase.PREPARED else last.generation + 1
    name = names.authority_secret(namespace, missing)
    raise AuthorityUnusableError(
        f"The Secret of the active CA is missing: restore {name} in the operator's namespace from a backup."
    )


def read_stored(body: Mapping[str, Any], generation: int) -> Stored:
    """Return one generation from its Secret.

    Raises:
        AuthorityUnusableError: its content cannot be used.
    """
    require_format(body)
    name = body["metadata"]["name"]
    annotations = body["metadata"].get("annotations") or {}
    index = secret_value(body, NEXT_INDEX_KEY) or b""
    first = secret_value(body, FIRST_INDEX_KEY) or b"0"
    for key, value in ((NEXT_INDEX_KEY, index), (FIRST_INDEX_KEY, first)):
        if not value.isdigit():
            raise AuthorityUnusableError(
                f"Secret {name} in the operator's namespace has no usable {key}: restore it from a backup."
            )
    try:
        phase = Phase(annotations.get(names.PHASE_ANNOTATION, Phase.ACTIVE.value))
    except ValueError:
        raise AuthorityUnusableError(
            f"Secret {name} in the operator's namespace has no usable annotation {names.PHASE_ANNOTATION}: "
            "restore it from a backup."
        ) from None
    predecessors = _read_predecessors(str(annotations.get(names.PREDECESSORS_ANNOTATION) or ""), name)
    given_by = str(annotations.get(names.GIVEN_BY_ANNOTATION) or "")
    certificate = secret_value(body, names.TLS_CERT_KEY) or b""
    private = Secret(secret_value(body, names.TLS_KEY_KEY) or b"")
    try:
        if given_by:
            kept = load_kept_authority(certificate, private, secret_value(body, names.CA_KEY) or b"")
            authority, chain_pem = kept.authority, kept.chain_pem
        else:
            authority, chain_pem = load_authority(certificate, private), ()
    except PkiError as error:
        raise AuthorityUnusableError(
            f"Secret {name} in the operator's namespace is no usable CA: {error} Restore it from a backup."
        ) from error
    return Stored(
        authority=authority,
        generation=generation,
        next_index=int(index),
        body=without_data(body),
        phase=phase,
        first_index=int(first),
        rotate=str(annotations.get(names.ROTATE_ANNOTATION) or ""),
        allowance=str(annotations.get(names.ALLOWANCE_ANNOTATION) or ""),
        retired_at=_moment(annotations.get(names.RETIRED_ANNOTATION)),
        predecessors=predecessors,
        given_by=given_by,
        chain_pem=chain_pem,
        others={
            key: Secret(secret_value(body, key) or b"")
            for key in sorted((body.get("data") or {}).keys() - _KEYS)
        },
    )


def _read_predecessors(text: str, secret_name: str) -> dict[int, Phase]:
    try:
        pairs = [part.split("=") for part in text.split(",")] if text else []
        found = {int(number): Phase(phase) for number, phase in pairs}
    except ValueError:
        found, pairs = {}, [[]]
    if len(found) < len(pairs):
        raise AuthorityUnusableError(
            f"Secret {secret_name} in the operator's namespace has no usable annotation "
            f"{names.PREDECESSORS_ANNOTATION}: restore it from a backup."
        )
    return found


def _moment(text: object) -> datetime | None:
    try:
        return parse_timestamp(str(text or ""))
    except ValueError:
        return None


def without_data(body: Mapping[str, Any]) -> Document:
    """Return a Secret without what is secret in it (guarantee G5)."""
    return {key: value for key, value in body.items() if key not in ("data", "stringData")}


def generation_of(name: str, namespace: str) -> int | None:
    """Return the generation in the name of a CA's Secret; None when the name is not one of this namespace."""
    return names.number_in(name, names.authority_secret(namespace, 0))


def reserve(stored: Stored, *, block: int = INDEX_BLOCK, allowance: str | None = None) -> Document:
    """Return the Secret with the next block of indices reserved, to be replaced at exactly the version read.

    ``allowance`` is the new mark of what is spent (see ``plan.allowance``); None: it stays.
    """
    document = _replaced(stored, next_index=stored.next_index + block)
    if allowance is not None:
        document["metadata"]["annotations"][names.ALLOWANCE_ANNOTATION] = allowance
    return document


def closed(stored: Stored, phase: Phase, *, now: datetime) -> Document:
    """Return the Secret of a generation that signs no more: whoever still holds it as active cannot reserve."""
    document = _replaced(stored, phase=phase)
    if phase is Phase.RETIRED:
        document["metadata"]["annotations"].setdefault(names.RETIRED_ANNOTATION, format_timestamp(now))
    return document


def opened(
    stored: Stored,
    *,
    first_index: int,
    now: datetime,
    next_index: int = 0,
    predecessors: Mapping[int, Phase] | None = None,
) -> Document:
    """Return the Secret of a prepared generation that signs from now on.

    ``first_index`` is the first of its own, ``next_index`` the first that it may give out, if that is a later one.
    """
    next_index = max(first_index, next_index)
    document = _replaced(stored, phase=Phase.ACTIVE, next_index=next_index, first_index=first_index)
    document["metadata"]["annotations"][names.SIGNS_SINCE_ANNOTATION] = format_timestamp(now)
    return _with_predecessors(document, predecessors or {})


def recorded(stored: Stored, predecessors: Mapping[int, Phase]) -> Document:
    """Return the Secret of the generation that signs with the record of those before it."""
    return _with_predecessors(_replaced(stored), predecessors)


def _with_predecessors(document: Document, predecessors: Mapping[int, Phase]) -> Document:
    text = ",".join(f"{number}={phase.value}" for number, phase in sorted(predecessors.items()))
    if text:
        document["metadata"]["annotations"][names.PREDECESSORS_ANNOTATION] = text
    return document


def _replaced(
    stored: Stored,
    *,
    phase: Phase | None = None,
    next_index: int | None = None,
    first_index: int | None = None,
) -> Document:
    """Return the Secret with changes, to be replaced at exactly the version read."""
    held = stored.body["metadata"]
    meta = {
        key: held[key]
        for key in ("name", "namespace", "labels", "annotations", "resourceVersion", "uid")
        if key in held
    }
    meta["annotations"] = {
        **(held.get("annotations") or {}),
        names.PHASE_ANNOTATION: (phase or stored.phase).value,
    }
    document = _authority_secret(
        meta,
        stored.authority,
        next_index=stored.next_index if next_index is None else next_index,
        first_index=stored.first_index if first_index is None else first_index,
        others=stored.others,
    )
    document["type"] = stored.body.get("type", document["type"])
    return document


def bundle_of(generations: Iterable[Stored]) -> str:
    """Return the certificates of all generations whose leaves count, newest first."""
    newest_first = sorted(generations, key=lambda stored: -stored.generation)
    return "".join(stored.authority.certificate_pem for stored in newest_first if stored.trusted)


def bundle_document(namespace: str, generations: Iterable[Stored]) -> Document:
    """Return the ConfigMap from which anybody in the namespace can read the CA certificates."""
    return config_map(
        metadata(namespace, names.CLIENT_CA_CONFIGMAP, role="bundle"),
        {names.CA_KEY: bundle_of(generations)},
    )


def proxy_document(namespace: str, certificate_pem: str, key_pem: Secret, ca_pem: str) -> Document:
    """Return the Secret with which the proxies of a namespace show the operator who they are."""
    return secret(
        metadata(namespace, names.PROXY_SECRET, role="proxy"),
        {names.TLS_CERT_KEY: certificate_pem, names.TLS_KEY_KEY: key_pem, names.CA_KEY: ca_pem},
    )


def certificate_owner(name: str, uid: str) -> Owner:
    """Return the owner of a ClientCertificate's Secret."""
    return Owner(names.API_VERSION, names.CERTIFICATE_KIND, name, uid)
