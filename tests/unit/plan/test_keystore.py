"""The mark of a Secret's keystores: it changes with everything that they are made of, and tells nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import certificate

from mtls_operator.api import names
from mtls_operator.api.certificate import parse_certificate
from mtls_operator.plan.keystore import friendly_name, mark_of

GIVEN = {"pkcs12": {"passwordSecretRef": {"name": "phone", "key": "password"}}}
CONTENT = {
    "data/tls.crt": "a",
    "data/tls.key": "b",
    "data/ca.crt": "c",
    "data/keystore.p12": "d",
    "labels": "e",
}


def mark(
    keystore: dict[str, Any], content: dict[str, str] | None = None, *, version: str | None = None
) -> str:
    parsed = parse_certificate(certificate("gateway", keystore=keystore))
    return mark_of(parsed, CONTENT if content is None else content, password_version=version)


def test_where_no_keystore_is_wanted_there_is_no_mark() -> None:
    assert mark({}) == ""


def test_the_same_world_has_the_same_mark() -> None:
    assert mark(GIVEN, version="u/1") == mark(GIVEN, dict(reversed(CONTENT.items())), version="u/1")


@pytest.mark.parametrize(
    "key",
    ["tls.crt", "tls.key", "ca.crt", names.PKCS12_KEY, names.PASSWORD_KEY, names.COMBINED_KEY],
)
def test_an_edit_of_what_it_is_about_changes_it(key: str) -> None:
    assert mark(GIVEN, CONTENT | {f"data/{key}": "edited"}) != mark(GIVEN)


def test_what_others_put_beside_it_does_not() -> None:
    assert mark(GIVEN, CONTENT | {"data/theirs": "x", "labels": "y"}) == mark(GIVEN)


@pytest.mark.parametrize(
    "keystore",
    [
        {"pkcs12": {}},
        {"pkcs12": {"profile": "Legacy"}},
        {**GIVEN, "combinedPEM": True},
        {"pkcs12": {"passwordSecretRef": {"name": "phone", "key": "other"}}},
        {"pkcs12": {"passwordSecretRef": {"name": "other", "key": "password"}}},
    ],
)
def test_another_wish_has_another_mark(keystore: dict[str, Any]) -> None:
    assert mark(keystore) != mark(GIVEN)


def test_another_version_of_the_password_has_another_mark() -> None:
    assert mark(GIVEN, version="u/1") != mark(GIVEN, version="u/2")


def test_a_name_that_is_too_long_for_a_keystore_is_cut() -> None:
    body = certificate(".".join(["g" * 60] * 4), subject={"commonName": "gateway"})
    assert len(friendly_name(parse_certificate(body))) == 128
