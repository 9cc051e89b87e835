"""Looking up in JSON: the same in the reference and in the generated code, and nothing at all in what is no JSON."""

import time

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import evaluate, parse, to_lua

DOCUMENT = (
    ' {"a": "x", "n": -12, "list": [1, "two", {"deep": [["y"]]}], "esc": "\\u00e9\\n\\"\\ud83d\\ude00\\/",'
    ' "f": 1.0, "e": 1e3, "t": true, "z": null, "neg0": -0,'
    ' "big": 9007199254740991, "bigger": 9007199254740992, "biggest": 9007199254740993,'
    ' "": "empty", "0": "name", "twice": "first", "twice": "last", "é": "ü"}\t\r\n'
)
STRINGS = {
    '"a"': "x",
    '"list", 1': "two",
    '"list", 2, "deep", 0, 0': "y",
    '"esc"': 'é\n"😀/',
    '""': "empty",
    '"0"': "name",
    '"twice"': "last",
    '"é"': "ü",
}
INTEGERS = {'"n"': -12, '"list", 0': 1, '"big"': 2**53 - 1}
NOTHING = [
    '"n"',
    '"b"',
    '"list"',
    '"list", 3',
    '"list", "1"',
    '"list", -1',
    "0",
    '"a", "b"',
    '"a", 0',
    '"t"',
    '"z"',
    '"list", 0, 0',
]
NO_INTEGER = ['"a"', '"f"', '"e"', '"t"', '"z"', '"neg0"', '"bigger"', '"biggest"', '"list", 1', '"list"']


def found(machine: Machine, document: object, text: str) -> bool:
    """Evaluate in both ways, which must agree."""
    expression = parse(text)
    request = {"http.user_agent": document}
    result = evaluate(expression, request)
    assert machine.run(to_lua(expression), request) is result
    return result


@pytest.mark.parametrize("path", STRINGS)
def test_a_string_is_found_by_names_and_positions(machine: Machine, path: str) -> None:
    wanted = "".join(f"\\x{byte:02x}" for byte in STRINGS[path].encode())
    assert found(machine, DOCUMENT, f'lookup_json_string(http.user_agent, {path}) eq "{wanted}"')
    assert not found(machine, DOCUMENT, f"lookup_json_integer(http.user_agent, {path}) in {{0..9}}")


@pytest.mark.parametrize("path", INTEGERS)
def test_a_plain_integer_is_found(machine: Machine, path: str) -> None:
    assert found(machine, DOCUMENT, f"lookup_json_integer(http.user_agent, {path}) eq {INTEGERS[path]}")


@pytest.mark.parametrize("path", NOTHING)
def test_what_is_no_string_is_missing(machine: Machine, path: str) -> None:
    assert not found(machine, DOCUMENT, f'lookup_json_string(http.user_agent, {path}) contains ""')


@pytest.mark.parametrize("path", NO_INTEGER)
def test_what_is_no_plain_integer_is_missing(machine: Machine, path: str) -> None:
    assert not found(
        machine,
        DOCUMENT,
        f"len(concat(http.host, http.host)) ge 0 and lookup_json_integer(http.user_agent, {path}) le {2**63 - 1}",
    )


BAD = [
    "", " ", "{", '{"a"', '{"a":', '{"a":"x"', '{"a":"x",}', '{"a":"x"}}', '{"a":"x"} x', '{"a":"x",,"b":1}',
    "{'a':'x'}",
    '{"a":"x" "b":1}', '{"a":"x","b":01}', '{"a":"x","b":+1}', '{"a":"x","b":1.}', '{"a":"x","b":.5}',
    '{"a":"x","b":1e}',
    '{"a":"x","b":-}', '{"a":"x","b":tru}', '{"a":"x","b":True}', '{"a":"x","b":NaN}', '{"a":"x","b":-Infinity}',
    '{"a":"x","b":[1,]}', '{"a":"x","b":[1 2]}', '{"a":"x","b":"\n"}', '{"a":"x","b":"\0"}', '{"a":"x","b":"\\x"}',
    '{"a":"x","b":"\\u12"}', '{"a":"x","b":"\\ud800"}', '{"a":"x","b":"\\ud800\\u0041"}', '{"a":"x","b":"\\udc00"}',
    '{"a":"x","\\ud800":1}', '{"a":"x",b:1}', '{"a":"x"/**/}', '\ufeff{"a":"x"}', '{"a":"x"}\f', '\xa0{"a":"x"}',
    '{"a":"x","b":0x10}', '{"a":"x","b":1_0}', '{"a":"x","b":--1}', '{"a":"x",1:1}', '{"a":"x","b":"\\', '["a":"x"]',
    '{"a":"x","b":' + "[" * 128 + "]" * 128 + "}",
    '{"a":"x","b":' + "[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("document", BAD, ids=range(len(BAD)))
def test_in_what_is_no_json_everything_is_missing(machine: Machine, document: str) -> None:
    assert not found(machine, document, 'lookup_json_string(http.user_agent, "a") eq "x"')


@pytest.mark.parametrize(
    "tail", ["ff", "80", "c080", "c3", "e08080", "eda080", "f4908080", "f08080", "f8888080"]
)
def test_text_that_is_no_utf_8_is_no_json(machine: Machine, tail: str) -> None:
    document = {"hex": b'{"a":"x","b":"'.hex() + tail + b'"}'.hex()}
    assert not found(machine, document, 'lookup_json_string(http.user_agent, "a") eq "x"')


@pytest.mark.parametrize("tail", ["7f", "c280", "e0a080", "ed9fbf", "ee8080", "f0908080", "f48fbfbf"])
def test_every_character_is_read(machine: Machine, tail: str) -> None:
    document = {"hex": b'{"a":"'.hex() + tail + b'"}'.hex()}
    wanted = "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(tail))
    assert found(machine, document, f'lookup_json_string(http.user_agent, "a") eq "{wanted}"')


def test_the_deepest_nesting_is_read(machine: Machine) -> None:
    document = "[" * 128 + '"x"' + "]" * 128
    assert found(machine, document, f'lookup_json_string(http.user_agent, {", ".join("0" * 31)}) ne "y"')
    assert found(
        machine,
        '{"a":"x","b":' + "[" * 127 + "]" * 127 + "}",
        'lookup_json_string(http.user_agent, "a") eq "x"',
    )


def test_a_key_can_be_a_field_and_a_missing_one_finds_nothing(machine: Machine) -> None:
    assert found(machine, '{"GET":"x"}', 'lookup_json_string(http.user_agent, http.request.method) eq "x"')
    missing = 'lookup_json_string(http.user_agent, http.request.headers["nope"][0])'
    assert not found(machine, '{"GET":"x"}', f'{missing} contains ""')


def test_each_header_can_be_looked_at(machine: Machine) -> None:
    text = 'any(lookup_json_string(http.request.headers["x"][*], "role")[*] eq "admin")'
    for values, expected in ((['{"role":"user"}', "no", '{"role":"admin"}'], True), (['{"role":1}'], False)):
        expression = parse(text)
        request = {"http.request.headers": {"x": values}}
        assert evaluate(expression, request) is expected
        assert machine.run(to_lua(expression), request) is expected


@pytest.mark.parametrize("piece", ['{"a":', "[", '"\\u0041', "é", "1,", '{"a":1,"a":', " "])
def test_hostile_documents_take_linear_time(machine: Machine, piece: str) -> None:
    rule = machine.load(to_lua(parse('lookup_json_string(http.user_agent, "a") eq "x"')))
    facts = machine.facts({"http.user_agent": piece * (120_000 // len(piece))})
    started = time.process_time()
    assert rule(machine.runtime, facts) is False
    assert time.process_time() - started < 2
