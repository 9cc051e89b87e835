"""``kubectl mtls rule check``: the verdict of the operator, at the desk."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.support.builders import certificate, rule
from tests.unit.cli.terminal import run

from mtls_operator.rules import RuleError, parse

ROOT = Path(__file__).parents[3]
GOOD = "not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked"
BAD = 'http.host = "a"'


def written(folder: Path, *bodies: dict[str, object], name: str = "rules.yaml") -> str:
    file = folder / name
    file.write_text(yaml.safe_dump_all(bodies))
    return str(file)


def test_an_accepted_expression_is_shown_with_what_it_means() -> None:
    ended = run("rule", "check", GOOD)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "the expression: accepted",
        "  means",
        "    ((not cf.tls_client_auth.cert_verified) or cf.tls_client_auth.cert_revoked)",
        "  yields Boolean, reads",
        "    cf.tls_client_auth.cert_revoked   Boolean",
        "    cf.tls_client_auth.cert_verified  Boolean",
        "  uses",
        "    71 of 4096 characters, 1 of 128 levels of nesting, 0 of 64 regular expressions",
    ]


def test_a_refused_expression_is_shown_as_everywhere_with_a_caret() -> None:
    with pytest.raises(RuleError) as caught:
        parse(BAD)
    ended = run("rule", "check", BAD)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines() == [
        "the expression: refused",
        *(f"  {line}" for line in caught.value.display().splitlines()),
    ]


def test_a_warning_has_its_place_and_does_not_refuse() -> None:
    ended = run("rule", "check", 'http.host in {"*.example.com"}')
    assert ended.code == 0
    assert "accepted, with 1 warning\n" in ended.out
    assert "line 1, column 14: '*'" in ended.out
    assert f"\n{' ' * 17}{'^' * 17}\n" in ended.out


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("ssl", 0),
        ("(ssl)", 1),
        ("((ssl) or (((ssl))))", 4),
        ("not not ssl", 2),
        ('any(lower(http.request.headers["a"][*])[*] eq "("))'[:-1], 2),
        ('http.host eq "((((" and (ssl)', 1),
    ],
)
def test_levels_of_nesting_are_counted_as_the_limit_counts_them(text: str, used: int) -> None:
    limits = run("rule", "check", text, "-o", "json").document["rules"][0]["limits"]
    assert limits["levels of nesting"] == {"used": used, "limit": 128}


def test_regular_expressions_and_characters_are_counted() -> None:
    text = 'http.host matches "é" or http.host ~ "b" or http.host contains "c"'
    limits = run("rule", "check", text, "-o", "json").document["rules"][0]["limits"]
    assert limits["regular expressions"] == {"used": 2, "limit": 64}
    assert limits["characters"] == {"used": len(text), "limit": 4096}


def test_every_rule_of_a_file_is_checked_and_one_that_is_refused_decides_the_exit_code(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, rule("a", expression=GOOD), certificate(), rule("b", expression=BAD))
    ended = run("rule", "check", "-f", file)
    assert ended.code == 1
    assert f"MTLSRule shop/a ({file}): accepted" in ended.out
    assert f"MTLSRule shop/b ({file}): refused" in ended.out
    assert ended.out.endswith("1 accepted, 1 refused\n")


def test_the_quickstart_is_accepted() -> None:
    ended = run("rule", "check", "-f", str(ROOT / "examples/quickstart"))
    assert ended.code == 0
    assert "  Block on api, priority 1000\n" in ended.out


def test_a_simple_form_that_no_request_fits_is_refused_with_its_field(tmp_path: Path) -> None:
    ended = run("rule", "check", "-f", written(tmp_path, rule(match={"paths": ["/a%41"]})))
    assert ended.code == 1
    assert "paths[0]" in ended.out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": {"expression": "ssl", "macth": {}}}, "spec.macth: is no field"),
        ({"spec": {"expression": "ssl", "action": "Deny"}}, "spec.action"),
        ({"spec": {}}, "exactly one of match and expression"),
        ({"spec": None}, "exactly one of match and expression"),
        ({"apiVersion": "mtls-operator.dev/v1"}, "apiVersion: must be mtls-operator.dev/v1alpha1"),
        ({"metadata": {}}, "metadata.name: is required"),
        ({"metadata": None}, "metadata"),
        ({"metadata": ["x"]}, "metadata"),
    ],
)
def test_an_object_that_the_cluster_would_refuse_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    ended = run("rule", "check", "-f", written(tmp_path, rule(expression="ssl") | changes))
    assert (ended.code, ended.err) == (1, "")
    assert message in ended.out


def test_an_object_needs_no_namespace_before_it_is_applied(tmp_path: Path) -> None:
    body = rule(expression="ssl")
    del body["metadata"]["namespace"]
    assert run("rule", "check", "-f", written(tmp_path, body)).code == 0


def test_lists_as_kubectl_prints_them_are_read_from_standard_input() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [rule("a"), rule("b", expression=BAD)]}
    ended = run("rule", "check", "-f", "-", "-o", "json", stdin=yaml.safe_dump(listed))
    assert ended.code == 1
    assert [(each["name"], each["accepted"]) for each in ended.document["rules"]] == [
        ("a", True),
        ("b", False),
    ]


def test_a_file_can_hold_an_expression_as_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "rule.txt"
    file.write_text(f"{GOOD}\n and ssl\n")
    ended = run("rule", "check", "-f", str(file), "-o", "json")
    assert ended.code == 0
    assert ended.document["rules"][0]["expression"] == f"{GOOD}\n and ssl"


def test_the_error_in_json_has_code_place_and_hint() -> None:
    document = run("rule", "check", BAD, "-o", "json").document
    assert document["accepted"] is False
    error = document["rules"][0]["error"]
    assert (error["code"], error["line"], error["column"]) == ("expected_operator", 1, 11)
    assert error["hint"] == "write == or eq"
    assert error["display"].startswith("line 1, column 11: ")


def test_yaml_says_the_same_as_json() -> None:
    as_yaml = yaml.safe_load(run("rule", "check", GOOD, "-o", "yaml").out)
    assert as_yaml == run("rule", "check", GOOD, "-o", "json").document


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"kind: MTLSRule\nkind: MTLSRule\n", "line 2, column 1: the key 'kind' is there twice"),
        (b"kind: [\n", "line 2, column 1"),
        (b"kind: MTLSHost\n", "no MTLSRule in"),
        (b"---\n- 1\n", "a document is no object"),
        (b"kind: \xff", "not a text in UTF-8 (byte 6)"),
        (b"apiVersion: v1\nkind: List\nitems: [1]\n", "a document is no object"),
        (b"kind: " + b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_judged(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    ended = run("rule", "check", "-f", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert str(file) in ended.err


def test_a_missing_file_an_empty_folder_and_no_question_are_no_answer(tmp_path: Path) -> None:
    for arguments in (["-f", str(tmp_path / "none")], ["-f", str(tmp_path)], [], ["ssl", "-f", "-"]):
        ended = run("rule", "check", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("kubectl mtls: ")


def test_an_argument_that_is_no_unicode_is_refused_without_a_traceback() -> None:
    ended = run("rule", "check", 'http.host eq "\udcff"')
    assert ended.code == 1
    assert "refused" in ended.out
    assert run("rule", "check", 'http.host eq "\udcff"', "-o", "json").document["accepted"] is False
