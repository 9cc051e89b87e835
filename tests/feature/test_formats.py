"""Operators of different versions: what one does not know it keeps, and what it would misread it does not touch."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.plan.ledger import RECORDS_KEY

CA = names.authority_secret(NAMESPACE, 1)
PAGE = names.ledger_page(NAMESPACE, 1)
PLACES = [(Kind.SECRET, CA), (Kind.CONFIG_MAP, PAGE)]


def _revoke(lab: Lab, name: str) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True}})


def _read(lab: Lab, kind: Kind, name: str) -> dict[str, Any]:
    body: dict[str, Any] = lab.cluster.read(kind, names.OPERATOR_NAMESPACE, name)
    return body


def _format(lab: Lab, kind: Kind, name: str, number: str | None) -> None:
    patch = {"metadata": {"annotations": {names.FORMAT_ANNOTATION: number}}}
    lab.cluster.edit(kind, names.OPERATOR_NAMESPACE, name, patch)


async def _with_a_revocation(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    for name in ("gateway", "other"):
        lab.cluster.make(certificate(name))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    _revoke(lab, "other")
    await lab.settle()
    await lab.pass_time(seconds=10)


@pytest.mark.parametrize("number", ["2", "0", "one", ""])
@pytest.mark.parametrize(("kind", "name"), PLACES)
async def test_what_a_newer_operator_wrote_is_not_misread(
    lab: Lab, kind: Kind, name: str, number: str
) -> None:
    await _with_a_revocation(lab)
    await lab.stop()
    _format(lab, kind, name, number)
    before = [_read(lab, *place) for place in PLACES]
    await lab.start()
    _revoke(lab, "gateway")
    lab.cluster.make(certificate("late"))
    await lab.settle()
    await lab.pass_time(minutes=5)
    assert [_read(lab, *place) for place in PLACES] == before
    assert lab.condition(Kind.HOST, "api", "Programmed")[:2] == ("False", "NewerFormat")
    assert lab.condition(Kind.CERTIFICATE, "late", "Issued")[:2] == ("False", "NewerFormat")
    assert lab.state() == "PendingRevocation", "G4: nobody refuses it yet"
    mounted = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    assert lab.serial("other") in mounted[names.REVOKED_JSON_KEY], "G7: what is in force stays"


@pytest.mark.parametrize(("kind", "name"), PLACES)
async def test_it_goes_on_where_it_stopped_once_it_can_be_read(lab: Lab, kind: Kind, name: str) -> None:
    await _with_a_revocation(lab)
    await lab.stop()
    _format(lab, kind, name, "2")
    await lab.start()
    _revoke(lab, "gateway")
    await lab.settle()
    _format(lab, kind, name, None)
    await lab.pass_time(minutes=2)
    assert lab.is_refused(lab.serial())
    assert lab.is_refused(lab.serial("other"))
    assert lab.state() == "Revoked"


async def test_a_page_that_becomes_newer_under_a_running_operator_is_not_written(lab: Lab) -> None:
    await _with_a_revocation(lab)
    _format(lab, Kind.CONFIG_MAP, PAGE, "2")
    before = _read(lab, Kind.CONFIG_MAP, PAGE)
    await lab.settle()
    _revoke(lab, "gateway")
    await lab.settle(failures=True)
    assert _read(lab, Kind.CONFIG_MAP, PAGE) == before


async def test_what_else_lies_in_the_secret_of_a_ca_stays(lab: Lab) -> None:
    await _with_a_revocation(lab)
    await lab.stop()
    theirs = b64encode(b"newer").decode()
    lab.cluster.edit(Kind.SECRET, names.OPERATOR_NAMESPACE, CA, {"data": {"newer": theirs}})
    await lab.start()
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert lab.state("late") == "Active"
    assert _read(lab, Kind.SECRET, CA)["data"]["newer"] == theirs


async def test_what_else_lies_in_a_page_stays(lab: Lab) -> None:
    await _with_a_revocation(lab)
    await lab.stop()
    text = _read(lab, Kind.CONFIG_MAP, PAGE)["data"][RECORDS_KEY].replace('"owner":', '"device":"x","owner":')
    patch = {"data": {"newer": "1", RECORDS_KEY: text}, "metadata": {"annotations": {"newer/note": "2"}}}
    lab.cluster.edit(Kind.CONFIG_MAP, names.OPERATOR_NAMESPACE, PAGE, patch)
    await lab.start()
    _revoke(lab, "gateway")
    await lab.settle()
    body = _read(lab, Kind.CONFIG_MAP, PAGE)
    assert body["data"]["newer"] == "1"
    assert body["metadata"]["annotations"]["newer/note"] == "2"
    assert body["data"][RECORDS_KEY].startswith(text)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "other", {"spec": {"revoked": False}})
    await lab.settle()
    last = _read(lab, Kind.CONFIG_MAP, PAGE)["data"][RECORDS_KEY].splitlines()[-1]
    assert '"entry":"restored"' in last
    assert '"device":"x"' in last
