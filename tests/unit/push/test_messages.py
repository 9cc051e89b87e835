"""The wire format: golden bytes from the official protobuf library, and hostile input."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.push import messages
from mtls_operator.push.messages import (
    EXTENSION_TYPE,
    MAX_FIELDS,
    DiscoveryRequest,
    MalformedMessage,
    decode_request,
    encode_nonce,
    encode_response,
)

SCRIPT = "-- mtls-rules 1\nfunction envoy_on_request(h) end\n-- Ü\n"
RESPONSE = (
    "0a02763112d8010a3d747970652e676f6f676c65617069732e636f6d2f656e766f792e636f6e6669672e636f72652e76332e"
    "5479706564457874656e73696f6e436f6e6669671296010a0a6d746c732d72756c65731287010a3c747970652e676f6f676c"
    "65617069732e636f6d2f656e766f792e657874656e73696f6e732e66696c746572732e687474702e6c75612e76332e4c7561"
    "12471a391a372d2d206d746c732d72756c657320310a66756e6374696f6e20656e766f795f6f6e5f72657175657374286829"
    "20656e640a2d2d20c39c0a220a6d746c732d72756c6573223d747970652e676f6f676c65617069732e636f6d2f656e766f79"
    "2e636f6e6669672e636f72652e76332e5479706564457874656e73696f6e436f6e6669672a0137"
)
ACKNOWLEDGEMENT = (
    "0a027630127a0a0d73686f702f7765622d312f306612046d746c731a2f0a2d0a016112282a260a0e0a0162120911000000000"
    "000f83f0a140a0163120f320d0a0220010a0208000a031a017842040a0208014a2c0a16656e766f792e66696c746572732e68"
    "7474702e6c75611212656e766f792e66696c746572732e687474701a0a6d746c732d72756c6573223d747970652e676f6f676"
    "c65617069732e636f6d2f656e766f792e636f6e6669672e636f72652e76332e5479706564457874656e73696f6e436f6e6669"
    "672a0137"
)
REFUSAL = (
    "0a0276301a0a6d746c732d72756c65732a0138324a080d1246736372697074206c6f6164206572726f723a205b737472696e"
    "6720222d2d20782e2e2e225d3a323a20756e65787065637465642073796d626f6c206e65617220277468656e27"
)


def test_a_response_has_the_bytes_that_the_protobuf_library_writes() -> None:
    written = encode_response("mtls-rules", version="v1", script=SCRIPT) + encode_nonce("7")
    assert written.hex() == RESPONSE


def test_an_acknowledgement_that_the_protobuf_library_wrote_is_read() -> None:
    """It has a node with metadata, version and extensions, as Envoy's first message does."""
    assert decode_request(bytes.fromhex(ACKNOWLEDGEMENT)) == DiscoveryRequest(
        version="v0",
        node="shop/web-1/0f",
        names=("mtls-rules",),
        type_url=EXTENSION_TYPE,
        nonce="7",
        error=None,
    )


def test_a_refusal_that_the_protobuf_library_wrote_is_read() -> None:
    read = decode_request(bytes.fromhex(REFUSAL))
    assert read.error == "script load error: [string \"-- x...\"]:2: unexpected symbol near 'then'"
    assert (read.version, read.nonce, read.node) == ("v0", "8", "")


def test_a_refusal_without_a_message_is_still_a_refusal() -> None:
    assert decode_request(messages._field(6, b"\x08\x0d")).error == ""


def test_no_bytes_are_a_request_that_says_nothing() -> None:
    assert decode_request(b"") == DiscoveryRequest("", "", (), "", "", None)


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x78\x01" + b"\x7d\x00\x00\x00\x00" + b"\x79" + bytes(8) + messages._field(99, b"x")
    assert decode_request(unknown + messages._field(5, b"7")).nonce == "7"


def test_several_names_are_all_seen() -> None:
    data = messages._field(3, b"mtls-rules") + messages._field(3, b"*")
    assert decode_request(data).names == ("mtls-rules", "*")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x05abc", id="shorter than it says"),
        pytest.param(b"\x0a", id="a tag and nothing else"),
        pytest.param(b"\x79\x00", id="half a fixed64"),
        pytest.param(b"\x80", id="half a number"),
        pytest.param(b"\x08" + b"\xff" * 10 + b"\x01", id="a number of eleven bytes"),
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x7f", id="a number of more than 64 bits"),
        pytest.param(b"\xff\xff\xff\xff\x7f\x00", id="a field number out of range"),
        pytest.param(b"\x02\x00", id="field number zero"),
        pytest.param(b"\x0b", id="the start of a group"),
        pytest.param(b"\x0f", id="a wire type that does not exist"),
        pytest.param(b"\x08\x01", id="a number for the version"),
        pytest.param(b"\x0a\x02\xc3\x28", id="a version that is not UTF-8"),
        pytest.param(b"\x12\x02\x08\x01", id="a number for the node's id"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", id="a length of 64 bits"),
    ],
)
def test_bytes_that_are_no_request_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_request(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_request_or_malformed(data: bytes) -> None:
    try:
        decode_request(data)
    except MalformedMessage:
        return


@given(st.data())
def test_a_damaged_request_is_a_request_or_malformed(data: st.DataObject) -> None:
    good = bytearray(bytes.fromhex(data.draw(st.sampled_from([ACKNOWLEDGEMENT, REFUSAL]))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_request(bytes(good[: data.draw(st.integers(0, len(good)))]))
    except MalformedMessage:
        return


@given(st.text(max_size=50), st.text(max_size=50))
def test_what_is_written_is_what_is_read(version: str, nonce: str) -> None:
    read = decode_request(messages._field(1, version.encode()) + messages._field(5, nonce.encode()))
    assert (read.version, read.nonce) == (version, nonce)


def test_a_message_of_nothing_but_fields_is_given_up_early() -> None:
    """256 kB of two-byte fields must not cost the server's loop more than a moment."""
    with pytest.raises(MalformedMessage, match=str(MAX_FIELDS)):
        decode_request(b"\x78\x01" * 131_072)
    begin = time.process_time()
    with pytest.raises(MalformedMessage):
        decode_request(messages._field(2, b"\x78\x01" * 131_072))
    assert time.process_time() - begin < 0.1
