"""The parts of a list for people and other gateways: whole, signed no more often than needed, in pages when large."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    format_serial,
    make_serial,
    new_authority,
    read_crl,
)
from mtls_operator.plan import pages as pages_module
from mtls_operator.plan import readable as readable_module
from mtls_operator.plan.authority import Stored
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.pages import INDEX_KEY, whole
from mtls_operator.plan.readable import CRL_RENEWAL, Readable, readable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@cache
def authority() -> Authority:
    return new_authority("CA", now=NOW, lifetime=timedelta(days=3650), entropy=b"e" * AUTHORITY_ENTROPY)


def record(index: int, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "serial": format_serial(make_serial(index, bytes([index % 256]) * SERIAL_ENTROPY)),
        "entry": Entry.REVOKED,
        "at": NOW,
        "not_after": NOW + timedelta(days=365),
        "reason": RevocationReason.UNSPECIFIED,
        "owner": "shop/gateway",
        "owner_uid": "uid-1",
    }
    return Record(**(fields | changes))


def made(*records: Record, former: Readable | None = None, now: datetime = NOW, **changes: Any) -> Readable:
    fields: dict[str, Any] = {
        "former": former.lists if former is not None else (),
        "present": former.kept.get(INDEX_KEY, "") if former is not None else "",
        "script_bytes": 1000,
        "epoch": 5,
        "now": now,
    }
    return readable([Stored(authority(), 1, 2**20, {})], records, **(fields | changes))


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable_module, "READABLE_BYTES", 100)


def test_what_fits_is_in_the_first_object() -> None:
    parts = made(record(1))
    assert set(parts.kept) == {names.CRL_KEY, names.REVOKED_JSON_KEY}
    assert (parts.pages, parts.left_out) == ({}, ())


@pytest.mark.usefixtures("little_room")
def test_what_does_not_fit_is_in_pages_whole() -> None:
    parts = made(record(1), record(2))
    assert set(parts.kept) == {INDEX_KEY}
    crl = whole(names.CRL_KEY, parts.kept, parts.pages)
    text = whole(names.REVOKED_JSON_KEY, parts.kept, parts.pages)
    assert crl is not None
    assert text is not None
    assert len(read_crl(crl, authority()).revocations) == 2
    assert text.count('"serial"') == 2


def test_the_list_for_other_gateways_stays_longest_in_the_first_object() -> None:
    parts = made(*map(record, range(4000)))
    assert set(parts.kept) == {names.CRL_KEY, INDEX_KEY}


def test_the_proxies_part_leaves_less_room() -> None:
    """What the proxies load must always fit: 1 MiB is all that a ConfigMap holds."""
    parts = made(record(1), script_bytes=999 * 1024 + 900)
    assert set(parts.kept) == {INDEX_KEY}


@pytest.mark.usefixtures("little_room")
def test_what_is_too_large_even_for_pages_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "_MOST_PAGES", 1)
    parts = made(record(1))
    assert parts.left_out == (names.REVOKED_JSON_KEY,)
    assert whole(names.CRL_KEY, parts.kept, parts.pages) is not None


@pytest.mark.usefixtures("little_room")
def test_unchanged_revocations_keep_every_byte_and_page() -> None:
    first = made(record(1))
    assert made(record(1), former=first, now=NOW + timedelta(hours=2)) == first


def test_a_list_is_signed_anew_after_a_day_with_a_higher_number() -> None:
    first = made(record(1))
    second = made(record(1), former=first, now=NOW + CRL_RENEWAL)
    assert second.lists[0].number > first.lists[0].number
    assert second.renew_at == NOW + 2 * CRL_RENEWAL


def test_another_reason_is_another_list() -> None:
    first = made(record(1))
    second = made(record(1, reason=RevocationReason.KEY_COMPROMISE), former=first)
    assert second.lists[0].says != first.lists[0].says


def test_a_list_that_a_clock_signed_which_was_ahead_is_replaced_and_its_number_outbid() -> None:
    """Other gateways refuse a list that is not valid yet, and one whose number goes back (RFC 5280, 5.2.3)."""
    ahead = made(record(1), now=NOW + timedelta(days=400))
    now = made(record(1), former=ahead)
    assert now.lists[0].signed_at == NOW
    assert now.lists[0].number > ahead.lists[0].number


def test_a_list_of_another_generation_says_nothing() -> None:
    first = made(record(1))
    foreign = replace(first, lists=tuple(replace(one, generation=2) for one in first.lists))
    assert made(record(1), former=foreign).lists[0].pem != first.lists[0].pem
