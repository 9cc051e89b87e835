"""Metadata: identity and life of an object."""

from __future__ import annotations

import pytest

from mtls_operator.api.errors import InvalidSpec
from mtls_operator.api.meta import Meta, parse_meta


def test_what_the_api_server_wrote_is_read() -> None:
    body: dict[str, object] = {
        "metadata": {
            "namespace": "shop",
            "name": "api",
            "uid": "u-1",
            "generation": 3,
            "creationTimestamp": "2027-01-31T08:00:00Z",
            "deletionTimestamp": "2027-02-01T08:00:00Z",
            "finalizers": ["mtls-operator.dev/revoke"],
            "resourceVersion": "42",
            "labels": {"team": "a"},
            "managedFields": [],
        }
    }
    assert parse_meta(body) == Meta(
        namespace="shop",
        name="api",
        uid="u-1",
        generation=3,
        created="2027-01-31T08:00:00Z",
        deleting=True,
        finalizers=("mtls-operator.dev/revoke",),
        resource_version="42",
    )


def test_an_object_that_was_never_stored_has_only_its_names() -> None:
    assert parse_meta({"metadata": {"namespace": "shop", "name": "api"}}) == Meta("shop", "api")


@pytest.mark.parametrize("missing", ["namespace", "name"])
def test_an_object_without_a_name_or_namespace_is_refused(missing: str) -> None:
    metadata = {"namespace": "shop", "name": "api", missing: ""}
    with pytest.raises(InvalidSpec) as refusal:
        parse_meta({"metadata": metadata})
    assert refusal.value.path == f"metadata.{missing}"


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ("api", "metadata"),
        ({"namespace": "shop", "name": 7}, "metadata.name"),
        ({"namespace": "shop", "name": "api", "generation": "3"}, "metadata.generation"),
        ({"namespace": "shop", "name": "api", "finalizers": "x"}, "metadata.finalizers"),
        ({"namespace": "shop", "name": "api", "finalizers": [1]}, "metadata.finalizers[0]"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(metadata: object, path: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        parse_meta({"metadata": metadata})
    assert refusal.value.path == path
