"""A serial number is revoked that no object names: once it is in the ledger it stays so, and nobody else is hit."""

from __future__ import annotations

import contextlib
from base64 import b64decode
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule, tls_secret
from tests.support.fake_cluster import Crash, Fault

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.cluster import Body, Kind, UnavailableError
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    new_authority,
    parse_serial,
)
from mtls_operator.plan.ledger import Entry
from mtls_operator.plan.requests import AHEAD, Request, request_document

SYSTEM = names.OPERATOR_NAMESPACE


def _uid(lab: Lab) -> str:
    return str(lab.cluster.read(Kind.NAMESPACE, "", NAMESPACE)["metadata"]["uid"])


def _request(
    lab: Lab, serial: str, *, pem: str = "", reason: RevocationReason = RevocationReason.UNSPECIFIED
) -> Body:
    return request_document(SYSTEM, NAMESPACE, _uid(lab), Request(serial, reason, pem))


def _ask(lab: Lab, serial: str, *, pem: str = "", reason: str = "Unspecified") -> str:
    made = lab.cluster.make(_request(lab, serial, pem=pem, reason=RevocationReason(reason)))
    return str(made["metadata"]["name"])


def _refusal(lab: Lab, name: str) -> str:
    annotations = lab.cluster.read(Kind.CONFIG_MAP, SYSTEM, name)["metadata"].get("annotations") or {}
    return str(annotations[names.REFUSED_ANNOTATION])


def _is_there(lab: Lab, name: str) -> bool:
    return lab.cluster.find(Kind.CONFIG_MAP, SYSTEM, name) is not None


def _pem(lab: Lab, name: str) -> str:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][names.TLS_CERT_KEY]).decode()


def _forget(lab: Lab, name: str) -> None:
    """Take away everything that names a certificate, as a backup of yesterday does."""
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"metadata": {"finalizers": None}})
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, name)


async def _forgotten(lab: Lab) -> tuple[str, str]:
    """Return serial number and PEM of a valid certificate that nothing in the cluster names."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    lab.cluster.make(certificate("lost"))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    serial, pem = lab.serial("lost"), _pem(lab, "lost")
    await lab.stop()
    _forget(lab, "lost")
    await lab.start()
    await lab.settle()
    assert serial not in lab.ledger()
    return serial, pem


async def test_a_certificate_that_no_object_names_is_revoked_by_its_number(lab: Lab) -> None:
    serial, _ = await _forgotten(lab)
    name = _ask(lab, serial, reason="KeyCompromise")
    await lab.settle()
    assert lab.is_refused(serial)
    assert not lab.is_refused(lab.serial())
    assert not _is_there(lab, name)
    record = lab.ledger()[serial]
    assert (record.entry, record.reason.value, record.owner_uid) == (Entry.REVOKED, "KeyCompromise", "")


async def test_it_stays_revoked_until_its_ca_ends_where_nothing_tells_its_own_end(lab: Lab) -> None:
    serial, _ = await _forgotten(lab)
    _ask(lab, serial)
    await lab.settle()
    left = lab.ledger()[serial].not_after - lab.now()
    assert timedelta(days=3640) < left <= timedelta(days=3650)


async def test_the_certificate_itself_tells_its_number_and_its_end(lab: Lab) -> None:
    serial, pem = await _forgotten(lab)
    body = _request(lab, serial, pem=pem)
    del body["data"]["serial"]
    lab.cluster.make(body)
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.ledger()[serial].not_after - lab.now() <= timedelta(days=365)


async def test_a_request_made_while_the_operator_is_down_is_granted_when_it_is_back(lab: Lab) -> None:
    serial, _ = await _forgotten(lab)
    await lab.stop()
    name = _ask(lab, serial)
    await lab.start()
    await lab.settle()
    assert lab.is_refused(serial)
    assert not _is_there(lab, name)


async def test_a_granted_request_survives_the_loss_of_the_ledger(lab: Lab) -> None:
    """G3."""
    serial, _ = await _forgotten(lab)
    _ask(lab, serial)
    await lab.settle()
    await lab.stop()
    for page in lab.ledger_pages():
        lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, page["metadata"]["name"])
    await lab.start()
    await lab.settle()
    assert lab.is_refused(serial)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 6))
async def test_a_kill_at_any_write_loses_neither_request_nor_revocation(
    lab: Lab, position: int, *, after: bool
) -> None:
    serial, pem = await _forgotten(lab)
    high = f"{serial[:-8]}{5000:08X}"
    await lab.stop()
    asked = [_ask(lab, serial, pem=pem), _ask(lab, high)]
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    recorded = lab.revoked_in_ledger()
    assert all(_is_there(lab, name) or s in recorded for name, s in zip(asked, (serial, high), strict=True))
    await lab.restart()
    await lab.settle()
    assert lab.is_refused(serial)
    assert lab.is_refused(high)
    assert not any(_is_there(lab, name) for name in asked)
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert int(lab.serial("late")[-8:], 16) > 5000


async def test_a_revoked_number_is_never_given_out_again(lab: Lab) -> None:
    """The CA was restored from a copy that is older than the certificate: the next one would have its index."""
    await _forgotten(lab)
    lab.cluster.make(certificate("another"))
    await lab.settle()
    coming = lab.process.tenant().free[3]
    _ask(lab, f"{lab.serial()[:-8]}{coming:08X}")
    await lab.settle()
    for number in range(5):
        lab.cluster.make(certificate(f"late-{number}"))
    await lab.settle()
    indices = {int(lab.serial(f"late-{number}")[-8:], 16) for number in range(5)}
    assert coming not in indices
    assert not any(lab.is_refused(lab.serial(f"late-{number}")) for number in range(5))


async def test_a_number_above_all_that_were_given_out_raises_the_mark_first(lab: Lab) -> None:
    await _forgotten(lab)
    index = lab.process.tenant().stored.next_index + AHEAD - 1  # type: ignore[union-attr]  # it has a CA
    serial = f"{lab.serial()[:-8]}{index:08X}"
    lab.writes()
    _ask(lab, serial)
    await lab.settle()
    assert lab.is_refused(serial)
    kinds = [write.kind for write in lab.writes() if write.namespace == SYSTEM]
    assert kinds.index(Kind.SECRET) < kinds.index(Kind.CONFIG_MAP)
    await lab.restart()
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert int(lab.serial("late")[-8:], 16) > index


async def test_a_number_far_above_is_taken_for_a_typing_mistake(lab: Lab) -> None:
    """One digit must not ask for a list of half a gigabyte."""
    await _forgotten(lab)
    name = _ask(lab, f"{lab.serial()[:-8]}FFFFFFFF")
    await lab.settle()
    assert "check the last eight digits" in _refusal(lab, name)
    assert lab.revoked_in_ledger() == set()


async def test_a_mistyped_number_does_not_revoke_the_certificate_that_shares_its_index(lab: Lab) -> None:
    await _forgotten(lab)
    own = lab.serial()
    wrong = ("2" if own[4] != "2" else "3").join([own[:4], own[5:]])
    name = _ask(lab, wrong)
    await lab.settle()
    assert own in _refusal(lab, name)
    assert not lab.is_refused(own)
    assert wrong not in lab.ledger()


async def test_two_that_share_an_index_are_both_refused_once_the_known_one_is_revoked(lab: Lab) -> None:
    """After a restored backup an index can have been used twice: the way out of the refusal works."""
    await _forgotten(lab)
    own = lab.serial()
    twin = ("2" if own[4] != "2" else "3").join([own[:4], own[5:]])
    name = _ask(lab, twin)
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.remove(Kind.CONFIG_MAP, SYSTEM, name)
    _ask(lab, twin)
    await lab.settle()
    assert {own, twin} <= lab.revoked_in_ledger()


async def test_a_certificate_of_an_object_can_be_revoked_by_its_number_and_not_be_restored(lab: Lab) -> None:
    await _forgotten(lab)
    serial = lab.serial()
    _ask(lab, serial)
    await lab.settle()
    assert lab.state() == "Revoked"
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Revoked")[1] == "RestoreRefused"
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert lab.is_refused(serial)


async def test_a_graver_reason_makes_a_revocation_final(lab: Lab) -> None:
    await _forgotten(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    _ask(lab, lab.serial(), reason="KeyCompromise")
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})
    await lab.settle()
    assert lab.is_refused(lab.serial())


async def test_a_request_for_what_is_revoked_already_just_goes_away(lab: Lab) -> None:
    serial, _ = await _forgotten(lab)
    _ask(lab, serial)
    await lab.settle()
    before = lab.ledger()
    name = _ask(lab, serial)
    await lab.settle()
    assert not _is_there(lab, name)
    assert lab.ledger() == before


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "neither"),
        ({"serial": "nonsense"}, "not a serial number"),
        ({"serial": "0" * 40}, "positive"),
        ({"serial": "2A"}, "No CA of ours"),
        ({"serial": "F" * 38}, "No CA of ours"),
        ({"tls.crt": "nonsense"}, "certificate"),
        ({"serial": "11" * 15 + "00000001", "reason": "Boredom"}, "'Boredom' is no reason"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_the_reason(
    lab: Lab, data: dict[str, str], why: str
) -> None:
    serial, _ = await _forgotten(lab)
    lab.cluster.make({**_request(lab, serial), "data": data})
    await lab.settle()
    assert why in _refusal(lab, names.revocation_request(NAMESPACE, serial))
    assert lab.revoked_in_ledger() == set()


async def test_a_certificate_of_another_ca_is_refused(lab: Lab) -> None:
    lab.cluster.make_namespace("other")
    lab.cluster.make(certificate("foreign", namespace="other"))
    await _forgotten(lab)
    body = lab.cluster.read(Kind.SECRET, "other", "foreign")
    pem = b64decode(body["data"][names.TLS_CERT_KEY]).decode()
    name = _ask(lab, lab.serial("foreign", "other"), pem=pem)
    await lab.settle()
    assert "not signed by a CA of this namespace" in _refusal(lab, name)


async def test_a_certificate_with_another_number_than_asked_for_is_refused(lab: Lab) -> None:
    _, pem = await _forgotten(lab)
    name = _ask(lab, lab.serial(), pem=pem)
    await lab.settle()
    assert "has the serial number" in _refusal(lab, name)


async def test_a_tenant_cannot_ask_for_anything(lab: Lab) -> None:
    """The same ConfigMap in a namespace of users, about their own or another one's certificates."""
    serial, _ = await _forgotten(lab)
    body = _request(lab, serial)
    body["metadata"]["namespace"] = NAMESPACE
    lab.cluster.make(body)
    await lab.settle()
    assert not lab.is_refused(serial)
    assert (
        "annotations"
        not in lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, body["metadata"]["name"])["metadata"]
    )


async def test_what_tenants_can_forge_does_not_hold_a_revocation_back(lab: Lab) -> None:
    """Anybody can put a certificate of his own making, with any number, into a Secret with our labels."""
    serial, _ = await _forgotten(lab)
    twin = ("2" if serial[4] != "2" else "3").join([serial[:4], serial[5:]])
    own = new_authority(
        "own", now=lab.now(), lifetime=timedelta(days=9), entropy=lab.random.randbytes(AUTHORITY_ENTROPY)
    )
    forged = issue_client(
        own,
        subject=Subject(common_name="forged"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=timedelta(days=9),
        serial=parse_serial(twin),
        now=lab.now(),
    )
    body = tls_secret("forged", forged.certificate_pem, forged.key_pem.reveal())
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ROLE_LABEL: "certificate"}
    body["metadata"]["labels"] = labels
    lab.cluster.make(body)
    await lab.settle()
    _ask(lab, serial)
    await lab.settle()
    assert lab.is_refused(serial)


async def test_a_request_about_a_former_life_of_the_namespace_is_refused(lab: Lab) -> None:
    serial, _ = await _forgotten(lab)
    body = _request(lab, serial)
    body["metadata"]["labels"][names.NAMESPACE_UID_LABEL] = "uid-of-old"
    lab.cluster.make(body)
    await lab.settle()
    assert "former namespace" in _refusal(lab, body["metadata"]["name"])


@pytest.mark.parametrize("namespace", ["nowhere", "empty"])
async def test_a_namespace_without_anything_of_ours_gets_no_ca_for_a_request(
    lab: Lab, namespace: str
) -> None:
    serial, _ = await _forgotten(lab)
    lab.cluster.make_namespace("empty")
    request = Request(serial, RevocationReason.UNSPECIFIED)
    made = lab.cluster.make(request_document(SYSTEM, namespace, "", request))
    await lab.settle()
    assert namespace in _refusal(lab, made["metadata"]["name"])
    assert lab.authority_secrets(namespace) == []


async def test_a_refused_request_is_not_written_to_again(lab: Lab) -> None:
    """G6."""
    await _forgotten(lab)
    _ask(lab, f"{lab.serial()[:-8]}FFFFFFFF")
    await lab.settle()
    lab.writes()
    lab.resync()
    await lab.pass_time(hours=1)
    assert lab.writes() == []


async def test_a_request_that_cannot_be_read_now_does_not_hold_back_the_revocations_of_objects(
    lab: Lab,
) -> None:
    serial, _ = await _forgotten(lab)
    page = names.ledger_page(NAMESPACE, 1)
    lab.cluster.faults += [Fault("list", Kind.CONFIG_MAP, UnavailableError("down"))]
    _ask(lab, serial)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.pass_time_with_failures(seconds=20)
    assert lab.is_refused(lab.serial())
    assert lab.is_refused(serial)
    assert lab.cluster.find(Kind.CONFIG_MAP, SYSTEM, page) is not None
