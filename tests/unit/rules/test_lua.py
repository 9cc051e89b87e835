"""The generated Lua: nothing of the user's text becomes code, and LuaJIT loads whatever the limits allow."""

import itertools

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import GENERATED_LIMITS, LuaCode, evaluate, lua_string, parse, to_lua

BYTES = [bytes([value]) for value in range(256)]


@pytest.mark.parametrize("value", [*BYTES, bytes(range(256)), b"1" + b"\0" + b"1", b""], ids=repr)
def test_a_string_literal_is_exactly_its_bytes(value: bytes, machine: Machine) -> None:
    assert machine.lua.execute(b"return " + lua_string(value).encode("ascii")) == value


def test_a_string_literal_holds_only_harmless_characters() -> None:
    harmless = set('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _/.-\\"')
    assert set(lua_string(bytes(range(256)))) == harmless
    assert lua_string(bytes(range(256))).count('"') == 2


@pytest.mark.parametrize(
    "value",
    [
        '"',
        '"]',
        "]]",
        '" .. os.exit() .. "',
        "\\",
        '\\"',
        "--",
        "\n",
        "\r",
        "\0",
        "%s",
        "K[1]",
        "é",
        "\u2028",
    ],
)
def test_hostile_text_stays_text(value: str, machine: Machine) -> None:
    quoted = "".join(f"\\x{byte:02x}" for byte in value.encode())
    for relation in (f'eq "{quoted}"', f'in {{"{quoted}"}}', f'contains "{quoted}"'):
        code = to_lua(parse(f"http.request.uri.path {relation}"))
        assert machine.run(code, {"http.request.uri.path": value}) is True
        assert machine.run(code, {"http.request.uri.path": "/"}) is False
        assert "\n" not in "".join((*code.constants, code.expression))
        assert "\0" not in "".join((*code.constants, code.expression))


def test_strings_are_ordered_by_unsigned_bytes(machine: Machine) -> None:
    below = machine.lua.eval(b"function(a, b) return a < b end")
    samples = [
        *BYTES[:3],
        *BYTES[60:68],
        *BYTES[94:100],
        *BYTES[126:130],
        *BYTES[254:],
        b"",
        b"\0\0",
        b"a\0",
        b"a\xff",
    ]
    for left, right in itertools.product(samples, repeat=2):
        assert below(left, right) is (left < right)


def test_all_bytes_are_ordered_by_their_value(machine: Machine) -> None:
    below = machine.lua.eval(b"function(a, b) return a < b end")
    assert all(
        below(low, high) is True and below(high, low) is False for low, high in itertools.pairwise(BYTES)
    )


def test_folding_knows_ascii_letters_only(machine: Machine) -> None:
    fits = machine.runtime[b"wildcard"]
    for value in BYTES:
        assert fits(value, machine.lua.table(value.lower())) is True
    assert fits("É".encode(), machine.lua.table("é".encode())) is False


@pytest.mark.parametrize("value", ["a.c", "a%dc", "a[b]c", "a-c", "^a", "a$", "(a)", "%"])
def test_lua_patterns_have_no_meaning(value: str, machine: Machine) -> None:
    code = to_lua(
        parse(f'http.request.uri.path wildcard "*{value}*" and http.request.uri.path contains "{value}"')
    )
    assert machine.run(code, {"http.request.uri.path": f"/{value}/"}) is True
    assert machine.run(code, {"http.request.uri.path": "/abc/a1c/"}) is False


def test_a_set_is_one_table_lookup(machine: Machine) -> None:
    members = " ".join(f'"/{number}"' for number in range(5000))
    code = to_lua(parse(f"http.request.uri.path in {{{members}}}", limits=GENERATED_LIMITS))
    assert code.expression == '(K[1][f["http.request.uri.path"]] == true)'
    assert machine.run(code, {"http.request.uri.path": "/4999"}) is True
    assert machine.run(code, {"http.request.uri.path": "/5000"}) is False


def test_equal_sets_share_a_constant() -> None:
    code = to_lua(parse('http.host in {"b" "a"} or http.request.uri.path in {"a" "b" "a"}'))
    assert code.constants == ('{["a"]=true,["b"]=true}',)


def test_overlapping_address_ranges_are_merged() -> None:
    code = to_lua(parse("ip.src in {10.0.0.0/24 10.0.1.0/24 10.0.0.7 ::1}"))
    assert code.constants == (
        '{[4]={"\\010\\000\\000\\000","\\010\\000\\001\\255"},[16]={'
        + ",".join([lua_string(bytes(15) + b"\1")] * 2)
        + "}}",
    )


def test_many_address_ranges_are_searched_correctly(machine: Machine) -> None:
    members = " ".join(f"10.{number}.0.1..10.{number}.0.9" for number in range(0, 256, 2))
    code = to_lua(parse(f"ip.src in {{{members}}}", limits=GENERATED_LIMITS))
    for second, last in itertools.product((0, 1, 2, 127, 128, 254, 255), (0, 1, 5, 9, 10)):
        expected = second % 2 == 0 and 1 <= last <= 9
        assert machine.run(code, {"ip.src": f"10.{second}.0.{last}"}) is expected


DEEP = [
    "(" * 128 + "ssl" + ")" * 128,
    "!" * 128 + "ssl",
    "!(" * 64 + "ssl" + ")" * 64,
    "false or ssl xor false and (" * 100 + "ssl" + ")" * 100,
    "ssl and not (" * 64 + "ssl" + ")" * 64,
    " or ".join(["false"] * 450 + ["ssl"]),
    " xor ".join(["ssl"] * 455),
    " and ".join(['http.host ne ""'] * 200),
    "true xor not (" * 60 + "ssl" + ")" * 60,
]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_the_deepest_expressions_load_and_agree(text: str, machine: Machine) -> None:
    expression = parse(text)
    code = to_lua(expression)
    for encrypted in (True, False):
        request = {"ssl": encrypted}
        assert machine.run(code, request) is evaluate(expression, request)


NAMES = "http.request.headers.names[*]"
LARGE = [
    "any((" + " or ".join([f'{NAMES} eq "x"'] * 90) + "))",
    "any(" + "not " * 120 + f'{NAMES} eq "x")',
    "any((" + f'not ({NAMES} eq "x" xor {NAMES} contains "" and (' * 30 + f'{NAMES} ne ""' + "))" * 30 + "))",
    "any((" + " xor ".join(f'{NAMES} contains "{n}"' for n in range(80)) + "))",
    "concat(" * 120 + "http.host" + ', "a")' * 120 + ' ne "x"',
    "concat(" + ", ".join(["http.host"] * 32) + ') ne "x"',
    " and ".join(f'http.request.headers["x"][0] ne "{n}"' for n in range(90)),
    " or ".join(f'http.host matches "a.{{7}}b{n}"' for n in range(3)),
]


@pytest.mark.parametrize("text", LARGE, ids=range(len(LARGE)))
def test_the_largest_expressions_over_arrays_load_and_agree(text: str, machine: Machine) -> None:
    expression = parse(text)
    code = to_lua(expression)
    for values in ([], ["1"], ["1", ""]):
        request = {"http.request.headers": {"x": values} if values else {}, "http.host": "a12345678b7"}
        assert machine.run(code, request) is evaluate(expression, request)


def test_a_chain_that_no_call_could_hold_loads_and_agrees(machine: Machine) -> None:
    text = "any((" + " or ".join([f'{NAMES} eq "x"'] * 450) + "))"
    expression = parse(text, limits=GENERATED_LIMITS)
    assert machine.run(to_lua(expression), {"http.request.headers": {"x": ["1"]}}) is True


def test_constants_need_nothing_around_them(machine: Machine) -> None:
    code = to_lua(parse('not (http.host in {"a"} or ssl and (' * 40 + 'http.host wildcard "*"' + "))" * 40))
    assert any(constant.startswith("function") for constant in code.constants)
    for constant in code.constants:
        machine.lua.execute(b"local K, f, rt = nil, nil, nil; return " + constant.encode("ascii"))


def test_the_same_text_gives_the_same_code() -> None:
    text = 'http.host in {"b" "a"} and (ip.src in {::1 10.0.0.1} xor http.host wildcard "a*")'
    assert to_lua(parse(text)) == to_lua(parse(text))
    assert to_lua(parse(text)) == LuaCode(
        constants=(
            '{["a"]=true,["b"]=true}',
            '{[4]={"\\010\\000\\000\\001","\\010\\000\\000\\001"},[16]={'
            + ",".join([lua_string(bytes(15) + b"\1")] * 2)
            + "}}",
            '{"a",""}',
        ),
        expression=(
            '((K[1][f["http.host"]] == true) and '
            '(rt.in_ranges(f["ip.src"], K[2]) ~= rt.wildcard(f["http.host"], K[3])))'
        ),
    )


def test_a_wildcard_with_many_stars_stays_fast(machine: Machine) -> None:
    pattern = "*a" * 1000 + "*b"
    expression = parse(f'http.request.uri.path wildcard "{pattern}"')
    request = {"http.request.uri.path": "a" * 8000}
    assert machine.run(to_lua(expression), request) is False
    assert evaluate(expression, request) is False
