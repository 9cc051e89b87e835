"""The page about the language says what the code does."""

from pathlib import Path

import pytest

from mtls_operator.rules import Code, RuleError, foreign, parse, to_lua
from mtls_operator.rules.schema import FIELDS, FUNCTIONS, SUPPORTED_FIELDS

PAGE = (Path(__file__).parents[3] / "docs" / "rules-language.md").read_text("utf-8")


@pytest.mark.parametrize("code", list(Code))
def test_every_error_code_is_documented(code: Code) -> None:
    assert f"`{code.value}`" in PAGE


@pytest.mark.parametrize("name", sorted(SUPPORTED_FIELDS))
def test_every_supported_field_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE or f"`…{name.removeprefix('cf.tls_client_auth.')}`" in PAGE


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_named(name: str) -> None:
    words = PAGE.replace("`", " ").replace("(", " ").split()
    assert name in words


def test_the_documented_error_is_what_a_user_sees() -> None:
    with pytest.raises(RuleError) as caught:
        parse('http.host = "api.example.com"')
    assert f"```\n{caught.value.display()}\n```" in PAGE


ROWS = {
    cells[0].strip("`"): cells
    for cells in (
        [cell.strip() for cell in line.strip("|").replace("\\|", "\0").split("|")]
        for line in PAGE.partition("## Every name")[2].partition("## Differences")[0].splitlines()
        if line.startswith("| `")
    )
}


def test_every_name_that_is_known_has_a_row() -> None:
    prefixes = {f"{name}*" if name[-1] in "._" else name for name in foreign.FIELDS}
    assert ROWS.keys() == {*FIELDS, *FUNCTIONS, "any", "all", *prefixes, *foreign.FUNCTIONS}


@pytest.mark.parametrize("name", [name for name, cells in ROWS.items() if cells[2] == "yes"])
def test_a_documented_example_compiles_and_uses_the_name(name: str) -> None:
    _, kind, _, example, difference = ROWS[name]
    text = example.strip("`").replace("\0", "|")
    assert name in text
    to_lua(parse(text))
    assert difference
    if name in FIELDS:
        assert kind == str(FIELDS[name])
        assert name in SUPPORTED_FIELDS


@pytest.mark.parametrize("name", [name for name, cells in ROWS.items() if cells[2] != "yes"])
def test_what_is_not_available_is_said_not_to_be(name: str) -> None:
    assert ROWS[name][2] == "no"
    assert ROWS[name][4]
    with pytest.raises(RuleError) as caught:
        to_lua(parse(f"len({name.replace('*', 'x')}) eq 0" if "(" not in name else name))
    assert caught.value.code in {Code.NOT_AVAILABLE, Code.ARG_TYPE}
