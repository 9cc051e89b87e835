"""An unchanged world is left alone (guarantee G6): counted in the API server's own audit log."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.support.cluster import cluster_environment
from tests.support.tenant import Tenant

_WRITES = frozenset({"create", "update", "patch", "delete"})
_OPERATOR = "system:serviceaccount:mtls-system:mtls-operator"


def writes_since(moment: float) -> list[str]:
    """Return what the operator wrote after a moment, from the audit log."""
    log = Path(cluster_environment()["KUBECONFIG"]).parent / "logs" / "audit.log"
    found = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] != _OPERATOR or event["verb"] not in _WRITES:
            continue
        at = time.strptime(event["requestReceivedTimestamp"][:19], "%Y-%m-%dT%H:%M:%S")
        if time.mktime(at) - time.timezone > moment:
            found.append(f"{event['verb']} {event['requestURI']}")
    return found


def test_the_operator_writes_nothing_while_nothing_changes(shop: Tenant) -> None:
    shop.wait_pods(2)
    settled = time.time() + 8
    while time.time() < settled + 20:
        time.sleep(1)
    ours = [write for write in writes_since(settled) if f"/namespaces/{shop.namespace}/" in write]
    assert ours == []
