"""Who may trust the CA of another namespace: whom that one names, in its present life, and nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mtls_operator.api import names
from mtls_operator.plan.grants import Grant, granters_in, is_granted, read_grant

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def body(text: object, *, label: str = names.GRANT_VALUE, key: str = names.GRANT_KEY) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "partners",
            "name": "client-ca",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {names.GRANT_LABEL: label},
        },
        "data": {key: text},
    }


def test_every_line_names_a_namespace() -> None:
    assert read_grant(body("shop\n  web # the new one\n\n# later\nfleet-7\n")) == Grant(
        frozenset({"shop", "web", "fleet-7"}), MADE
    )


@pytest.mark.parametrize(
    "line",
    ["*", "shop, web", "shop web", "Shop", "shop.web", "-shop", "shop*", "x" * 64, "sh\u043ep", "sh\0op"],
)
def test_a_line_that_is_no_name_allows_nobody_and_the_others_count(line: str) -> None:
    assert read_grant(body(f"{line}\nfleet")).namespaces == {"fleet"}


@pytest.mark.parametrize("value", ["", "true", "Client-CA", "client-ca-2"])
def test_another_value_of_the_label_grants_nothing(value: str) -> None:
    assert read_grant(body("shop", label=value)).namespaces == frozenset()


def test_another_key_grants_nothing() -> None:
    assert read_grant(body("shop", key="namespace")).namespaces == frozenset()


def test_an_object_without_any_content_grants_nothing() -> None:
    assert read_grant(body(None)).namespaces == frozenset()
    assert read_grant({**body("shop"), "data": None}).namespaces == frozenset()


def test_a_grant_counts_for_those_whom_it_names() -> None:
    grants = [Grant(frozenset({"web"}), MADE), Grant(frozenset({"shop"}), MADE)]
    assert is_granted(grants, "shop", since=MADE)
    assert not is_granted(grants, "sho", since=MADE)
    assert not is_granted([], "shop", since=MADE)


def test_a_grant_that_is_older_than_its_namespace_belongs_to_a_former_life_of_that() -> None:
    grants = [Grant(frozenset({"shop"}), MADE)]
    assert not is_granted(grants, "shop", since=MADE + timedelta(seconds=1))


def test_a_grant_that_does_not_say_since_when_it_exists_is_too_old() -> None:
    undated = body("shop")
    del undated["metadata"]["creationTimestamp"]
    assert not is_granted([read_grant(undated)], "shop", since=MADE)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, set()),
        ({"clientCAs": [{"source": "managed"}, {"source": "ConfigMap/partner-ca/ca.crt"}, {}]}, set()),
        (
            {"clientCAs": [{"source": "managedFrom/partners"}, {"source": "managedFrom/fleet"}]},
            {"partners", "fleet"},
        ),
        ({"clientCAs": [{"source": 7}, "text", None]}, set()),
        ({"clientCAs": "managedFrom/partners"}, set()),
    ],
)
def test_a_status_names_those_whose_ca_is_trusted(status: dict[str, Any], expected: set[str]) -> None:
    assert granters_in(status) == expected
