"""``kubectl mtls rule explain`` on a cluster: what the operator wrote is what is explained, and no Secret is read."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import FakeClient

from mtls_operator.cli.errors import Unanswered
from mtls_operator.cli.rule.answer import Answer
from mtls_operator.cli.rule.explain import explain
from mtls_operator.cli.rule.live import read_scene
from mtls_operator.cli.rule.presented import Claim
from mtls_operator.cli.rule.request import Flags
from mtls_operator.cluster import Body, Cluster, Kind

ADMIN = Flags(path="/admin")


class Watched(FakeClient):
    """A client that notes which kinds are read."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.kinds: set[Kind] = set()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        self.kinds.add(kind)
        return await super().get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> Sequence[Body]:
        self.kinds.add(kind)
        return await super().list(kind, namespace, labels=labels)


async def explained(lab: Lab, claim: Claim, flags: Flags = ADMIN) -> Answer:
    client: Cluster = FakeClient(lab.cluster)
    now: datetime = lab.now()
    return explain(await read_scene(client, NAMESPACE), flags, claim, mtls_host="", now=now)


async def running(lab: Lab) -> None:
    for body in (host(), rule(), certificate("gateway"), certificate("other")):
        lab.cluster.make(body)
    await lab.start()
    lab.run_pod(pod("api-1"))
    await lab.settle()


def presented(lab: Lab, folder: Path) -> Path:
    """Write the certificate of gateway to a file."""
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    file = folder / "gateway.pem"
    file.write_bytes(b64decode(secret["data"]["tls.crt"]))
    return file


async def test_a_revoked_certificate_is_refused_and_the_reason_is_said(lab: Lab) -> None:
    await running(lab)
    before = await explained(lab, Claim(name="gateway"))
    assert before.decision.status == 200
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    after = await explained(lab, Claim(name="gateway"))
    assert after.decision.status == 403
    assert (after.worth.verified, after.worth.revoked) == (True, True)
    assert "its state is Revoked" in after.worth.why
    assert (await explained(lab, Claim(name="other"))).decision.status == 200


async def test_a_rule_that_stopped_compiling_is_explained_in_its_last_good_version(lab: Lab) -> None:
    await running(lab)
    lab.cluster.edit(Kind.RULE, NAMESPACE, "admin", {"spec": {"match": None, "expression": "ssll"}})
    await lab.settle()
    answer = await explained(lab, Claim(nobody=True))
    assert answer.decision.status == 403
    assert any("its last good version is in force" in note for note in answer.notes)


async def test_a_host_that_is_not_deployed_is_told(lab: Lab) -> None:
    await running(lab)
    lab.cluster.make(pod("api-2", address="10.0.0.2", injected=False))
    await lab.settle()
    answer = await explained(lab, Claim(nobody=True))
    assert any(note.startswith("not in force on every proxy of MTLSHost api") for note in answer.notes)


async def test_a_certificate_in_a_file_is_looked_up_in_the_published_list(lab: Lab, tmp_path: Path) -> None:
    await running(lab)
    file = presented(lab, tmp_path)
    assert (await explained(lab, Claim(file=str(file)))).decision.status == 200
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    answer = await explained(lab, Claim(file=str(file)))
    assert (answer.decision.status, answer.worth.revoked) == (403, True)
    assert answer.worth.why.endswith("on the published list of revoked certificates")


async def test_without_the_published_list_nothing_is_guessed(lab: Lab, tmp_path: Path) -> None:
    await running(lab)
    file = presented(lab, tmp_path)
    scene = await read_scene(FakeClient(lab.cluster), NAMESPACE)
    lost = replace(scene, revoked=None)
    with pytest.raises(Unanswered, match=r"has no revoked\.json"):
        explain(lost, ADMIN, Claim(file=str(file)), mtls_host="", now=lab.now())


async def test_no_secret_is_read(lab: Lab) -> None:
    await running(lab)
    client = Watched(lab.cluster)
    await read_scene(client, NAMESPACE)
    assert client.kinds == {Kind.HOST, Kind.RULE, Kind.CERTIFICATE, Kind.CONFIG_MAP}


async def test_a_namespace_without_hosts_is_no_answer(lab: Lab) -> None:
    lab.cluster.make(rule())
    await lab.start()
    await lab.settle()
    with pytest.raises(Unanswered, match="has no MTLSHost"):
        await explained(lab, Claim(nobody=True))
