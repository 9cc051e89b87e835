"""The CAs that a host's users brought: which of them count now, and what is wrong with their files.

A file with a mistake changes nothing: its last good copy stays in force (guarantee G2), for a CA that vanishes by a
slip locks its clients out. Time is no mistake: what has expired leaves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from mtls_operator.api.client_cas import Source, SourceKind
from mtls_operator.api.reason import Reason
from mtls_operator.pki import Bundle, Refusal, TrustedCa, read_bundle
from mtls_operator.plan.trouble import Trouble

#: More are too many to show, and each costs the proxy at every handshake of a client.
MAX_CAS: Final = 64
#: Certificates or lists that a message names.
_NAMED: Final = 8
_LONGEST: Final = 300
_BY_TIME: Final = frozenset({Refusal.EXPIRED, Refusal.NOT_YET_VALID})
_HARMLESS: Final = frozenset({Refusal.DUPLICATE})


@dataclass(frozen=True, slots=True)
class File:
    """What a reference leads to: ``data`` None when the object or its key is missing."""

    data: bytes | None
    exists: bool = True


@dataclass(frozen=True, slots=True)
class OwnCa:
    """A CA that counts, and whether it does so only by the last good copy of its file."""

    source: Source
    ca: TrustedCa
    last_good: bool = False


@dataclass(frozen=True, slots=True)
class OwnCas:
    """What the files come to; ``expired`` are names of CAs that time has taken out. ``look_again``: see `Bundle`.

    ``notes`` are worth knowing, and refuse nothing.
    """

    trusted: tuple[OwnCa, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    held: Mapping[str, str] | None = None
    expired: frozenset[str] = frozenset()
    look_again: datetime | None = None
    notes: tuple[str, ...] = ()


def own_cas(
    files: Mapping[Source, File],
    held: Mapping[str, str],
    *,
    managed: Collection[str],
    now: datetime,
    others: Collection[TrustedCa] = (),
) -> OwnCas:
    """Return which CAs count; the files come in the order in which the host names them.

    ``held`` are the last good copies by the name of their source. ``managed`` are the key digests of all CAs of this
    operator: copied in as a file, they would come without their revocations. ``others`` are those that the host trusts:
    rules could not tell a file's CA with the key identifier of one of them from it.
    """
    found = OwnCas(held={})
    for source, file in files.items():
        beside = [*others, *(own.ca for own in found.trusted)]
        read = partial(read_bundle, now=now, beside=beside, managed=managed)
        found = _with(found, source, file, held.get(str(source)), read)
    return replace(found, notes=tuple(_look_alikes(found.trusted)))


def _look_alikes(trusted: Iterable[OwnCa]) -> Iterator[str]:
    """Say which CAs have one name and different keys, in one file or in several: people take them for one."""
    named: dict[str, list[OwnCa]] = {}
    for own in trusted:
        named.setdefault(own.ca.subject, []).append(own)
    for subject, same in named.items():
        if len({own.ca.key_digest for own in same}) > 1:
            places = ", ".join(f"certificate {own.ca.index} of {describe(own.source)}" for own in same)
            yield (
                f"{_cut(subject)} is the name of CAs with different keys: {_cut(places)}. They are told apart by their "
                "digests; rules tell them apart by cf.tls_client_auth.cert_issuer_ski."
            )


def _with(
    before: OwnCas, source: Source, file: File, copy: str | None, read: Callable[[bytes | str], Bundle]
) -> OwnCas:
    wanted = read(file.data) if file.data is not None else None
    mistaken = wanted is None or any(one.reason not in _BY_TIME | _HARMLESS for one in wanted.refused)
    last_good = mistaken and copy is not None
    used = read(copy) if copy and last_good else None if last_good else wanted
    accepted = used.accepted if used is not None else ()
    known = {own.ca.digest for own in before.trusted}
    new = [ca for ca in accepted if ca.digest not in known]
    room = MAX_CAS - len(before.trusted)
    troubles = [*_troubles(source, file, wanted, last_good=last_good)]
    if len(new) > room:
        message = (
            f"{describe(source)}: with it there are more than {MAX_CAS} CAs, the last ones do not count."
        )
        troubles.append(Trouble(Reason.INVALID_CA_CERTIFICATE, message))
    pem = copy if last_good else (used.pem if used is not None else None)
    bundles = [bundle for bundle in (wanted, used) if bundle is not None]
    refused = [one for bundle in bundles for one in bundle.refused if one.reason in _BY_TIME]
    return replace(
        before,
        trusted=(*before.trusted, *(OwnCa(source, ca, last_good) for ca in new[:room])),
        troubles=(*before.troubles, *troubles),
        held={**(before.held or {}), **({} if pem is None else {str(source): pem})},
        expired=before.expired | {one.subject for one in refused},
        look_again=earliest(before.look_again, *(bundle.look_again for bundle in bundles)),
    )


def _troubles(source: Source, file: File, wanted: Bundle | None, *, last_good: bool) -> Iterable[Trouble]:
    stays = " The last good copy stays in force." if last_good else ""
    if wanted is None:
        yield missing(source, file, Reason.INVALID_CA_CERTIFICATE, stays or " Nobody is trusted by it.")
        return
    refused = [one for one in wanted.refused if one.reason not in _HARMLESS]
    if refused:
        others = stays or (" The others count." if wanted.accepted else "")
        message = f"{describe(source)}: {said(refused)}{others}"
        yield Trouble(Reason.INVALID_CA_CERTIFICATE, message)


def missing(source: Source, file: File, reason: Reason, consequence: str) -> Trouble:
    """Return what to say of a reference that leads to nothing."""
    if file.exists:
        message = f"{source.kind.value} {source.name} has no key {source.key}: add it.{consequence}"
        return Trouble(reason, message)
    not_found = {
        SourceKind.SECRET: Reason.SECRET_NOT_FOUND,
        SourceKind.CONFIG_MAP: Reason.CONFIG_MAP_NOT_FOUND,
    }[source.kind]
    message = f"{source.kind.value} {source.name} does not exist: create it, or remove it from clientCAs."
    return Trouble(not_found, f"{message}{consequence}")


def describe(source: Source) -> str:
    """Return a source for people."""
    return f"{source.kind.value} {source.name}, key {source.key}"


def said(refused: Iterable[object]) -> str:
    """Return the sentences of the first refusals, each cut to a length, for whoever wrote the file chose them."""
    texts = [str(one) for one in refused]
    shown = [_cut(text) for text in texts[:_NAMED]]
    more = len(texts) - len(shown)
    return " ".join([*shown, *([f"And {more} more."] if more else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of the moments that there are."""
    return min((moment for moment in moments if moment is not None), default=None)
