"""From a ClientCertificate to its Secret."""

from __future__ import annotations

from base64 import b64decode

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import is_issued_by, read_certificate
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate


async def test_a_certificate_takes_three_writes_and_one_event(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    lab.writes()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    assert sorted(str(write) for write in lab.writes() if write.kind is not Kind.EVENT) == [
        "create Secret shop/gateway",
        "patch ClientCertificate shop/gateway",
        "patch-status ClientCertificate shop/gateway",
    ]
    assert [event[1] for event in lab.events()] == ["Issued", "Issued"]
