"""Serial numbers: their layout, and the texts that mean one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.pki import (
    PkiError,
    Reason,
    format_serial,
    has_index,
    index_in,
    index_of,
    make_serial,
    parse_serial,
    random_serial,
)


def test_a_serial_is_a_first_byte_fourteen_random_bytes_and_the_index() -> None:
    serial = make_serial(0x01020304, bytes([0x41]) + bytes(range(0xA0, 0xAE)))
    assert format_serial(serial) == "42A0A1A2A3A4A5A6A7A8A9AAABACAD01020304"


@pytest.mark.parametrize(("byte", "first"), [(0, 0x01), (126, 0x7F), (127, 0x01), (254, 0x01), (255, 0x02)])
def test_the_first_byte_is_never_zero_and_never_needs_a_sign_byte(byte: int, first: int) -> None:
    assert make_serial(0, bytes([byte]) + bytes(14)) >> 144 == first


@pytest.mark.parametrize("index", [-1, 2**32, 2**40])
def test_an_index_outside_32_bits_is_refused(index: int) -> None:
    with pytest.raises(PkiError, match="32 bits") as caught:
        make_serial(index, bytes(15))
    assert caught.value.reason is Reason.INVALID_SERIAL


@pytest.mark.parametrize("length", [0, 14, 16])
def test_too_little_or_too_much_entropy_is_refused(length: int) -> None:
    with pytest.raises(PkiError, match="15 bytes") as caught:
        make_serial(0, bytes(length))
    assert caught.value.reason is Reason.INVALID_ENTROPY


@pytest.mark.parametrize("serial", [0, -1, 1, 2**144 - 1, 2**151, 2**159 - 1], ids=hex)
def test_a_serial_of_another_shape_has_no_index(serial: int) -> None:
    assert not has_index(serial)
    with pytest.raises(PkiError, match="no index"):
        index_of(serial)


def test_a_serial_without_an_index_is_sixteen_bytes_of_the_entropy() -> None:
    serial = random_serial(b"\x41" + b"\xab" * 30)
    assert format_serial(serial) == "42" + "AB" * 15
    assert not has_index(serial)


@pytest.mark.parametrize("length", [0, 15])
def test_a_serial_without_an_index_needs_its_entropy_too(length: int) -> None:
    with pytest.raises(PkiError, match="16 bytes") as caught:
        random_serial(bytes(length))
    assert caught.value.reason is Reason.INVALID_ENTROPY


def test_the_text_keeps_a_leading_zero_digit() -> None:
    assert format_serial(0xADD0001) == "0ADD0001"


@pytest.mark.parametrize(
    "text",
    [
        "0ADD0001",
        "0add0001",
        "add0001",
        "0x0add0001",
        "0XADD0001",
        "0A:DD:00:01",
        "0a:dd:00:01",
        " 0ADD0001\n",
    ],
)
def test_all_usual_spellings_of_a_serial_mean_the_same(text: str) -> None:
    assert parse_serial(text) == 0xADD0001


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "00",
        "-1",
        "+1",
        "0x",
        "xyz",
        "1_0",
        "A:DD",
        "0A:DD:",
        ":0A",
        "0A::DD",
        "0A DD",
        "0A-DD",
        "\u0661",
        "f" * 40,
        "1" * 41,
    ],
)
def test_what_is_no_serial_is_refused(text: str) -> None:
    with pytest.raises(PkiError) as caught:
        parse_serial(text)
    assert caught.value.reason is Reason.INVALID_SERIAL


@pytest.mark.parametrize("serial", [0, -5, 2**159])
def test_a_number_that_no_certificate_may_have_is_not_written(serial: int) -> None:
    with pytest.raises(PkiError, match="RFC 5280"):
        format_serial(serial)


@given(
    st.integers(1, 2**159 - 1) | st.integers(0, 2**32 - 1).map(lambda index: make_serial(index, bytes(15)))
)
def test_the_quick_look_at_a_serial_sees_the_same_index(serial: int) -> None:
    expected = index_of(serial) if has_index(serial) else None
    assert index_in(format_serial(serial)) == expected
