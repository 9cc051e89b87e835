"""The parts of a namespace's revocation list for people and other gateways: ``revoked.json`` and the signed ``ca.crl``.

They take time to make when a list is long, so nothing that the proxies need waits for them. What does not fit into
``mtls-revocation`` goes into further pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from mtls_operator.api import names
from mtls_operator.pki import Authority, CrlFacts, Revocation, revoked_json, sign_crl
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.ledger import Record
from mtls_operator.plan.pages import Paging, TooLargeError, paginate
from mtls_operator.plan.published import by_generation, revocations

#: What these parts may take of the 1 MiB of ``mtls-revocation``, and what all of it may take.
READABLE_BYTES: Final = 500 * 1024
FIRST_BYTES: Final = 1000 * 1024
#: A list for other gateways is signed anew long before it is stale, so that it never fails by age.
CRL_LIFETIME: Final = timedelta(days=30)
CRL_RENEWAL: Final = timedelta(days=1)
#: A list that is dated further ahead was signed by a clock that was wrong: others would refuse it.
_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Signed:
    """The list of one generation as it was signed last; ``says`` is a digest of what it says."""

    generation: int
    pem: str
    says: str
    signed_at: datetime
    number: int

    @property
    def renew_at(self) -> datetime:
        """When it is signed anew, whatever it says."""
        return self.signed_at + CRL_RENEWAL


@dataclass(frozen=True, slots=True)
class Readable:
    """``kept`` goes into ``mtls-revocation``, ``pages`` into further objects; ``left_out`` fit into neither."""

    kept: Mapping[str, str]
    pages: Mapping[int, str]
    lists: tuple[Signed, ...]
    left_out: tuple[str, ...]
    renew_at: datetime


def signed_of(
    found: Iterable[tuple[Authority, CrlFacts, str]], generations: Iterable[Stored]
) -> Iterator[Signed]:
    """Return the lists of ours that `still_signed_by` has found in a text from the cluster."""
    by_digest = {stored.authority.digest: stored.generation for stored in generations}
    for authority, facts, pem in found:
        yield Signed(
            generation=by_digest[authority.digest],
            pem=pem,
            says=_digest((entry.serial, entry.reason.value) for entry in facts.revocations),
            signed_at=facts.this_update,
            number=facts.number or 0,
        )


def readable(  # noqa: PLR0913 - what the texts rest on, all but two by keyword
    generations: Sequence[Stored],
    records: Sequence[Record],
    *,
    former: Iterable[Signed],
    present: str,
    script_bytes: int,
    epoch: int,
    now: datetime,
) -> Readable:
    """Make the readable parts; unchanged revocations keep every byte and page until the list is due (guarantee G6).

    ``former`` are the lists that were signed before, ``present`` is the index of the pages that are in use,
    ``script_bytes`` the size of the proxies' part.
    """
    revoked = revocations(records)
    by_serial = {revocation.serial: revocation for revocation in revoked}
    former = tuple(former)
    lists = tuple(
        _list_of(stored, [by_serial[serial] for serial in own], former, epoch=epoch, now=now)
        for stored, own in by_generation(generations, by_serial)
    )
    about = [stored.authority.facts for stored, _ in by_generation(generations, ())]
    texts = {
        names.CRL_KEY: "".join(signed.pem for signed in lists),
        names.REVOKED_JSON_KEY: revoked_json(revoked, epoch=epoch, issuers=about),
    }
    room = max(0, min(READABLE_BYTES, FIRST_BYTES - script_bytes))
    paging, left_out = _paged(texts, room=room, present=present)
    return Readable(
        kept=paging.kept,
        pages=paging.pages,
        lists=lists,
        left_out=left_out,
        renew_at=min((signed.renew_at for signed in lists), default=now + CRL_RENEWAL),
    )


def _paged(texts: dict[str, str], *, room: int, present: str) -> tuple[Paging, tuple[str, ...]]:
    """Return the pages, without what is too large even for them: the list for other gateways goes last."""
    for left_out in ((), (names.REVOKED_JSON_KEY,), tuple(texts)):
        fitting = {key: text for key, text in texts.items() if key not in left_out}
        try:
            return paginate(fitting, room=room, present=present), left_out
        except TooLargeError:
            continue
    return Paging({}, {}), tuple(texts)


def _list_of(
    stored: Stored, revoked: Sequence[Revocation], former: Sequence[Signed], *, epoch: int, now: datetime
) -> Signed:
    """Return the signed list of one CA: the former one while it is young and says the same."""
    says = _digest((revocation.serial, revocation.reason.value) for revocation in revoked)
    own = [signed for signed in former if signed.generation == stored.generation]
    for signed in own:
        if signed.says == says and signed.signed_at - _AHEAD <= now < signed.renew_at:
            return signed
    number = max(epoch, int(now.timestamp() * 1000), *(signed.number + 1 for signed in own), 0)
    pem = sign_crl(stored.authority, revoked, number=number, now=now, lifetime=CRL_LIFETIME)
    return Signed(stored.generation, pem, says, now.replace(microsecond=0), number)


def _digest(entries: Iterable[tuple[str, str]]) -> str:
    return sha256("\n".join(f"{serial} {reason}" for serial, reason in sorted(entries)).encode()).hexdigest()
