"""MTLSRule: what its parser makes of a body, and how its spec is stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.meta import Meta
from mtls_operator.api.rule import (
    Match,
    Response,
    Rule,
    RuleAction,
    parse_rule,
    parse_rule_spec,
    rule_spec_document,
)

META = Meta("shop", "admin")


def body(**spec: object) -> dict[str, object]:
    return {"metadata": {"namespace": "shop", "name": "admin"}, "spec": spec}


def refusal(**spec: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as refused:
        parse_rule(body(**spec))
    return refused.value


def test_the_least_rule_gets_every_default() -> None:
    assert parse_rule(body(match={"paths": ["/admin"]})) == Rule(
        meta=META,
        match=Match(paths=("/admin",), path_prefixes=(), hostnames=(), allow_revoked=False),
        expression=None,
        host_names=(),
        action=RuleAction.BLOCK,
        response=Response(403, "application/json", None),
        priority=1000,
        enabled=True,
        status={},
    )


def test_every_field_of_the_simple_form_is_read() -> None:
    rule = parse_rule(
        body(
            hostRefs=[{"name": "api"}, {"name": "shop"}],
            match={
                "paths": ["/admin"],
                "pathPrefixes": ["/admin/"],
                "hostnames": ["api.example.com"],
                "allowRevoked": True,
            },
            action="Block",
            response={"statusCode": 401, "contentType": "text/plain", "body": "no"},
            priority=5,
            enabled=False,
        )
    )
    assert rule == Rule(
        meta=META,
        match=Match(("/admin",), ("/admin/",), ("api.example.com",), allow_revoked=True),
        host_names=("api", "shop"),
        response=Response(401, "text/plain", "no"),
        priority=5,
        enabled=False,
    )


def test_an_expression_is_kept_as_written() -> None:
    assert parse_rule(body(expression=' ssl\nand "ü" eq "ü"')).expression == ' ssl\nand "ü" eq "ü"'


@pytest.mark.parametrize(
    "spec", [{}, {"match": {}, "expression": "ssl"}, {"match": None, "expression": None}]
)
def test_exactly_one_form_is_wanted(spec: dict[str, object]) -> None:
    assert refusal(**spec).path == "spec"


def test_an_empty_match_covers_everything() -> None:
    assert parse_rule(body(match={})).match == Match()


@pytest.mark.parametrize("action", ["Log", "Skip"])
def test_an_action_that_answers_nothing_has_no_response(action: str) -> None:
    assert refusal(match={}, action=action, response={}).path == "spec.response"


@pytest.mark.parametrize(
    "path",
    [
        "admin",
        "",
        "/a?b",
        "/a#b",
        "//a",
        "/a//b",
        "/./a",
        "/a/..",
        "/a/../b",
        "/a/.",
        "/%61dmin",
        "/a\\b",
        "/a b",
        "/ä",
        "/a\n",
    ],
)
def test_a_path_that_no_normalised_request_has_is_refused_because_it_would_block_nothing(path: str) -> None:
    assert refusal(match={"paths": [path]}).path == "spec.match.paths[0]"


@pytest.mark.parametrize("prefix", ["/", "/.", "/.git", "/a;b", "/~user/"])
def test_a_prefix_may_end_within_a_segment(prefix: str) -> None:
    match = parse_rule(body(match={"pathPrefixes": [prefix]})).match
    assert match == Match(path_prefixes=(prefix,))


def test_a_wildcard_hostname_is_refused_because_it_would_be_compared_as_text() -> None:
    assert refusal(match={"hostnames": ["*.example.com"]}).path == "spec.match.hostnames[0]"


@pytest.mark.parametrize("code", [399, 500, 200, "403", 403.0])
def test_an_answer_that_is_no_refusal_is_refused(code: object) -> None:
    assert refusal(match={}, response={"statusCode": code}).path == "spec.response.statusCode"


def test_a_body_is_limited_in_bytes_and_not_in_characters() -> None:
    assert parse_rule(body(match={}, response={"body": "ü" * 1024})).response.body == "ü" * 1024
    assert refusal(match={}, response={"body": "ü" * 1025}).path == "spec.response.body"


@pytest.mark.parametrize(
    "content_type", ["json", "text/plain\r\nset-cookie: a=b", "text/plain\n", "", "text/pläin"]
)
def test_a_content_type_cannot_smuggle_a_header(content_type: str) -> None:
    refused = refusal(match={}, response={"contentType": content_type, "body": "x"})
    assert refused.path == "spec.response.contentType"


def test_a_text_in_another_form_than_json_needs_a_body_of_its_own() -> None:
    assert refusal(match={}, response={"contentType": "text/plain"}).path == "spec.response.body"


def test_rules_sort_by_priority_and_then_by_name() -> None:
    first, second, third = (
        parse_rule(
            {"metadata": {"namespace": "shop", "name": name}, "spec": {"match": {}, "priority": priority}}
        )
        for name, priority in (("z", 1), ("a", 2), ("b", 2))
    )
    assert sorted([third, second, first], key=lambda rule: rule.order) == [first, second, third]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_FORMS = st.one_of(
    st.builds(
        lambda paths, flag: {
            "match": Match(paths=tuple(paths), path_prefixes=tuple(paths), allow_revoked=flag)
        },
        st.lists(st.sampled_from(["/admin", "/", "/a;b"]), unique=True),
        st.booleans(),
    ),
    st.builds(lambda text: {"expression": text}, _TEXT.filter(bool)),
)
_ANSWERS = st.one_of(
    st.builds(
        lambda code, text: {"response": Response(code, "text/plain; charset=utf-8", text)},
        st.integers(400, 499),
        _TEXT,
    ),
    st.builds(lambda action: {"action": action}, st.sampled_from(RuleAction)),
)


@given(
    form=_FORMS,
    answer=_ANSWERS,
    hosts=st.lists(st.sampled_from(["api", "shop"]), unique=True),
    priority=st.integers(0, 1_000_000),
    enabled=st.booleans(),
)
def test_the_stored_form_is_json_that_reads_back_as_the_same_rule(
    form: dict[str, object], answer: dict[str, object], hosts: list[str], priority: int, *, enabled: bool
) -> None:
    arguments = {**form, **answer}
    rule = Rule(meta=META, host_names=tuple(hosts), priority=priority, enabled=enabled, **arguments)  # type: ignore[arg-type]  # drawn to fit
    stored = json.loads(json.dumps(rule_spec_document(rule)))
    assert parse_rule_spec(stored, meta=META) == rule


def test_the_stored_form_spells_out_every_default_that_decides_so_that_other_defaults_change_nothing() -> (
    None
):
    assert rule_spec_document(parse_rule(body(match={}))) == {
        "hostRefs": [],
        "match": {"paths": [], "pathPrefixes": [], "hostnames": [], "allowRevoked": False},
        "action": "Block",
        "response": {"statusCode": 403, "contentType": "application/json"},
        "priority": 1000,
        "enabled": True,
    }
