from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from mtls_operator.inject import InjectSettings
from mtls_operator.webhook.decision import decide, failed
from mtls_operator.webhook.review import parse

ReviewBody = Callable[..., bytes]
SETTINGS = InjectSettings(image="proxy:1", version="1.0.0")


def patch_of(answer: dict[str, Any]) -> dict[str, Any]:
    operations = json.loads(base64.b64decode(answer["response"]["patch"]))
    return {operation["path"]: operation["value"] for operation in operations}


def test_a_labelled_pod_gets_its_sidecar(review_body: ReviewBody) -> None:
    decision = decide(parse(review_body()), settings=SETTINGS)
    patch = patch_of(decision.answer)
    assert decision.answer["response"]["allowed"] is True
    assert patch["/spec/initContainers"][0]["name"] == "mtls-proxy"
    assert patch["/metadata/annotations"] == {"mtls-operator.dev/injected": "1.0.0"}
    assert len(patch["/spec/volumes"]) == 6


def test_the_patch_touches_nothing_but_what_it_must(review_body: ReviewBody) -> None:
    pod = {
        "metadata": {"labels": {"mtls-operator.dev/host": "api"}, "annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "i"}], "volumes": []},
    }
    assert patch_of(decide(parse(review_body(pod)), settings=SETTINGS).answer).keys() == {
        "/metadata/annotations/mtls-operator.dev~1injected",
        "/spec/initContainers",
        "/spec/volumes",
    }


def test_a_pod_that_cannot_have_the_sidecar_is_refused_with_the_reason(review_body: ReviewBody) -> None:
    pod = {"metadata": {"labels": {"mtls-operator.dev/host": "api"}}, "spec": {"hostNetwork": True}}
    decision = decide(parse(review_body(pod)), settings=SETTINGS)
    response = decision.answer["response"]
    assert not decision.admitted
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert response["status"]["message"].startswith("mtls-operator: spec.hostNetwork: must not be set")


def test_a_pod_without_the_label_passes_unchanged(review_body: ReviewBody) -> None:
    decision = decide(parse(review_body({"metadata": {}, "spec": {}})), settings=SETTINGS)
    assert decision.answer["response"] == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


@pytest.mark.parametrize(
    "request_fields",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE"},
        {"subResource": "ephemeralcontainers"},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
        {"resource": {"group": "", "version": "v2", "resource": "pods"}},
    ],
)
def test_a_question_that_it_is_not_made_for_is_refused_not_waved_through(
    request_fields: dict[str, Any], review_body: ReviewBody
) -> None:
    response = decide(parse(review_body(**request_fields)), settings=SETTINGS).answer["response"]
    assert response["allowed"] is False
    assert "this webhook is for CREATE of pods" in response["status"]["message"]


def test_the_same_question_gets_the_same_answer_and_another_one_another_user(review_body: ReviewBody) -> None:
    def user(uid: str) -> int:
        patch = patch_of(decide(parse(review_body(uid=uid)), settings=SETTINGS).answer)
        found: int = patch["/spec/initContainers"][0]["securityContext"]["runAsUser"]
        return found

    assert user("u-1") == user("u-1")
    assert user("u-1") != user("u-2")


def test_a_dry_run_is_answered_like_the_real_thing(review_body: ReviewBody) -> None:
    real, dry = (decide(parse(review_body(dryRun=flag)), settings=SETTINGS) for flag in (False, True))
    assert real == dry


def test_when_deciding_fails_the_pod_is_refused(review_body: ReviewBody) -> None:
    response = failed(parse(review_body())).answer["response"]
    assert response["allowed"] is False
    assert response["status"]["code"] == 500
