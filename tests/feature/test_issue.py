"""From a ClientCertificate to its Secret: G3, G4 and G6."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.fake_cluster import Fault

from mtls_operator.api import names
from mtls_operator.api.certificate import KEY_SIZES
from mtls_operator.api.secret import Secret
from mtls_operator.api.timestamp import format_timestamp
from mtls_operator.cluster import Kind, UnavailableError
from mtls_operator.controller.handlers import WATCHED
from mtls_operator.pki import is_issued_by, load_authority, read_certificate


async def test_a_certificate_takes_three_writes_and_one_event(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    lab.writes()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    assert [str(write) for write in lab.writes() if write.kind is not Kind.EVENT] == [
        "patch ClientCertificate shop/gateway",
        "create Secret shop/gateway",
        "patch-status ClientCertificate shop/gateway",
    ]
    assert [reason for _, reason, _ in lab.events()] == ["Issued", "Issued"]


async def test_a_certificate_brings_four_watch_events(lab: Lab) -> None:
    """What the operator watches tells it of each certificate's own life, and of nothing else for it."""
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    seen: list[tuple[str, str, str]] = []
    stop = lab.cluster.watch(
        WATCHED, lambda kind, event, body: seen.append((event, kind.kind, body["metadata"]["name"]))
    )
    for name in ("gateway", "sensor"):
        lab.cluster.make(certificate(name))
        await lab.settle()
    await lab.pass_time(minutes=5)
    stop()
    assert seen == [
        event
        for name in ("gateway", "sensor")
        for event in (
            ("ADDED", "ClientCertificate", name),
            ("MODIFIED", "ClientCertificate", name),
            ("ADDED", "Secret", name),
            ("MODIFIED", "ClientCertificate", name),
        )
    ]


async def test_certificates_in_bulk_bring_four_watch_events_each(lab: Lab) -> None:
    """Nor more when many are issued at once: their index numbers were reserved before, in a block."""
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    seen: list[str] = []
    stop = lab.cluster.watch(WATCHED, lambda kind, event, _: seen.append(f"{event} {kind.kind}"))
    for number in range(100):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.settle()
    stop()
    assert len(seen) <= 4 * 100, Counter(seen)


async def test_the_secret_holds_key_certificate_and_ca_and_belongs_to_its_object(lab: Lab) -> None:
    await lab.start()
    made = lab.cluster.make(certificate("gateway", dnsNames=["gateway.example.com"]))
    await lab.settle()
    secret = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    ca = lab.authority_secrets()[0]
    authority = load_authority(
        b64decode(ca["data"][names.TLS_CERT_KEY]), Secret(b64decode(ca["data"][names.TLS_KEY_KEY]))
    )
    issued = b64decode(secret["data"][names.TLS_CERT_KEY])
    assert is_issued_by(authority, issued.decode())
    assert read_certificate(issued).dns_names == ("gateway.example.com",)
    assert b64decode(secret["data"][names.CA_KEY]).decode() == authority.certificate_pem
    assert b"PRIVATE KEY" in b64decode(secret["data"][names.TLS_KEY_KEY])
    assert secret["type"] == "kubernetes.io/tls"
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [made["metadata"]["uid"]]


async def test_the_status_says_what_was_issued(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    status = lab.status(Kind.CERTIFICATE, "gateway")
    assert status["state"] == "Active"
    assert status["serialNumber"] == lab.serial("gateway")
    assert status["notAfter"] == "2027-03-01T12:00:00Z"
    assert status["conditions"][0]["observedGeneration"] == 1
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("True", "Issued")
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[:2] == ("False", "NotRevoked")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"subject": {"commonName": "\u00fc" * 40}}, "InvalidSubject"),
    ],
)
async def test_what_cannot_be_said_in_a_certificate_is_refused_and_uses_up_no_index(
    lab: Lab, spec: dict[str, Any], reason: str
) -> None:
    """G6: looking again every half minute must not eat the bitmap."""
    await lab.start()
    lab.cluster.make(certificate("first"))
    lab.cluster.make(certificate("gateway", **spec))
    await lab.settle()
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", reason)
    free = len(lab.process.tenant().free)
    lab.writes()
    await lab.pass_time(hours=1)
    assert len(lab.process.tenant().free) == free
    assert lab.writes() == []


async def test_ready_turns_false_at_the_end_without_any_event(lab: Lab) -> None:
    """G4: a certificate ends by the clock."""
    await lab.start()
    lab.cluster.make(certificate("gateway", validity="2h", renewal={"policy": "Never"}))
    await lab.settle()
    await lab.pass_time(hours=2, minutes=1)
    assert lab.state() == "Expired"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("False", "CertificateExpired")


async def _whole_world(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("good"))
    lab.cluster.make(certificate("bad", revoked=True))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    lab.cluster.make(certificate("worse"))
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "worse", {"spec": {"revoked": True}})
    await lab.settle()
    await lab.pass_time(seconds=10)


async def test_an_unchanged_world_is_not_written_to(lab: Lab) -> None:
    """G6: the events of our own writes, a resync and a quarter of an hour bring no write."""
    await _whole_world(lab)
    assert lab.state("worse") == "Revoked"
    assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
    lab.writes()
    lab.resync()
    await lab.settle()
    await lab.pass_time(minutes=15)
    assert lab.writes() == []


async def test_a_restart_in_an_unchanged_world_writes_nothing(lab: Lab) -> None:
    """G6 and G7: the same content, the same versions, nothing pushed anew."""
    await _whole_world(lab)
    before = {key: script.version for key, script in lab.process.discovery.published.items()}
    lab.writes()
    await lab.restart()
    await lab.settle()
    await lab.pass_time(seconds=30)
    assert lab.writes() == []
    assert {key: script.version for key, script in lab.process.discovery.published.items()} == before


async def test_a_create_whose_answer_was_lost_issues_once(lab: Lab) -> None:
    """G3: the Secret that is found is adopted."""
    await lab.start()
    lab.cluster.faults.append(
        Fault("create", Kind.SECRET, UnavailableError("timeout"), name="gateway", answer_lost=True)
    )
    lab.cluster.make(certificate("gateway"))
    await lab.settle(failures=True)
    creates = [
        w for w in lab.writes() if w.method == "create" and w.kind is Kind.SECRET and w.name == "gateway"
    ]
    assert len(creates) == 1
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial("gateway")


async def test_a_namespace_that_is_seen_after_its_certificates_gets_them_issued(lab: Lab) -> None:
    """Watches of different kinds run at different speeds."""
    lab.delays[Kind.NAMESPACE] = 2.0
    await lab.start()
    lab.cluster.make_namespace("late")
    lab.cluster.make(certificate("gateway", namespace="late"))
    await lab.pass_time(seconds=5)
    assert lab.state("gateway", "late") == "Active"


async def test_no_two_certificates_share_an_index(lab: Lab) -> None:
    await lab.start()
    for number in range(40):
        lab.cluster.make(certificate(f"c{number}"))
    await lab.settle()
    serials = set(lab.client_secrets().values())
    assert len(serials) == 40
    assert len({serial[-8:] for serial in serials}) == 40


EVERY_NAME: dict[str, Any] = {
    "subject": {
        "commonName": "gateway",
        "organizations": ["ACME", "Field"],
        "organizationalUnits": ["Meters"],
        "countries": ["CH"],
        "localities": ["Bern"],
        "provinces": ["BE"],
    },
    "dnsNames": ["gateway.example.com", "gw-7.example.com"],
    "uris": ["spiffe://example.com/gateway", "urn:device:7"],
    "emails": ["ops@example.com"],
    "ipAddresses": ["10.0.0.1", "2001:db8::1"],
}


async def test_every_name_that_a_spec_can_have_is_in_the_certificate(lab: Lab) -> None:
    lab.cluster.make(certificate("gateway", **EVERY_NAME))
    await lab.start()
    await lab.settle()
    facts = read_certificate(_issued(lab, "gateway"))
    assert set(facts.subject.split(",")) == {
        *("CN=gateway", "O=ACME", "O=Field", "OU=Meters", "C=CH", "L=Bern", "ST=BE")
    }
    assert facts.dns_names == tuple(EVERY_NAME["dnsNames"])
    assert facts.uris == tuple(EVERY_NAME["uris"])
    assert facts.emails == tuple(EVERY_NAME["emails"])
    assert facts.ip_addresses == tuple(EVERY_NAME["ipAddresses"])


async def test_every_kind_of_key_that_a_spec_can_ask_for_is_made(lab: Lab) -> None:
    kinds = [(kind.value, size) for kind, sizes in KEY_SIZES.items() for size in sizes]
    for algorithm, size in kinds:
        key = {"algorithm": algorithm, "size": size}
        lab.cluster.make(certificate(f"gateway-{size}", privateKey=key))
    await lab.start()
    await lab.settle()
    made = [read_certificate(_issued(lab, f"gateway-{size}")).public_key for _, size in kinds]
    assert made == [f"{algorithm}-{size}" for algorithm, size in kinds]


async def test_no_certificate_outlives_its_ca_and_the_status_says_so(lab: Lab) -> None:
    lab.cluster.make(certificate("first"))
    await lab.start()
    await lab.settle()
    await lab.pass_time(hours=2)
    lab.cluster.make(certificate("gateway", validity="87600h"))
    await lab.settle()
    (ca,) = lab.authority_secrets()
    end = read_certificate(b64decode(ca["data"][names.TLS_CERT_KEY])).not_after
    assert read_certificate(_issued(lab, "gateway")).not_after == end
    assert lab.status(Kind.CERTIFICATE, "gateway")["notAfter"] == format_timestamp(end)


def _issued(lab: Lab, name: str) -> bytes:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.TLS_CERT_KEY])
