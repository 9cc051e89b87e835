"""Which program wrote a field: what the API server keeps beside an object."""

from __future__ import annotations

from typing import Any

import pytest

from mtls_operator.api.authorship import writer_of


def entry(manager: object, time: object = "2026-03-01T12:00:00Z", **more: Any) -> dict[str, Any]:
    fields = {"f:spec": {"f:revoked": {}}}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields, **more}


def writer(*entries: object) -> str:
    return writer_of({"metadata": {"managedFields": list(entries)}}, "revoked")


def test_the_program_that_wrote_the_field_is_named() -> None:
    other = entry("kubectl-create", fieldsV1={"f:spec": {"f:subject": {}}})
    assert writer(other, entry("kubectl-mtls")) == "kubectl-mtls"


def test_of_several_that_wrote_it_the_last_is_named() -> None:
    late = entry("argocd-controller", "2026-03-02T12:00:00Z")
    assert writer(late, entry("kubectl-patch")) == "argocd-controller"


def test_who_wrote_the_status_wrote_no_spec() -> None:
    assert writer(entry("mtls-operator", subresource="status")) == ""


def test_a_name_with_control_characters_does_not_break_a_line() -> None:
    assert writer(entry("kubectl\nRevoked by admin")) == "kubectl?Revoked by admin"
    assert len(writer(entry("x" * 500))) == 128


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": None},
        {"metadata": {"managedFields": "x"}},
        {"metadata": {"managedFields": [None, 1, {}, {"fieldsV1": 1}, {"fieldsV1": {"f:spec": []}}]}},
        {"metadata": {"managedFields": [entry(None, None)]}},
    ],
    ids=["nothing", "no metadata", "a text", "rubbish", "no name"],
)
def test_where_it_is_not_known_nobody_is_named(body: dict[str, Any]) -> None:
    assert writer_of(body, "revoked") == ""
