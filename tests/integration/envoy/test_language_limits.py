"""The largest of everything that the language allows, in the real proxy: it loads, and decides as it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from tests.support.lab import HOST, Lab, next_epoch

from mtls_operator.api.names import RULES_FILTER
from mtls_operator.envoy import RuleScript, check_script, rules_script
from mtls_operator.rules import RUNTIME, Kind, NamedList, parse, read_list, to_lua

REFUSED = 418
PASSED = 200


def enforce(lab: Lab, texts: Sequence[str], lists: Mapping[str, NamedList] | None = None) -> str:
    """Answer with 418 whenever one of these expressions holds; return the script."""
    assert lab.operator is not None
    named = lists or {}
    rules = []
    for position, text in enumerate(texts):
        code = to_lua(parse(text, lists={name: each.kind for name, each in named.items()}))
        rules.append(RuleScript(f"rule-{position}", "block", code.bound(named), code.expression, REFUSED))
    script = rules_script(
        epoch=next_epoch(),
        hostnames=lab.rules.hostnames,
        issuers=lab.rules.issuers,
        rules=rules,
        reads_certificate=False,
        forward=["xfcc"],
        runtime=RUNTIME,
        mounted=lab.site.placement.rules_file,
    )
    check_script(script)
    lab.operator.push(RULES_FILTER, script)
    return script


def statuses(lab: Lab, *targets: str) -> list[int]:
    with lab.http1() as client:
        return [client.get(target, HOST).status for target in targets]


def padded(text: str) -> str:
    """Return the expression at exactly 4,096 characters."""
    filler = 'http.request.uri.path eq "'
    return f'{text} or {filler}{"x" * (4096 - len(text) - len(" or ") - len(filler) - 1)}"'


def test_an_expression_of_4096_characters(lab: Lab) -> None:
    text = padded('http.request.uri.path eq "/longest"')
    assert len(text) == 4096
    enforce(lab, [text])
    assert statuses(lab, "/longest", "/other") == [REFUSED, PASSED]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 128 + 'http.request.uri.path eq "/deep"' + ")" * 128,
        "!" * 128 + 'http.request.uri.path eq "/deep"',
        "concat(" * 128 + "http.request.uri.path" + ', "")' * 128 + ' eq "/deep"',
        "(false or " * 128 + 'http.request.uri.path eq "/deep"' + ")" * 128,
        "any(" + "not " * 126 + 'split(http.request.uri.path, ",", 1)[*] eq "/deep")',
    ],
    ids=["parentheses", "negations", "calls", "chains", "elements"],
)
def test_128_levels(lab: Lab, text: str) -> None:
    enforce(lab, [text])
    assert statuses(lab, "/deep", "/other") == [REFUSED, PASSED]


def test_64_regular_expressions(lab: Lab) -> None:
    enforce(
        lab, [" or ".join(f'http.request.uri.path matches "^/v{n}/[a-z]+/[0-9]{{1,4}}$"' for n in range(64))]
    )
    assert (
        statuses(lab, "/v0/a/1", "/v63/abc/1234", "/v64/a/1", "/v63/abc/12345")
        == [REFUSED] * 2 + [PASSED] * 2
    )


def test_a_regular_expression_with_the_largest_table(lab: Lab) -> None:
    enforce(lab, ['http.request.uri.query matches "^x{1000}$"'])
    assert statuses(lab, "/?" + "x" * 1000, "/?" + "x" * 999) == [REFUSED, PASSED]


def test_a_thousand_rules(lab: Lab) -> None:
    script = enforce(
        lab,
        [
            'http.request.uri.path matches "^/api/[a-z]+$" and http.request.uri.query eq "never"'
            f' or http.request.uri.path in {{"/rule/{n}"}}'
            for n in range(1000)
        ],
    )
    assert len(script) < 300_000
    assert statuses(lab, "/rule/0", "/rule/999", "/rule/1000", "/api/x?never") == [
        REFUSED,
        REFUSED,
        PASSED,
        REFUSED,
    ]


def test_the_largest_lists(lab: Lab) -> None:
    paths = read_list(Kind.BYTES, "\n".join(f"/path/{n}" for n in range(10_000)))
    numbers = read_list(Kind.INT, "\n".join(map(str, range(1, 20_000, 2))))
    networks = [f"10.{n >> 8}.{n & 255}.0/25" for n in range(5000)]
    elsewhere = read_list(Kind.IP, "\n".join(networks))
    here = read_list(Kind.IP, "\n".join([*networks, "127.0.0.1"]))
    lists = {"paths": paths, "numbers": numbers, "elsewhere": elsewhere, "here": here}
    enforce(
        lab,
        [
            "http.request.uri.path in $paths",
            "len(http.request.uri.query) in $numbers and ip.src in $here",
            "ip.src in $elsewhere",
        ],
        lists,
    )
    targets = ("/path/0", "/path/9999", "/path/10000", "/?x", "/?xx")
    assert statuses(lab, *targets) == [REFUSED, REFUSED, PASSED, REFUSED, PASSED]


def test_a_changed_list_counts_on_an_open_connection(lab: Lab) -> None:
    with lab.http2() as client:
        for items, expected in (("/a", REFUSED), ("/b", PASSED), ("/b\n/a", REFUSED), ("", PASSED)):
            enforce(lab, ["http.request.uri.path in $paths"], {"paths": read_list(Kind.BYTES, items)})
            assert client.get("/a", HOST).status == expected


def test_json_in_a_header_is_looked_up(lab: Lab) -> None:
    enforce(lab, ['lookup_json_string(http.request.headers["x-context"][0], "roles", 1) eq "admin"'])
    with lab.http1() as client:
        for value, expected in (
            ('{"roles": ["user", "admin"]}', REFUSED),
            ('{"roles": ["admin", "user"]}', PASSED),
            ('{"roles": ["user", "admin"]', PASSED),
        ):
            assert client.get("/", HOST, [("x-context", value)]).status == expected
