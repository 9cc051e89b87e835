"""The Lua runtime by itself: what it computes, and that no request makes it slow."""

import time
from base64 import b64encode

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import evaluate, parse, to_lua

PATH = "http.request.uri.path"


def agrees(machine: Machine, text: str, request: dict[str, object]) -> bool:
    """Return what an expression yields, in both engines."""
    expression = parse(text)
    result = evaluate(expression, request)
    assert machine.run(to_lua(expression), request) is result
    return result


@pytest.mark.parametrize("start", [-9, -3, -2, -1, 0, 1, 2, 3, 9, 2**62, -(2**62)])
@pytest.mark.parametrize("end", [None, -9, -3, -1, 0, 1, 2, 3, 9, 2**62, -(2**62)])
def test_a_substring_is_cut_at_the_ends_of_the_value(machine: Machine, start: int, end: int | None) -> None:
    ends = "" if end is None else f", {end}"
    expected = "abc"[start:end]
    assert agrees(machine, f'substring({PATH}, {start}{ends}) eq "{expected}"', {PATH: "abc"})


@pytest.mark.parametrize(
    ("value", "options", "decoded"),
    [
        ("a%2Bb+c", "", "a+b c"),
        ("a%2Bb", "r", "a b"),
        ("%25%34%31", "", "%41"),
        ("%25%34%31", "r", "A"),
        ("%2%35%34%31", "r", "A"),
        ("%u0041%41", "", "%u0041A"),
        ("%u0041%41", "u", "AA"),
        ("%u20AC%uD800%u00", "u", "€%uD800%u00"),
        ("%%%4%", "ru", "%%%4%"),
        ("%u00%410", "ru", "\u00a0"),
        ("%41B%4", "u", "AB%4"),
    ],
)
def test_a_value_is_decoded(machine: Machine, value: str, options: str, decoded: str) -> None:
    argument = f', "{options}"' if options else ""
    assert agrees(machine, f'url_decode({PATH}{argument}) eq "{decoded}"', {PATH: value})


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 20, 24, 31, 32, 64, 65, 127, 128])
@pytest.mark.parametrize(
    "address", ["255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "10.1.2.3"]
)
def test_a_network_has_no_bits_beyond_its_length(machine: Machine, bits: int, address: str) -> None:
    for text in (f"cidr(ip.src, {min(bits, 32)}, {bits})", f"cidr6(ip.src, {bits})"):
        for wanted in ("10.0.0.0/8", "255.255.0.0/16", "ffff::/16", "8000::/1"):
            agrees(machine, f"{text} in {{{wanted}}}", {"ip.src": address})


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1, -(2**63)])
@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_number_that_no_double_holds_compares_as_it_should(
    machine: Machine, number: int, operator: str
) -> None:
    for value in (0, 443, 2**53 - 1):
        agrees(machine, f"cf.edge.server_port {operator} {number}", {"cf.edge.server_port": value})
        agrees(
            machine,
            f"cf.edge.server_port in {{{min(number, 0)}..{max(number, 0)}}}",
            {"cf.edge.server_port": value},
        )


def test_the_elements_of_a_map_come_in_the_order_of_its_keys(machine: Machine) -> None:
    for count in (0, 1, 2, 3, 5, 8, 17, 100):
        names = [f"{(n * 37) % 101:03}" for n in range(count)]
        request: dict[str, object] = {"http.request.headers": {name: [name] for name in names}}
        for position, name in enumerate(sorted(names)):
            text = f'lower(http.request.headers[*][*])[{position}] eq "{name}"'
            assert agrees(machine, text, request)


@pytest.mark.parametrize("length", range(9))
def test_base64_is_decoded_with_and_without_padding(machine: Machine, length: int) -> None:
    value = bytes(range(250, 256)) + bytes(range(length))
    for text in (b64encode(value), b64encode(value).rstrip(b"=")):
        wanted = "".join(f"\\x{byte:02x}" for byte in value)
        assert agrees(machine, f'decode_base64({PATH}) eq "{wanted}"', {PATH: text.decode()})


@pytest.mark.parametrize(
    "text", ["=", "a", "a=", "ab=", "abc==", "abcd=", "ab-_", "ab cd", "ab\n", "a=bc", "===="]
)
def test_what_is_no_base64_is_missing(machine: Machine, text: str) -> None:
    assert not agrees(machine, f'decode_base64({PATH}) contains ""', {PATH: text})
    assert agrees(machine, f'decode_base64({PATH}) ne "x"', {PATH: text})


SLOW = {
    "many arguments": ('any(http.request.uri.args[*][*] eq "x")', "&".join(f"{n}=1" for n in range(10_000))),
    "sorted arguments": (
        'all(http.request.uri.args[*][0] eq "1")',
        "&".join(f"{n:05}=1" for n in range(10_000)),
    ),
    "nested escapes": ('url_decode(http.request.uri.query, "ru") eq "x"', "%" + "25" * 30_000),
    "escapes of letters": ('url_decode(http.request.uri.query, "ru") eq "x"', "%u0025u0025" * 5_000),
    "long base64": ('decode_base64(http.request.uri.query) eq "x"', "A" * 60_000),
    "many parts": ('join(http.request.uri.args.names, "") eq "x"', "a&" * 20_000),
    "few bytes kept": ('remove_bytes(http.request.uri.query, "ab") eq "x"', "ab" * 30_000),
}


@pytest.mark.parametrize("story", SLOW)
def test_no_request_takes_long(machine: Machine, story: str) -> None:
    text, query = SLOW[story]
    rule = machine.load(to_lua(parse(text)))
    facts = machine.facts({"http.request.uri.query": query})
    started = time.process_time()
    rule(machine.runtime, facts)
    assert time.process_time() - started < 0.3
