from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from mtls_operator.webhook.review import MalformedReview, allowed, denied, parse

ReviewBody = Callable[..., bytes]
Build = Callable[..., dict[str, Any]]


def test_a_review_says_what_is_created_where(review_body: ReviewBody) -> None:
    review = parse(review_body())
    assert review.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert review.operation == "CREATE"
    assert review.resource == ("", "v1", "pods")
    assert review.subresource == ""
    assert review.namespace == "shop"
    assert review.dry_run is False


def test_a_pod_that_has_no_name_yet_goes_by_its_prefix(review_body: ReviewBody) -> None:
    assert parse(review_body()).name == "api-"
    assert parse(review_body(name="api-1")).name == "api-1"
    assert parse(review_body({"spec": {}})).name == ""


def test_a_dry_run_is_known_as_one(review_body: ReviewBody) -> None:
    assert parse(review_body(dryRun=True)).dry_run is True


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":NaN}}',
        b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}',
    ],
)
def test_what_is_no_review_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReview):
        parse(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uid", ""),
        ("uid", 5),
        ("uid", None),
        ("operation", None),
        ("resource", None),
        ("resource", "pods"),
        ("resource", {"group": "", "version": "v1"}),
        ("object", None),
        ("object", []),
        ("namespace", 5),
        ("subResource", {}),
    ],
)
def test_a_field_of_another_shape_is_named(field: str, value: object, review_body: ReviewBody) -> None:
    with pytest.raises(MalformedReview, match=r"^(uid|operation|resource|object|namespace|subResource) is"):
        parse(review_body(**{field: value}))


def test_an_answer_that_allows_carries_the_patch() -> None:
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "ä"}}]
    response = allowed("u-1", patch=patch)["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u-1", True, "JSONPatch")
    assert json.loads(base64.b64decode(response["patch"])) == patch


def test_an_answer_that_changes_nothing_has_no_patch() -> None:
    assert allowed("u-1")["response"] == {"uid": "u-1", "allowed": True}


def test_an_answer_that_refuses_says_why() -> None:
    assert denied("u-1", code=403, message="because") == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": False, "status": {"code": 403, "message": "because"}},
    }
