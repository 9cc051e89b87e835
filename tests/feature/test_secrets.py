"""Which Secret is ours: only the one with our object's UID and our CA's signature."""

from __future__ import annotations

import copy
from datetime import timedelta

from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    make_serial,
    new_authority,
)
from mtls_operator.plan.authority import CERTIFICATE_ROLE, certificate_owner
from mtls_operator.plan.objects import metadata, secret

_FOREIGN = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"namespace": NAMESPACE, "name": "gateway"},
    "data": {"password": "aHVudGVyMg=="},
}


async def test_a_secret_of_that_name_that_is_not_ours_is_left_alone(lab: Lab) -> None:
    before = lab.cluster.make(_FOREIGN)
    await lab.start()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    await lab.pass_time(minutes=5)
    assert lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway") == before
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Issued")[:2] == ("False", "SecretConflict")
    assert lab.state() == "Failed"


async def test_a_name_that_stays_taken_uses_up_one_index(lab: Lab) -> None:
    """G6: looking again every half minute must not eat the bitmap."""
    lab.cluster.make(_FOREIGN)
    await lab.start()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    free = len(lab.process.tenant().free)
    lab.writes()
    await lab.pass_time(hours=1)
    assert len(lab.process.tenant().free) == free
    assert lab.writes() == []


async def test_once_the_name_is_free_the_certificate_is_issued(lab: Lab) -> None:
    lab.cluster.make(_FOREIGN)
    await lab.start()
    lab.cluster.make(certificate("gateway"))
    await lab.settle()
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
    await lab.pass_time(minutes=1)
    assert lab.state() == "Active"


async def test_a_copied_secret_with_our_labels_is_not_adopted(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    copied = copy.deepcopy(lab.cluster.read(Kind.SECRET, NAMESPACE, "first"))
    copied["metadata"]["name"] = "second"
    before = lab.cluster.make(copied)
    lab.cluster.make(certificate("second"))
    await lab.settle()
    assert lab.cluster.read(Kind.SECRET, NAMESPACE, "second") == before
    assert lab.condition(Kind.CERTIFICATE, "second", "Issued")[:2] == ("False", "SecretConflict")


async def test_a_copy_does_not_count_for_the_object_that_it_was_copied_from(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    serial = lab.serial("first")
    copied = copy.deepcopy(lab.cluster.read(Kind.SECRET, NAMESPACE, "first"))
    copied["metadata"]["name"] = "elsewhere"
    lab.cluster.make(copied)
    await lab.settle()
    assert lab.status(Kind.CERTIFICATE, "first")["serialNumber"] == serial


async def test_a_secret_with_our_uid_signed_by_another_ca_is_written_anew(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first"))
    await lab.settle()
    made = lab.cluster.make(certificate("gateway", revoked=True))
    await lab.settle()
    other = new_authority(
        "mtls-operator shop", now=lab.now(), lifetime=timedelta(days=365), entropy=b"e" * AUTHORITY_ENTROPY
    )
    forged = issue_client(
        other,
        subject=Subject(common_name="gateway"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=timedelta(days=1),
        serial=make_serial(0, b"s" * SERIAL_ENTROPY),
        now=lab.now(),
    )
    owner = certificate_owner("gateway", made["metadata"]["uid"])
    lab.cluster.make(
        secret(
            metadata(NAMESPACE, "gateway", role=CERTIFICATE_ROLE, owner=owner),
            {names.TLS_CERT_KEY: forged.certificate_pem, names.TLS_KEY_KEY: forged.key_pem},
        )
    )
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert lab.serial() not in ("", forged.facts.serial)
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial()
    assert forged.facts.serial not in lab.ledger()


async def test_two_objects_that_want_one_secret_do_not_fight(lab: Lab) -> None:
    await lab.start()
    lab.cluster.make(certificate("first", secretName="shared"))
    await lab.settle()
    serial = lab.serial("shared")
    lab.cluster.make(certificate("second", secretName="shared"))
    await lab.settle()
    await lab.pass_time(minutes=2)
    assert lab.serial("shared") == serial
    assert lab.state("first") == "Active"
    assert lab.condition(Kind.CERTIFICATE, "second", "Issued")[:2] == ("False", "SecretConflict")
