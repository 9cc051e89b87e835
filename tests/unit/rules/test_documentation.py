"""The page about the language says what the code does."""

from pathlib import Path

import pytest

from mtls_operator.rules import Code, RuleError, parse
from mtls_operator.rules.schema import FUNCTIONS, SUPPORTED_FIELDS

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
