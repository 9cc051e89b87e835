"""Revocations: which one stands when several speak of one certificate, and the two unsigned lists."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mtls_operator.api.certificate import FINAL_REASONS, RevocationReason
from mtls_operator.pki import (
    Authority,
    PkiError,
    Reason,
    Revocation,
    bitmap,
    merge,
    revoked_json,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def revocation(now: datetime) -> Revocation:
    return Revocation(
        serial="2B0A",
        revoked_at=now,
        reason=RevocationReason.UNSPECIFIED,
        not_after=now + 24 * HOUR,
        source="shop/gateway-7",
    )


def test_the_reasons_are_those_of_the_standard() -> None:
    assert [reason.value for reason in RevocationReason] == [
        "Unspecified",
        "KeyCompromise",
        "CACompromise",
        "AffiliationChanged",
        "Superseded",
        "CessationOfOperation",
        "CertificateHold",
        "PrivilegeWithdrawn",
        "AACompromise",
    ]


def test_a_compromise_is_final_and_nothing_else_is() -> None:
    assert {"KeyCompromise", "CACompromise"} == FINAL_REASONS


@pytest.mark.parametrize("serial", ["2b0a", "2B:0A", "0x2B0A", "B0A", " 2B0A", "002B0A", "", "0", "x"])
def test_a_serial_in_any_other_spelling_is_refused(revocation: Revocation, serial: str) -> None:
    with pytest.raises(PkiError) as caught:
        replace(revocation, serial=serial)
    assert caught.value.reason is Reason.INVALID_SERIAL


@pytest.mark.parametrize("field", ["revoked_at", "not_after"])
def test_a_time_without_a_zone_is_refused(revocation: Revocation, field: str) -> None:
    naive = {field: datetime(2030, 1, 1)}  # noqa: DTZ001 - the missing zone is the point
    with pytest.raises(PkiError) as caught:
        replace(revocation, **naive)  # type: ignore[arg-type]  # both fields are times
    assert caught.value.reason is Reason.INVALID_TIME


def test_the_earliest_revocation_of_a_serial_stands(revocation: Revocation) -> None:
    later = replace(revocation, revoked_at=revocation.revoked_at + HOUR, reason=RevocationReason.SUPERSEDED)
    assert merge([later, revocation]) == (revocation,)


def test_a_compromise_is_never_lost_to_an_earlier_weaker_reason(revocation: Revocation) -> None:
    worse = replace(
        revocation, revoked_at=revocation.revoked_at + HOUR, reason=RevocationReason.KEY_COMPROMISE
    )
    assert merge([revocation, worse]) == (replace(revocation, reason=RevocationReason.KEY_COMPROMISE),)


def test_the_latest_end_of_a_serial_stands(revocation: Revocation) -> None:
    longer = replace(
        revocation, revoked_at=revocation.revoked_at + HOUR, not_after=revocation.not_after + HOUR
    )
    assert merge([longer, revocation]) == (replace(revocation, not_after=longer.not_after),)


def test_merged_revocations_are_sorted_by_serial(revocation: Revocation) -> None:
    first, second = replace(revocation, serial="01"), replace(revocation, serial="FF")
    assert [one.serial for one in merge([second, revocation, first])] == ["01", "2B0A", "FF"]


@pytest.mark.parametrize(
    ("indices", "bits"),
    [
        ([], b""),
        ([0], b"\x01"),
        ([7], b"\x80"),
        ([8], b"\x00\x01"),
        ([0, 1, 9], b"\x03\x02"),
        ([9, 0, 1, 9, 0], b"\x03\x02"),
    ],
)
def test_a_bitmap_is_least_significant_bit_first_and_minimal(indices: list[int], bits: bytes) -> None:
    assert bitmap(indices) == bits


@pytest.mark.parametrize("index", [-1, 8 * 1024 * 1024, 2**32 - 1])
def test_an_index_that_no_list_could_hold_is_refused(index: int) -> None:
    with pytest.raises(PkiError, match=str(index)) as caught:
        bitmap([5, index])
    assert caught.value.reason is Reason.INDEX_TOO_LARGE


def test_an_index_that_was_not_given_out_yet_is_refused() -> None:
    assert bitmap([1023], limit=1024) == bytes(127) + b"\x80"
    with pytest.raises(PkiError, match="1024"):
        bitmap([1024], limit=1024)


def test_the_json_is_complete_sorted_and_one_line_per_certificate(
    revocation: Revocation, authority: Authority
) -> None:
    other = replace(revocation, serial="01", reason=RevocationReason.KEY_COMPROMISE, source="shop/ü")
    text = revoked_json([revocation, other], epoch=42, issuers=[authority.facts])
    assert json.loads(text) == {
        "issuers": [{"subject": "CN=Shop CA,O=mtls-operator", "ski": authority.facts.ski}],
        "epoch": 42,
        "revoked": [
            {
                "serial": "01",
                "revokedAt": "2030-01-02T03:04:05Z",
                "reason": "KeyCompromise",
                "notAfter": "2030-01-03T03:04:05Z",
                "source": "shop/ü",
            },
            {
                "serial": "2B0A",
                "revokedAt": "2030-01-02T03:04:05Z",
                "reason": "Unspecified",
                "notAfter": "2030-01-03T03:04:05Z",
                "source": "shop/gateway-7",
            },
        ],
    }
    assert len(text.splitlines()) == 4
    assert text == revoked_json([other, revocation, other], epoch=42, issuers=[authority.facts])


def test_the_json_of_no_revocation_is_an_empty_list(authority: Authority) -> None:
    text = revoked_json([], epoch=1, issuers=[authority.facts])
    assert json.loads(text)["revoked"] == []
    assert text.endswith("}\n")


def test_a_bitmap_may_begin_at_any_index() -> None:
    assert bitmap([1000, 1009], first=1000) == b"\x01\x02"
    for outside in (999, 1000 + 64):
        with pytest.raises(PkiError):
            bitmap([outside], first=1000, limit=64)
