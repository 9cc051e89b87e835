"""Since when a CA signs: what its Secret says, where that can be true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mtls_operator.api import names
from mtls_operator.pki import AUTHORITY_ENTROPY, new_authority
from mtls_operator.plan.authority import Phase, Stored, opened

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = MADE + timedelta(hours=5)
CA = new_authority("CA", now=MADE, lifetime=timedelta(days=3650), entropy=b"e" * AUTHORITY_ENTROPY)


def _stored(annotation: str | None = None) -> Stored:
    annotations = {} if annotation is None else {names.SIGNS_SINCE_ANNOTATION: annotation}
    body = {"metadata": {"name": "ca-shop-2", "namespace": "mtls-system", "annotations": annotations}}
    return Stored(CA, 2, 0, body, Phase.PREPARED)


def test_it_signs_since_it_was_opened() -> None:
    body = opened(_stored(), first_index=1024, now=NOW)
    stored = Stored(CA, 2, 1024, body)
    assert stored.signs_since(now=NOW) == NOW
    assert body["metadata"]["annotations"][names.PHASE_ANNOTATION] == "Active"


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        "",
        "yesterday",
        "2026-03-01T17:00:01Z",  # a second ahead of the clock: a reissue would never be due
        "2020-01-01T00:00:00Z",  # before it was made
    ],
)
def test_without_a_time_that_can_be_true_it_signs_since_it_was_made(annotation: str | None) -> None:
    assert _stored(annotation).signs_since(now=NOW) == CA.facts.not_before
