"""What no proxy can enforce is refused at its place, with the reason."""

import pytest

from mtls_operator.rules import Code, RuleError, check_supported, foreign, parse, to_lua
from mtls_operator.rules.schema import FIELDS, FUNCTIONS, UNAVAILABLE_FIELDS
from mtls_operator.rules.types import BOOL, BYTES, BYTES_ARRAY, INT


def reading(name: str) -> str:
    """Return an expression that reads a field."""
    kind = FIELDS[name]
    if not kind.scalar:
        return f"len({name}) eq 0" if kind == BYTES_ARRAY else f'has_key({name}, "a")'
    return {BOOL: name, BYTES: f'{name} eq ""', INT: f"{name} eq 0"}[kind]


@pytest.mark.parametrize("name", sorted(UNAVAILABLE_FIELDS))
def test_a_field_that_the_proxy_cannot_know_is_not_available(name: str) -> None:
    expression = parse(f"ssl and {reading(name)}")
    for refuse in (check_supported, to_lua):
        with pytest.raises(RuleError) as caught:
            refuse(expression)
        assert caught.value.code is Code.NOT_AVAILABLE
        start = 8 + reading(name).index(name)
        assert (caught.value.span.start, caught.value.span.end) == (start, start + len(name))
        assert caught.value.hint == UNAVAILABLE_FIELDS[name]


@pytest.mark.parametrize("name", ["cf.ray_id", "cf.bot_management.score", "ip.src.country"])
def test_a_field_of_cloudflare_alone_is_not_available(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(f'{name} eq "x"')
    assert caught.value.code is Code.NOT_AVAILABLE


@pytest.mark.parametrize("name", sorted(foreign.FIELDS))
def test_the_nearest_field_is_named(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(f'{name}x eq "x"')
    assert (caught.value.code, caught.value.hint) == (Code.NOT_AVAILABLE, foreign.FIELDS[name])


@pytest.mark.parametrize("name", sorted(foreign.FUNCTIONS))
def test_the_nearest_function_is_named(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(f'{name}(http.host) eq "x"')
    assert (caught.value.code, caught.value.hint) == (Code.NOT_AVAILABLE, foreign.FUNCTIONS[name])


@pytest.mark.parametrize("name", sorted({*foreign.FIELDS, *foreign.FUNCTIONS}))
def test_no_name_is_both_known_here_and_not_available(name: str) -> None:
    assert not [known for known in FIELDS.keys() - UNAVAILABLE_FIELDS.keys() if known.startswith(name)]
    assert name not in FUNCTIONS


@pytest.mark.parametrize("name", ["cf.tls_client_auth.cert_ski", "tls.client.san.dns", "tls.client.san.ip"])
def test_whoever_reads_a_certificate_is_known(name: str) -> None:
    assert parse(f'{name} eq ""' if "san" not in name else f"len({name}) eq 1").reads_certificate
    assert not parse('http.host eq "cf.tls_client_auth.cert_ski"').reads_certificate
