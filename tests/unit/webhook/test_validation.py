"""Reviews of our own kinds: JSON in, JSON out."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.support.builders import certificate, host, rule

from mtls_operator.webhook.review import parse
from mtls_operator.webhook.validation import validate

Body = dict[str, Any]
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
PLURALS = {"MTLSRule": "mtlsrules", "MTLSHost": "mtlshosts", "ClientCertificate": "clientcertificates"}
BROKEN = 'http.request.uri.path eq "/a" und ssl'


def reviewed(body: Body, *, old: Body | None = None, **request: Any) -> Body:
    """Return the response to a review of an object, as it goes over the wire."""
    plural = PLURALS[body["kind"]]
    document = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "operation": "CREATE" if old is None else "UPDATE",
            "resource": {"group": "mtls-operator.dev", "version": "v1alpha1", "resource": plural},
            "namespace": "shop",
            "name": body["metadata"].get("name", ""),
            "object": body,
            "oldObject": old,
        }
        | request,
    }
    answer = json.loads(json.dumps(validate(parse(json.dumps(document).encode())).answer))
    assert answer["apiVersion"] == "admission.k8s.io/v1"
    assert answer["kind"] == "AdmissionReview"
    assert answer["response"]["uid"] == UID
    response: Body = answer["response"]
    return response


@pytest.mark.parametrize("body", [rule(), host(), certificate()], ids=lambda body: str(body["kind"]))
def test_an_object_that_is_in_order_passes_unchanged(body: Body) -> None:
    assert reviewed(body) == {"uid": UID, "allowed": True}


def test_a_rule_with_a_mistake_is_refused_with_its_line_and_a_caret() -> None:
    response = reviewed(rule(expression=BROKEN))
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    assert response["status"]["reason"] == "Invalid"
    first, source, carets, *_ = response["status"]["message"].split("\n")
    assert first.startswith("line 1, column 31: ")
    assert source == BROKEN
    assert carets.index("^") == 30


def test_a_host_and_a_certificate_with_a_mistake_are_refused_with_their_field() -> None:
    assert "spec.hostnames[0]" in reviewed(host(hostnames=("a:1",)))["status"]["message"]
    assert "64 bytes" in reviewed(certificate(subject={"commonName": "ü" * 40}))["status"]["message"]


def test_a_lint_becomes_a_warning() -> None:
    response = reviewed(rule(expression="not cf.tls_client_auth.cert_verified"))
    assert response["allowed"] is True
    assert ["cert_revoked" in warning for warning in response["warnings"]] == [True]


def test_warnings_stay_within_what_the_api_server_passes_on() -> None:
    long = " or ".join(f'http.request.uri.path eq "/{" " * 70}{number}"' for number in range(34))
    warnings = reviewed(rule(expression=long))["warnings"]
    assert sum(map(len, warnings)) <= 4096
    assert warnings[-1] == "and more: see the status of the object"


def test_an_object_that_gets_its_name_only_when_it_is_stored_is_judged_by_its_prefix() -> None:
    body = certificate()
    body["metadata"] = {"generateName": "gateway-"}
    assert reviewed(body)["allowed"] is True
    body["metadata"] = {"generateName": "mtls-"}
    assert "metadata.name" in reviewed(body)["status"]["message"]


def test_a_host_name_that_fits_with_what_the_api_server_adds_is_not_refused() -> None:
    body = host()
    body["metadata"] = {"generateName": "a" * 47}
    assert reviewed(body)["allowed"] is True
    body["metadata"] = {"generateName": "a" * 48}
    assert reviewed(body)["allowed"] is False


def test_an_update_is_judged_by_what_it_changes() -> None:
    good, bad = rule(), rule(expression=BROKEN)
    assert reviewed(bad, old=good)["allowed"] is False
    assert reviewed(good, old=bad) == {"uid": UID, "allowed": True}
    relabelled = copy.deepcopy(bad)
    relabelled["metadata"]["finalizers"] = []
    assert reviewed(relabelled, old=bad) == {"uid": UID, "allowed": True}


def test_an_old_mistake_is_a_warning_of_one_line() -> None:
    old = rule(expression=BROKEN)
    new = rule(expression=BROKEN, priority=7)
    response = reviewed(new, old=old)
    assert response["allowed"] is True
    assert response["warnings"][0].startswith("line 1, column 31: ")
    assert "\n" not in response["warnings"][0]


def test_an_object_that_is_being_deleted_passes() -> None:
    old = certificate(nonsense=1)
    new = certificate(nonsense=2)
    new["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert reviewed(new, old=old) == {"uid": UID, "allowed": True}


def test_a_dry_run_is_answered_like_the_real_thing() -> None:
    bad = rule(expression=BROKEN)
    assert reviewed(bad, dryRun=True) == reviewed(bad, dryRun=False)


@pytest.mark.parametrize(
    "request_fields",
    [
        {"operation": "DELETE"},
        {"operation": "CONNECT"},
        {"subResource": "status"},
        {"resource": {"group": "", "version": "v1", "resource": "pods"}},
        {"resource": {"group": "mtls-operator.dev", "version": "v2", "resource": "mtlsrules"}},
        {"resource": {"group": "example.com", "version": "v1alpha1", "resource": "mtlsrules"}},
    ],
)
def test_a_question_that_it_is_not_made_for_is_refused_not_waved_through(request_fields: Body) -> None:
    response = reviewed(rule(), **request_fields)
    assert response["allowed"] is False
    assert response["status"]["code"] == 400
    assert "CREATE and UPDATE of our kinds" in response["status"]["message"]


@pytest.mark.parametrize("metadata", [None, [], "x", {"name": 5}, {"namespace": {}}])
@pytest.mark.parametrize("spec", [None, [], "x", {"hostnames": 3}, {"expression": ["a"]}])
def test_nothing_that_the_body_holds_makes_it_stumble(metadata: object, spec: object) -> None:
    for body in (rule(), host(), certificate()):
        document = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": UID,
                "operation": "UPDATE",
                "resource": {
                    "group": "mtls-operator.dev",
                    "version": "v1alpha1",
                    "resource": PLURALS[body["kind"]],
                },
                "namespace": "shop",
                "object": {"metadata": metadata, "spec": spec},
                "oldObject": body,
            },
        }
        assert validate(parse(json.dumps(document).encode())).admitted is False


def test_what_a_terminal_would_act_upon_is_not_passed_on() -> None:
    message = reviewed(rule(expression='http.host eq "\x1b[31m" x'))["status"]["message"]
    assert "\x1b" not in message
