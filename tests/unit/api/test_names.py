"""Numbers at the end of names."""

from __future__ import annotations

import pytest

from mtls_operator.api import names


@pytest.mark.parametrize("number", [1, 7, 10, 999_999_999])
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    assert (
        names.number_in(names.authority_secret("shop", number), names.authority_secret("shop", 0)) == number
    )
    assert names.number_in(names.ledger_page("shop", number), names.ledger_page("shop", 0)) == number


@pytest.mark.parametrize(
    "end", ["", "0", "01", "-1", "+1", "1_0", " 1", "1a", "٣", "²", "1-1", "1000000000", "9" * 5000]
)
def test_nothing_else_is_a_number_so_that_no_two_objects_have_the_same(end: str) -> None:
    assert names.number_in(f"ca-shop-{end}", names.authority_secret("shop", 0)) is None


def test_an_object_of_another_namespace_has_none() -> None:
    assert names.number_in("ca-shop-2-1", names.authority_secret("shop", 0)) is None
    assert names.number_in("ca-sho-1", names.authority_secret("shop", 0)) is None
