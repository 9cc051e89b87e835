"""What rules have in common is written once, and each still decides by its own."""

from __future__ import annotations

from mtls_operator.envoy import RuleScript, check_script, rules_script
from mtls_operator.envoy.sharing import Shared

LONG = '{["a long constant"]=true}'


def script(*rules: RuleScript) -> str:
    text = rules_script(
        epoch=1_764_000_000_000,
        hostnames=["api.example.com"],
        issuers=[],
        rules=rules,
        reads_certificate=False,
        forward=[],
        runtime="return {}",
    )
    check_script(text)
    return text


def rule(name: str, *constants: str, expression: str = "K[1][f.x] == true") -> RuleScript:
    return RuleScript(name, "block", constants, expression, body="a body of some length")


def test_a_text_that_occurs_twice_is_referred_to() -> None:
    shared = Shared("texts", [LONG, "other text", LONG])
    assert shared(LONG) == "texts[1]"
    assert shared("other text") == "other text"
    assert shared.table() == f"local texts = {{\n  {LONG},\n}}"


def test_what_is_shorter_than_a_reference_stays() -> None:
    assert Shared("texts", ['"a"', '"a"'])('"a"') == '"a"'


def test_references_are_in_the_order_of_the_texts_whatever_their_number() -> None:
    texts = [f"a text with the number {number}" for number in range(2000)]
    shared = Shared("texts", [*texts, *reversed(texts)])
    assert [shared(text) for text in texts] == [f"texts[{place}]" for place in range(1, 2001)]


def test_rules_of_one_form_share_their_function_constants_and_body() -> None:
    text = script(rule("a", LONG), rule("b", LONG), rule("c", '{["of its own"]=true}'))
    assert text.count("K[1][f.x]") == 1
    assert text.count("a long constant") == 1
    assert text.count("of its own") == 1
    assert text.count("a body of some length".replace(" ", " ")) == 1


def test_rules_of_one_form_have_their_own_constants() -> None:
    text = script(rule("a", '{["first one"]=true}'), rule("b", '{["second one"]=true}'))
    first, second = text.split('["applies"] = ')[1:3]
    assert "expressions[1],\n" in first[:20]
    assert "first one" in first
    assert "second one" in second.split("local facts_of")[0]


def test_the_same_rules_give_the_same_script() -> None:
    rules = [rule(f"r{number}", LONG, f'{{["{number}"]=true}}') for number in range(20)]
    assert script(*rules) == script(*rules)
