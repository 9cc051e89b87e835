"""Named lists: what a text holds, how rules use it, and what is wrong with one that cannot be read."""

import itertools
from ipaddress import ip_address

import pytest
from tests.unit.rules.machine import Machine

from mtls_operator.rules import (
    BrokenList,
    Code,
    Kind,
    ListError,
    NamedList,
    RequestError,
    RuleError,
    evaluate,
    parse,
    read_list,
    to_lua,
)

SHAPES = {
    "office": Kind.IP,
    "clients": Kind.BYTES,
    "ports": Kind.INT,
    "bad": BrokenList("line 3: no address"),
}


def failure(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse(text, lists=SHAPES)
    return caught.value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("plain", b"plain"),
        ("  two words\t", b"two words"),
        ("with # inside", b"with # inside"),
        ("CN=a,O=\u00e9", "CN=a,O=\u00e9".encode()),
        ('"# not a comment"', b"# not a comment"),
        ('" blank at the ends "', b" blank at the ends "),
        ('"a\\"b\\\\c"', b'a"b\\c'),
        (r'"\xff\x0a\000"', b"\xff\n\0"),
        ('""', b""),
        ("crlf\r", b"crlf"),
    ],
)
def test_a_line_is_a_string(line: str, value: bytes) -> None:
    assert read_list(Kind.BYTES, f"# first\n\n{line}\n").strings == {value}


def test_a_list_of_addresses_holds_networks_and_ranges() -> None:
    office = read_list(Kind.IP, "10.0.0.0/8 # all\n192.0.2.1..192.0.2.9\n#\n2001:db8::/32\n203.0.113.7\n")
    inside = ("10.0.0.0", "10.255.255.255", "192.0.2.1", "192.0.2.9", "2001:db8::", "203.0.113.7")
    outside = ("9.255.255.255", "11.0.0.0", "192.0.2.0", "192.0.2.10", "2001:db9::", "::a00:1", "203.0.113.8")
    assert [office.holds(ip_address(each)) for each in (*inside, *outside)] == [True] * 6 + [False] * 7


def test_a_list_of_integers_holds_ranges() -> None:
    ports = read_list(Kind.INT, "443 # https\n8000..8010\n0x10\n-3")
    assert [ports.holds(each) for each in (443, 8000, 8010, 16, -3)] == [True] * 5
    assert [ports.holds(each) for each in (442, 7999, 8011, 10, 3, b"443")] == [False] * 6


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Kind.IP, "10.0.0.1\n\n10.0.0.300", "line 3: this is not an IP address: '10.0.0.300'"),
        (
            Kind.IP,
            "10.0.0.1/8",
            "line 1: the address has bits set beyond the prefix length (the network is 10.0.0.0/8)",
        ),
        (Kind.IP, "10.0.0.1 10.0.0.2", "line 1: one item stands in a line"),
        (Kind.IP, "10.0.0.9..10.0.0.1", "line 1: the range is empty"),
        (Kind.IP, "#\n::ffff:10.0.0.1", "line 2: such a client is seen as 10.0.0.1"),
        (Kind.IP, "::ffff:10.0.0.0/104", "line 1: such a client is seen as 10.0.0.0"),
        (Kind.IP, "::ffff:10.0.0.1..::ffff:10.0.0.9", "line 1: such a client is seen as 10.0.0.1"),
        (Kind.IP, "a.example", "line 1: this is not an IP address"),
        (Kind.INT, "443\n0443", "line 2: a leading zero means octal"),
        (Kind.INT, "80-90", "line 1: this is not a range"),
        (Kind.INT, "9223372036854775808", "line 1: the integer does not fit 64 bits"),
        (Kind.INT, "https", "line 1: an integer is expected here"),
        (Kind.BYTES, 'a\n"b', "line 2: the closing quote is missing"),
        (Kind.BYTES, '"a" b', "line 1: something follows the closing quote"),
        (Kind.BYTES, r'"\d"', "line 1: only"),
        (Kind.BYTES, "\ud800", "not valid Unicode"),
        (Kind.BYTES, "x" * 1025, "line 1: longer than 1024 bytes"),
        (Kind.BYTES, "x\n" * 20_001, "line 20001: more than 20000 items"),
        (Kind.BYTES, "xxxxxxx\n" * 65_537, "longer than 524288 bytes"),
    ],
)
def test_a_mistake_is_named_with_its_line(kind: Kind, text: str, message: str) -> None:
    with pytest.raises(ListError) as caught:
        read_list(kind, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "same"),
    [
        (Kind.BYTES, "b\na\n", '# c\n"a"\n\nb\nb'),
        (Kind.IP, "10.0.0.0/24\n10.0.1.0/24\n::1", "::1\n10.0.0.0/23"),
        (Kind.INT, "3\n1\n2", "1..3"),
        (Kind.INT, "", "# nothing"),
    ],
)
def test_lists_are_equal_when_they_hold_the_same(kind: Kind, text: str, same: str) -> None:
    one, other = read_list(kind, text), read_list(kind, same)
    assert one == other
    assert one.text == other.text
    assert read_list(kind, one.text) == one
    assert one != read_list(kind, f"{text}\n77" if kind is not Kind.IP else f"{text}\n7.7.7.7")


def test_lists_of_different_kinds_are_never_equal() -> None:
    assert read_list(Kind.BYTES, "") != read_list(Kind.INT, "")


@pytest.mark.parametrize(
    "text", ["ip.src in $office", "http.host in $clients", "cf.edge.server_port in $ports"]
)
def test_the_preview_of_a_list_reads_as_the_same_tree(text: str) -> None:
    expression = parse(text, lists=SHAPES)
    assert expression.preview == text
    assert parse(expression.preview, lists=SHAPES).tree == expression.tree
    assert list(expression.lists) == [text.rpartition("$")[2]]


def test_a_list_that_is_not_there_is_refused_over_operator_and_name() -> None:
    error = failure("ip.src in $ofice and ssl")
    assert (error.code, error.span.start, error.span.end) == (Code.UNSUPPORTED_OP, 7, 16)
    assert error.hint == "did you mean $office?"


def test_a_list_that_is_not_there_is_described() -> None:
    error = failure("ip.src in $other_place")
    assert "ConfigMap named other-place with the label mtls-operator.dev/list" in (error.hint or "")


def test_a_managed_list_of_cloudflare_is_not_available() -> None:
    assert "not available in mTLS rules" in failure("ip.src in $cf.open_proxies").message


def test_a_list_of_another_kind_is_refused() -> None:
    error = failure("http.host in $office")
    assert (error.code, error.message) == (
        Code.UNSUPPORTED_OP,
        "the list $office holds items of type IP address, this is a String",
    )


def test_a_list_that_cannot_be_read_is_named_with_its_line() -> None:
    error = failure("ip.src in $bad")
    assert (error.code, error.message) == (Code.BAD_LIST, "the list $bad: line 3: no address")


def test_without_any_list_none_is_known() -> None:
    with pytest.raises(RuleError):
        parse("ip.src in $office")


def test_where_nothing_is_known_of_lists_every_name_is_taken_but_decides_nothing() -> None:
    expression = parse("ip.src in $whatever", lists=None)
    with pytest.raises(RequestError):
        evaluate(expression, {})
    with pytest.raises(KeyError):
        to_lua(expression).bound({})


def test_a_list_of_another_kind_than_was_compiled_for_is_never_put_in() -> None:
    code = to_lua(parse("ip.src in $office", lists=SHAPES))
    with pytest.raises(ValueError, match="list of"):
        code.bound({"office": read_list(Kind.BYTES, "10.0.0.1")})


HOSTILE = ['"', "]]", "\\", "a b", "a/b_c", "\n", "\0", "%s", "", "\t", "--"]


@pytest.mark.parametrize("count", range(len(HOSTILE) + 1))
def test_hostile_strings_stay_strings(machine: Machine, count: int) -> None:
    members = [text.encode() for text in HOSTILE[:count]]
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in member) + '"' for member in members)
    clients = read_list(Kind.BYTES, "\n".join(lines))
    rule = machine.load(to_lua(parse("http.host in $clients", lists=SHAPES)), {"clients": clients})
    for text in [*HOSTILE, "b", "a", "x"]:
        facts = machine.facts({"http.host": text})
        assert rule(machine.runtime, facts) is (text.encode() in members)


LARGE: dict[str, tuple[str, NamedList]] = {
    "clients": ("http.host", read_list(Kind.BYTES, "\n".join(f"client-{n}.example" for n in range(10_000)))),
    "ports": ("cf.edge.server_port", read_list(Kind.INT, "\n".join(map(str, range(0, 20_000, 2))))),
    "office": (
        "ip.src",
        read_list(
            Kind.IP, "\n".join(f"10.{n >> 8}.{n & 255}.0/25\n2001:db8:{2 * n:x}::/48" for n in range(5000))
        ),
    ),
}
PROBES: dict[str, list[object]] = {
    "http.host": ["client-0.example", "client-9999.example", "client-10000.example", "", "client"],
    "cf.edge.server_port": [0, 1, 2, 9999, 10_000, 19_998, 19_999, 20_000],
    "ip.src": [
        "10.0.0.0",
        "10.0.0.127",
        "10.0.0.128",
        "10.19.135.1",
        "10.19.136.1",
        "2001:db8:2::1",
        "2001:db8:3::",
        "::",
    ],
}


@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_list_is_small_and_right(machine: Machine, name: str) -> None:
    field, named = LARGE[name]
    lists = {name: named}
    expression = parse(f"{field} in ${name}", lists=SHAPES)
    code = to_lua(expression)
    assert len("".join(code.bound(lists))) < 450_000
    rule = machine.load(code, lists)
    results = set()
    for probe in PROBES[field]:
        expected = evaluate(expression, {field: probe}, lists=lists)
        assert rule(machine.runtime, machine.facts({field: probe})) is expected
        results.add(expected)
    assert results == {True, False}


@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_list_costs_few_steps_for_each_request(machine: Machine, name: str) -> None:
    """Lua's own instructions are counted: 5,000 ranges take no more than a binary search."""
    field, named = LARGE[name]
    rule = machine.load(to_lua(parse(f"{field} in ${name}", lists=SHAPES)), {name: named})
    count = machine.lua.eval(
        b"function(rule, rt, f) local n = 0; jit.off(); debug.sethook(function() n = n + 1 end, '', 1);"
        b" rule(rt, f); debug.sethook(); jit.on(); return n end"
    )
    steps = [count(rule, machine.runtime, machine.facts({field: probe})) for probe in PROBES[field]]
    assert 0 < max(steps) < 600


def test_a_list_over_each_element_and_over_missing_ones(machine: Machine) -> None:
    lists = {"clients": read_list(Kind.BYTES, "a\nb")}
    for text, values in itertools.product(
        [
            'any(http.request.headers["x"][*] in $clients)',
            'http.request.headers["x"][0] in $clients',
            'not http.request.headers["x"][1] in $clients',
            "lower(http.user_agent) in $clients",
        ],
        [[], ["a"], ["c", "b"]],
    ):
        expression = parse(text, lists=SHAPES)
        request = {"http.request.headers": {"x": values, "user-agent": ["B"]}}
        assert machine.run(to_lua(expression), request, lists) is evaluate(expression, request, lists=lists)


def test_a_byte_order_mark_is_no_part_of_the_first_item() -> None:
    assert read_list(Kind.BYTES, "\ufeffa\nb") == read_list(Kind.BYTES, "a\nb")
    assert read_list(Kind.IP, "\ufeff10.0.0.1").holds(ip_address("10.0.0.1"))
