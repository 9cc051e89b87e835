"""A serial number to revoke: which claims of others hold it back, and which generation it belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import pytest

from mtls_operator.api.certificate import RevocationReason
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    KeySpec,
    Subject,
    SubjectAltNames,
    format_serial,
    issue_client,
    make_serial,
    new_authority,
)
from mtls_operator.plan.authority import Phase, Stored
from mtls_operator.plan.ledger import Entry, Record
from mtls_operator.plan.requests import (
    AHEAD,
    Grant,
    Request,
    RequestRefusedError,
    judge,
    read_request,
    request_document,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=365)


@lru_cache
def _authority(name: str = "old") -> Authority:
    return new_authority(name, now=NOW, lifetime=timedelta(days=3650), entropy=b"e" * AUTHORITY_ENTROPY)


def _stored(name: str = "old", generation: int = 1, **changes: Any) -> Stored:
    return Stored(_authority(name), generation, changes.pop("next_index", 1024), {}, **changes)


def _serial(index: int, seed: bytes = b"a") -> str:
    return format_serial(make_serial(index, seed * SERIAL_ENTROPY))


def _pem(index: int, issuer: str = "old", *, days: int = 365) -> str:
    return issue_client(
        _authority(issuer),
        subject=Subject(common_name="lost"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=timedelta(days=days),
        serial=make_serial(index, b"a" * SERIAL_ENTROPY),
        now=NOW,
    ).certificate_pem


def _judge(request: Request, *generations: Stored, now: datetime = NOW, **known: Any) -> Grant:
    return judge(
        request,
        generations or (_stored(),),
        known.get("ledger", {}),
        proved=known.get("proved", {}),
        claimed=known.get("claimed", {}),
        now=now,
    )


def _of(index: int, pem: str = "") -> Request:
    return Request(_serial(index), RevocationReason.UNSPECIFIED, pem)


def test_what_is_written_into_a_request_is_read_from_it() -> None:
    request = Request(_serial(7), RevocationReason.KEY_COMPROMISE, _pem(7))
    document = request_document("mtls-system", "shop", "uid-1", request)
    assert read_request(document["data"]) == request
    assert document["metadata"]["name"] == f"revoke-shop-{_serial(7).lower()}"


def test_every_spelling_of_a_number_is_the_same_number() -> None:
    plain = _serial(7)
    spelt = ":".join(plain[i : i + 2] for i in range(0, len(plain), 2)).lower()
    assert read_request({"serial": spelt}).serial == plain


def test_a_status_that_claims_the_index_holds_back_a_typed_number_only() -> None:
    claimed = {_serial(7, b"b"): END}
    with pytest.raises(RequestRefusedError, match=_serial(7, b"b")):
        _judge(_of(7), claimed=claimed)
    assert _judge(_of(7, _pem(7)), claimed=claimed).record is not None


def test_a_signed_certificate_with_the_index_holds_back_both() -> None:
    proved = {_serial(7, b"b"): END}
    for request in (_of(7), _of(7, _pem(7))):
        with pytest.raises(RequestRefusedError, match="same last eight digits"):
            _judge(request, proved=proved)


def test_an_expired_certificate_holds_nothing_back() -> None:
    assert _judge(_of(7), proved={_serial(7, b"b"): NOW}).record is not None


def test_statuses_with_nonsense_hold_nothing_back() -> None:
    assert _judge(_of(7), claimed={"nonsense": END, "2A": END}).record is not None


def test_a_certificate_of_a_ca_that_was_given_proves_no_number_far_above_those_that_were_given_out() -> None:
    """Somebody else may have signed it with the same key: its number could ask for a list of half a gigabyte."""
    given = _stored(given_by="corp-ca")
    for index in (1024 + AHEAD, 2**32 - 1):
        request = Request(_serial(index), RevocationReason.KEY_COMPROMISE, _pem(index))
        with pytest.raises(RequestRefusedError, match="ca rotate --compromised"):
            _judge(request, given)
    below = Request(_serial(1000 + AHEAD), RevocationReason.KEY_COMPROMISE, _pem(1000 + AHEAD))
    assert _judge(below, given).record is not None


def test_a_proved_number_may_lie_far_above_the_reserved_ones() -> None:
    index = 1024 + 50 * AHEAD
    grant = _judge(_of(index, _pem(index)))
    assert grant.index == index
    with pytest.raises(RequestRefusedError, match="last eight digits"):
        _judge(_of(index))


def test_an_expired_certificate_needs_no_revocation() -> None:
    with pytest.raises(RequestRefusedError, match="expired"):
        _judge(_of(7, _pem(7, days=1)), now=NOW + timedelta(days=2))


def test_the_end_of_a_typed_number_is_that_of_the_ca_whatever_the_ledger_was_told() -> None:
    """The end of a known one can come from a status: it must not bring the revocation to an early end."""
    early = Record(_serial(7), Entry.KNOWN, NOW, NOW, RevocationReason.UNSPECIFIED, "shop/x", "uid-1")
    record = _judge(_of(7), ledger={early.serial: early}).record
    assert record is not None
    assert record.not_after == _authority().facts.not_after


def test_a_record_is_later_than_the_one_before_it() -> None:
    later = NOW + timedelta(days=1)
    before = Record(_serial(7), Entry.RESTORED, later, END, RevocationReason.UNSPECIFIED, "shop/x", "uid-1")
    record = _judge(_of(7), ledger={before.serial: before}).record
    assert record is not None
    assert record.at > later


ROTATED = (
    _stored(phase=Phase.RETIRING, next_index=1024),
    _stored("new", 2, first_index=1024, next_index=2048),
)


def test_a_certificate_of_the_former_ca_is_revoked_in_its_own_range() -> None:
    assert _judge(_of(7, _pem(7)), *ROTATED).record is not None


def test_a_certificate_whose_number_lies_in_the_range_of_another_generation_is_refused() -> None:
    """Its own list could not name it, and the other one would name somebody else's."""
    with pytest.raises(RequestRefusedError, match="rotate --compromised"):
        _judge(_of(1500, _pem(1500)), *ROTATED)


def test_nothing_is_granted_while_no_ca_signs() -> None:
    with pytest.raises(RequestRefusedError, match="no CA that signs"):
        _judge(_of(7), _stored(phase=Phase.PREPARED))


def test_a_number_that_no_list_has_room_for_is_refused_although_its_certificate_is_shown() -> None:
    """Whoever signed it has the key: the mark of the CA would be raised until nothing can be issued or listed."""
    index = 2**32 - 1
    with pytest.raises(RequestRefusedError, match="--compromised"):
        _judge(_of(index, _pem(index)))
