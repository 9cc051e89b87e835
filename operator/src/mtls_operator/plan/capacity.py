"""How much may be issued before a revocation could not be published any more: issuing ends well before that.

Every index that a trusted CA has given out costs a bit in ``mtls-revocation``, whether it is revoked or not, and a
ConfigMap has an end. So the indices of all trusted generations together are counted: a successor starts its list anew,
and a retired CA takes its part of it along. The ledger has an end too: it must be read within one answer's time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from mtls_operator.plan.authority import INDEX_BLOCK, Phase, Stored
from mtls_operator.plan.ledger import Record
from mtls_operator.plan.published import by_generation

#: As many indices all trusted CAs of a namespace may have given out: about 815 KiB of the 1 MiB of a ConfigMap.
INDICES: Final = 5_000_000
#: As many may be reserved by whatever else than issuing: a revocation of what nobody remembers.
INDICES_IN_RESERVE: Final = 700_000
#: A CA that has given out so many is replaced, so that its part of the list can go when its certificates have ended.
SPENT: Final = INDICES // 4
#: As many certificates that have not ended the ledger may have to name.
RECORDS: Final = 500_000
#: Above this part of either, hosts say so.
WARNING: Final = 0.8
_LAST_INDEX: Final = 2**32

_WAY_OUT: Final = (
    "Revoking goes on. An administrator replaces the CA with 'kubectl mtls ca rotate', and drops old ones with "
    "'--compromised --generation N' (docs/operations.md, Serial numbers)."
)


def span(stored: Stored) -> int:
    """Return how many indices a generation has taken."""
    return stored.next_index - stored.first_index if stored.phase is not Phase.PREPARED else 0


def listed_indices(generations: Iterable[Stored]) -> int:
    """Return how many indices the published list has to have room for."""
    return sum(span(stored) for stored in generations if stored.trusted)


def is_spent(stored: Stored) -> bool:
    """Say whether a generation has given out so much that it is time for its successor."""
    return span(stored) >= SPENT


def no_more_indices(generations: Iterable[Stored]) -> str:
    """Return why no further block of indices is reserved for issuing; empty: nothing is against it."""
    generations = tuple(generations)
    taken = listed_indices(generations)
    if taken + INDEX_BLOCK <= INDICES and highest(generations) + INDEX_BLOCK <= _LAST_INDEX:
        return ""
    return (
        f"The CAs of this namespace have given out {taken} serial numbers, and a list of revocations has room for "
        f"{INDICES}: nothing more is issued. {_WAY_OUT}"
    )


def beyond_the_list(generations: Iterable[Stored], index: int) -> bool:
    """Say whether a list that must name an index would be too large for its object."""
    generations = tuple(generations)
    more = max(index + 1 - highest(generations), 0)
    return listed_indices(generations) + more > INDICES + INDICES_IN_RESERVE or index >= _LAST_INDEX


def highest(generations: Iterable[Stored]) -> int:
    """Return the first index above all that are reserved."""
    return max((stored.next_index for stored in generations), default=0)


def may_be_full(ledger: Mapping[str, Record], *, objects: int) -> bool:
    """Say whether it is worth while to count: each object may still become a record."""
    return len(ledger) + objects >= RECORDS


def no_more_records(
    ledger: Mapping[str, Record], generations: Sequence[Stored], *, objects: int, now: datetime
) -> str:
    """Return why nothing is issued whose revocation the ledger would have to keep; empty: nothing is against it.

    Certificates of a CA that was retired count no more.
    """
    living = [serial for serial, record in ledger.items() if record.not_after > now]
    counting = sum(len(own) for stored, own in by_generation(generations, living) if stored.trusted)
    if counting + objects < RECORDS:
        return ""
    return (
        f"The ledger of this namespace names {counting} certificates that have not ended, beside {objects} objects, "
        f"and may name {RECORDS}: nothing more is issued until some have ended. {_WAY_OUT}"
    )


def nearly_full(generations: Iterable[Stored], ledger: Mapping[str, Record], *, objects: int) -> str:
    """Return a warning long before nothing can be issued any more; empty: there is room."""
    taken = listed_indices(generations)
    if taken < INDICES * WARNING and len(ledger) + objects < RECORDS * WARNING:
        return ""
    return (
        f"The list of revocations fills up: {taken // INDEX_BLOCK * INDEX_BLOCK} of {INDICES} serial numbers and more "
        f"than {len(ledger) // 10_000 * 10_000} of {RECORDS} records. At the end nothing is issued any more; revoking "
        f"goes on. Replace the CA ('kubectl mtls ca rotate') and find out who asks for so many certificates."
    )


def fullness(generations: Iterable[Stored], ledger: Mapping[str, Record], *, objects: int) -> float:
    """Return which part of the room is taken, from 0 to 1."""
    return max(listed_indices(generations) / INDICES, (len(ledger) + objects) / RECORDS)
