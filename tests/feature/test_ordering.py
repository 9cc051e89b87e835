"""Watches of different kinds run at different speeds: whatever comes first, the end is the same (G2, G3, G4)."""

from __future__ import annotations

import random

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.cluster import Kind
from mtls_operator.controller.handlers import WATCHED


@pytest.mark.parametrize("seed", range(12))
async def test_the_end_does_not_depend_on_the_order_of_events(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    lab.delays = {kind: chance.choice([0.001, 0.01, 0.1, 0.5, 2.0]) for kind in WATCHED}
    await lab.start()
    lab.cluster.make(rule())
    lab.run_pod(pod())
    for name in ("kept", "revoked", "deleted", "retained"):
        lab.cluster.make(certificate(name, deletionPolicy="Retain" if name == "retained" else "Revoke"))
    lab.cluster.make(host())
    await lab.pass_time_with_failures(seconds=chance.choice([3, 5, 8]))
    serials = lab.client_secrets()
    assert len(serials) == 4
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "revoked", {"spec": {"revoked": True}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "deleted")
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "retained")
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": {"paths": ["/changed"]}}})
    await lab.pass_time_with_failures(seconds=15)
    assert {name for name, serial in serials.items() if lab.is_refused(serial)} == {"revoked", "deleted"}
    assert [c["metadata"]["name"] for c in lab.cluster.all(Kind.CERTIFICATE, NAMESPACE)] == [
        "kept",
        "revoked",
    ]
    assert (lab.state("kept"), lab.state("revoked")) == ("Active", "Revoked")
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    assert lab.condition(Kind.RULE, "admin", "Ready")[0] == "True"
    lab.writes()
    await lab.pass_time(minutes=4)
    assert lab.writes() == []
