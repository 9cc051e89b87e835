"""Issuing ends while every revocation can still be published: sums, not hopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.envoy import IssuerRevocations, revocation_script
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    format_serial,
    make_serial,
    new_authority,
)
from mtls_operator.plan import capacity
from mtls_operator.plan.authority import INDEX_BLOCK, Phase, Stored
from mtls_operator.plan.capacity import (
    INDICES,
    INDICES_IN_RESERVE,
    RECORDS,
    SPENT,
    beyond_the_list,
    is_spent,
    listed_indices,
    may_be_full,
    nearly_full,
    no_more_indices,
    no_more_records,
)
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.pages import PAGE_BYTES, paginate
from mtls_operator.plan.published import in_force, list_of, publish
from mtls_operator.plan.readable import FIRST_BYTES, READABLE_BYTES, readable
from mtls_operator.plan.rotation import Confirmations, Move, next_step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: What the API server lets the values of a ConfigMap be (k8s.io/api/core/v1, MaxSecretSize and its like).
CONFIG_MAP_BYTES = 1024 * 1024


@cache
def _authority(name: str = "CA") -> Authority:
    return new_authority(name, now=NOW, lifetime=timedelta(days=3650), entropy=b"e" * AUTHORITY_ENTROPY)


def _stored(generation: int, first: int, end: int, phase: Phase = Phase.ACTIVE) -> Stored:
    return Stored(_authority(f"CA {generation}"), generation, end, {}, phase, first)


def _record(index: int, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "serial": format_serial(make_serial(index, bytes([index % 256]) * SERIAL_ENTROPY)),
        "entry": Entry.REVOKED,
        "at": NOW,
        "not_after": NOW + timedelta(days=365),
        "reason": RevocationReason.CESSATION_OF_OPERATION,
        "owner": "shop/gateway",
        "owner_uid": "uid-1",
    }
    return Record(**(fields | changes))


@pytest.mark.parametrize("generations", [1, 5, 12])
def test_with_every_index_given_out_and_revoked_the_first_object_fits(generations: int) -> None:
    """The last index allowed, the reserve used up too, all of them revoked: the worst that there can be."""
    each = (INDICES + INDICES_IN_RESERVE) // generations
    issuers = [
        IssuerRevocations(f"{number:064x}", b"\xff" * (each // 8 + 1), first=number * each)
        for number in range(generations)
    ]
    script = revocation_script(epoch=10**13, issuers=issuers)
    room = max(0, min(READABLE_BYTES, FIRST_BYTES - len(script)))
    texts = {names.CRL_KEY: ("x" * 63 + "\n") * 500_000, names.REVOKED_JSON_KEY: ("y" * 99 + "\n") * 250_000}
    paging = paginate(texts, room=room)
    size = len(script) + sum(len(text) for text in paging.kept.values())
    assert len(script) <= FIRST_BYTES
    assert size <= CONFIG_MAP_BYTES
    assert max(len(text) for text in paging.pages.values()) <= PAGE_BYTES


def test_the_signed_list_of_a_full_ledger_fits_into_its_pages() -> None:
    few = [_record(index) for index in range(2000)]
    made = readable(
        [_stored(1, 0, INDICES)], few, former=(), present="", script_bytes=FIRST_BYTES, epoch=1, now=NOW
    )
    for_each = sum(len(signed.pem) for signed in made.lists) / len(few)
    assert for_each * RECORDS <= 64 * PAGE_BYTES
    assert made.left_out == ()


def test_a_successor_begins_its_list_anew() -> None:
    """Else the numbers of its forerunners would take their room twice."""
    old, new = _stored(1, 0, 3_000_000, Phase.RETIRING), _stored(2, 3_000_000, 3_001_024)
    ledger = {one.serial: one for one in [_record(5), _record(3_000_900)]}
    listing = list_of([old, new], in_force(ledger, now=NOW), now=NOW)
    published = publish(listing, {}, previous="", seen=(), now=NOW)
    assert '{3000000, "' in published.script
    assert len(published.script) < 10_000


def test_a_retired_ca_takes_its_part_of_the_list_along() -> None:
    old, new = _stored(1, 0, 3_000_000, Phase.RETIRED), _stored(2, 3_000_000, 3_001_024)
    assert listed_indices([old, new]) == 1024
    assert listed_indices([_stored(1, 0, 3_000_000, Phase.RETIRING), new]) == 3_001_024


def test_one_that_signs_nothing_yet_takes_no_room() -> None:
    assert listed_indices([_stored(1, 0, 1024), _stored(2, 0, 0, Phase.PREPARED)]) == 1024


def test_no_block_is_reserved_that_would_go_beyond_the_end() -> None:
    assert no_more_indices([_stored(1, 0, INDICES - INDEX_BLOCK)]) == ""
    assert "nothing more is issued" in no_more_indices([_stored(1, 0, INDICES - INDEX_BLOCK + 1)])


def test_the_indices_of_all_trusted_cas_count_together() -> None:
    old = _stored(1, 0, 3_000_000, Phase.RETIRING)
    assert no_more_indices([old, _stored(2, 3_000_000, 4_000_000)]) == ""
    assert no_more_indices([old, _stored(2, 3_000_000, 5_000_000)])
    dropped = _stored(1, 0, 3_000_000, Phase.RETIRED)
    assert no_more_indices([dropped, _stored(2, 3_000_000, 5_000_000)]) == ""


def test_an_index_never_passes_its_four_bytes() -> None:
    assert no_more_indices([_stored(9, 2**32 - 2048, 2**32 - 1024)]) == ""
    assert no_more_indices([_stored(9, 2**32 - 2048, 2**32 - 1023)])


def test_a_revocation_may_use_the_reserve_and_nothing_beyond() -> None:
    full = [_stored(1, 0, INDICES)]
    assert not beyond_the_list(full, INDICES + INDICES_IN_RESERVE - 1)
    assert beyond_the_list(full, INDICES + INDICES_IN_RESERVE)
    assert not beyond_the_list(full, 7)


def test_a_ca_that_has_given_out_a_quarter_of_the_list_is_replaced() -> None:
    young = _stored(1, 0, SPENT - 1)
    assert next_step([young], confirmations=Confirmations({}), living=(), now=NOW) is None
    spent = _stored(1, 0, SPENT)
    assert is_spent(spent)
    step = next_step([spent], confirmations=Confirmations({}), living=(), now=NOW)
    assert step is not None
    assert step.move is Move.PREPARE


def test_what_its_forerunners_gave_out_does_not_make_a_ca_spent() -> None:
    assert not is_spent(_stored(2, SPENT * 3, SPENT * 3 + 1024))


def test_each_object_may_still_become_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "RECORDS", 10)
    ledger = {one.serial: one for one in map(_record, range(6))}
    assert not may_be_full(ledger, objects=3)
    assert may_be_full(ledger, objects=4)
    assert "nothing more is issued" in no_more_records(ledger, [_stored(1, 0, 1024)], objects=4, now=NOW)


def test_what_has_ended_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records stay for weeks after that: short-lived certificates would fill the ledger by themselves."""
    monkeypatch.setattr(capacity, "RECORDS", 10)
    ended = {one.serial: one for one in (_record(index, not_after=NOW) for index in range(60))}
    assert no_more_records(ended, [_stored(1, 0, 1024)], objects=4, now=NOW) == ""


def test_what_a_retired_ca_signed_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "RECORDS", 10)
    ledger = {one.serial: one for one in map(_record, range(20))}
    old, new = _stored(1, 0, 15, Phase.RETIRED), _stored(2, 15, 1024)
    assert no_more_records(ledger, [old, new], objects=4, now=NOW) == ""
    assert no_more_records(ledger, [old, new], objects=5, now=NOW) != ""


@pytest.mark.parametrize(("taken", "warned"), [(INDICES // 2, False), (INDICES * 9 // 10, True)])
def test_it_is_said_long_before(taken: int, warned: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert bool(nearly_full([_stored(1, 0, taken)], {}, objects=0)) is warned
