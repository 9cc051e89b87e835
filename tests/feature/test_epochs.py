"""Epochs only grow: a proxy that holds an older file must never win against what is published now (G7)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.envoy import epoch_of

PLACES = pytest.mark.parametrize(
    ("name", "key"),
    [("mtls-host-api", names.RULES_KEY), (names.REVOCATION_CONFIGMAP, names.REVOCATION_KEY)],
)


def _epoch(lab: Lab, name: str, key: str) -> int:
    epoch = epoch_of(lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, name)["data"][key])
    assert epoch is not None
    return epoch


async def _running(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    await lab.settle()


async def _change(lab: Lab) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/changed"]}}})
    await lab.settle()


@PLACES
async def test_a_change_raises_the_epoch(lab: Lab, name: str, key: str) -> None:
    await _running(lab)
    before = _epoch(lab, name, key)
    await _change(lab)
    assert _epoch(lab, name, key) > before


@PLACES
async def test_a_deleted_object_does_not_lower_the_epoch(lab: Lab, name: str, key: str) -> None:
    await _running(lab)
    before = _epoch(lab, name, key)
    lab.skew = timedelta(days=-100)
    lab.cluster.remove(Kind.CONFIG_MAP, NAMESPACE, name)
    await lab.settle()
    assert _epoch(lab, name, key) >= before


@PLACES
async def test_a_clock_that_goes_back_does_not_lower_the_epoch(lab: Lab, name: str, key: str) -> None:
    await _running(lab)
    before = _epoch(lab, name, key)
    lab.skew = timedelta(minutes=-4)
    await _change(lab)
    assert _epoch(lab, name, key) > before


@PLACES
async def test_a_restart_with_a_clock_that_went_back_does_not_lower_the_epoch(
    lab: Lab, name: str, key: str
) -> None:
    await _running(lab)
    before = _epoch(lab, name, key)
    await lab.stop()
    lab.skew = timedelta(minutes=-4)
    await lab.start()
    await lab.settle()
    assert _epoch(lab, name, key) == before
    await _change(lab)
    assert _epoch(lab, name, key) > before


@PLACES
async def test_an_older_object_from_a_backup_is_outbid(lab: Lab, name: str, key: str) -> None:
    await _running(lab)
    old = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, name)
    await _change(lab)
    before = _epoch(lab, name, key)
    lab.cluster.overwrite(old)
    await lab.settle()
    assert _epoch(lab, name, key) >= before
