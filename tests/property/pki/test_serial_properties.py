"""Serial numbers and bitmaps, for every index and every entropy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.pki import (
    PkiError,
    bitmap,
    format_serial,
    has_index,
    index_of,
    make_serial,
    parse_serial,
)

INDICES = st.integers(0, 2**32 - 1)
ENTROPY = st.binary(min_size=15, max_size=15)
SERIALS = st.integers(1, 2**159 - 1)
BITS = st.sets(st.integers(0, 5000))


@given(INDICES, ENTROPY)
def test_the_index_comes_back_out_of_every_serial(index: int, entropy: bytes) -> None:
    assert index_of(make_serial(index, entropy)) == index


@given(INDICES, ENTROPY)
def test_every_serial_is_19_bytes_without_a_sign_byte(index: int, entropy: bytes) -> None:
    serial = make_serial(index, entropy)
    assert 0x01 <= serial >> 144 <= 0x7F
    assert len(format_serial(serial)) == 38


@given(INDICES, ENTROPY)
def test_a_proxy_finds_the_index_in_the_last_four_bytes_of_its_text(index: int, entropy: bytes) -> None:
    text = format_serial(make_serial(index, entropy)).lower()
    assert int(text[-8:], 16) == index


@given(INDICES, INDICES, ENTROPY)
def test_two_indices_never_share_a_serial(first: int, second: int, entropy: bytes) -> None:
    assert (make_serial(first, entropy) == make_serial(second, entropy)) == (first == second)


@given(INDICES, ENTROPY)
def test_all_but_the_first_byte_of_the_entropy_is_kept(index: int, entropy: bytes) -> None:
    assert make_serial(index, entropy).to_bytes(19, "big")[1:15] == entropy[1:]


@given(SERIALS)
def test_the_text_of_a_serial_means_that_serial_in_every_spelling(serial: int) -> None:
    text = format_serial(serial)
    pairs = ":".join(text[at : at + 2] for at in range(0, len(text), 2))
    assert len(text) % 2 == 0
    assert {parse_serial(one) for one in (text, text.lower(), f"0x{text}", pairs, pairs.lower())} == {serial}


@given(st.text(max_size=60))
def test_a_text_is_a_serial_or_refused_and_nothing_else_happens(text: str) -> None:
    try:
        serial = parse_serial(text)
    except PkiError:
        return
    assert parse_serial(format_serial(serial)) == serial


@given(st.integers(-(2**200), 2**200))
def test_a_number_has_an_index_or_asking_for_it_is_refused(serial: int) -> None:
    if has_index(serial):
        assert 0 <= index_of(serial) < 2**32
    else:
        with pytest.raises(PkiError):
            index_of(serial)


@given(BITS)
def test_a_bitmap_says_yes_for_its_indices_and_no_for_all_others(indices: set[int]) -> None:
    bits = bitmap(indices)
    assert {
        index for index in range(5001) if index // 8 < len(bits) and bits[index // 8] >> index % 8 & 1
    } == indices


@given(BITS)
def test_a_bitmap_never_ends_in_a_zero_byte(indices: set[int]) -> None:
    assert not bitmap(indices).endswith(b"\x00")


@given(BITS, BITS)
def test_revoking_more_never_clears_a_bit(first: set[int], second: set[int]) -> None:
    fewer, more = bitmap(first), bitmap(first | second)
    assert all(more[at] & byte == byte for at, byte in enumerate(fewer))
