"""G5: no key material anywhere but in Secrets."""

from __future__ import annotations

import json
from base64 import b64decode

from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Fault

from mtls_operator.cluster import Kind, UnavailableError


def _keys(lab: Lab) -> set[str]:
    """Return a telling piece of every private key in the cluster, as it is and as a Secret holds it."""
    pieces = set()
    for body in lab.cluster.all(Kind.SECRET):
        for name, value in (body.get("data") or {}).items():
            if name == "tls.key":
                pieces |= {value[200:240], b64decode(value).decode().splitlines()[2][:40]}
    return pieces


async def test_no_key_material_leaves_the_secrets(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(rule("wrong", expression="nonsense ("))
    await lab.start()
    lab.run_pod(pod())
    lab.cluster.faults.append(Fault("create", Kind.SECRET, UnavailableError("down"), name="gateway"))
    lab.cluster.faults.append(Fault("replace", Kind.CONFIG_MAP, UnavailableError("down")))
    for name in ("gateway", "second", "third"):
        lab.cluster.make(certificate(name))
    await lab.settle(failures=True)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "second", {"spec": {"revoked": True}})
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "third", {"data": {"tls.crt": "cnViYmlzaA=="}})
    await lab.settle(failures=True)
    keys = _keys(lab)
    assert len(keys) > 10
    open_places = [
        str(lab.log_lines),
        repr(lab.process.authorities.tenants),
        repr(lab.process.context.world.written),
    ]
    open_places += [
        json.dumps(lab.cluster.all(kind))
        for kind in (Kind.CONFIG_MAP, Kind.EVENT, Kind.CERTIFICATE, Kind.HOST, Kind.RULE, Kind.NETWORK_POLICY)
    ]
    open_places += [script.text for script in lab.process.discovery.history]
    open_places.append(lab.process.metrics.text().decode())
    leaks = [(key, place[:80]) for key in keys for place in open_places if key in place]
    assert leaks == []
