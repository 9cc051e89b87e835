"""What stands in a certificate's Secret: put back when somebody edits it, with nothing lost of what was there (G3)."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from typing import Any

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate
from tests.support.fake_cluster import Crash
from tests.support.requests import key_pem

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.pki import is_pair, read_certificate
from mtls_operator.plan.ledger import Entry


def _data(lab: Lab, key: str, name: str = "gateway") -> bytes:
    return b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"][key])


def _put(lab: Lab, **data: bytes | None) -> None:
    encoded = {
        key.replace("_", "."): None if value is None else b64encode(value).decode()
        for key, value in data.items()
    }
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": encoded})


async def _issued(lab: Lab, **spec: Any) -> str:
    lab.cluster.make(certificate("gateway", **spec))
    await lab.start()
    await lab.settle()
    return lab.serial()


def _is_whole(lab: Lab) -> bool:
    facts = read_certificate(_data(lab, names.TLS_CERT_KEY))
    return (
        is_pair(_data(lab, names.TLS_CERT_KEY), Secret(_data(lab, names.TLS_KEY_KEY)))
        and lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == facts.serial
        and lab.state() == "Active"
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"tls_crt": b"rubbish"},
        {"tls_crt": None},
        {"tls_crt": b""},
        {"tls_key": b"rubbish"},
        {"tls_key": None},
        {"tls_key": key_pem("somebody")},
    ],
    ids=[
        "certificate edited",
        "certificate gone",
        "certificate empty",
        "key edited",
        "key gone",
        "another key",
    ],
)
async def test_a_damaged_pair_is_replaced_and_the_old_certificate_is_known(
    lab: Lab, damage: dict[str, bytes | None]
) -> None:
    first = await _issued(lab)
    _put(lab, **damage)
    await lab.settle()
    assert lab.serial() != first
    assert _is_whole(lab)
    assert lab.ledger()[first].entry is Entry.KNOWN
    assert [one["serialNumber"] for one in lab.status(Kind.CERTIFICATE, "gateway")["previous"]] == [first]


async def test_a_deleted_secret_is_made_again_with_a_new_certificate(lab: Lab) -> None:
    first = await _issued(lab)
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.serial() != first
    assert _is_whole(lab)


async def test_the_key_is_kept_where_that_is_asked_for_and_it_is_still_there(lab: Lab) -> None:
    await _issued(lab, privateKey={"rotationPolicy": "Never"})
    key = _data(lab, names.TLS_KEY_KEY)
    _put(lab, tls_crt=b"rubbish")
    await lab.settle()
    assert _data(lab, names.TLS_KEY_KEY) == key
    assert _is_whole(lab)


async def test_without_that_a_damaged_certificate_costs_the_key_too(lab: Lab) -> None:
    await _issued(lab)
    key = _data(lab, names.TLS_KEY_KEY)
    _put(lab, tls_crt=b"rubbish")
    await lab.settle()
    assert _data(lab, names.TLS_KEY_KEY) != key


async def test_a_key_that_somebody_put_beside_the_certificate_is_never_certified(lab: Lab) -> None:
    """Whoever may write the Secret would otherwise choose the key."""
    await _issued(lab, privateKey={"rotationPolicy": "Never"})
    _put(lab, tls_key=key_pem("somebody"))
    await lab.settle()
    assert _data(lab, names.TLS_KEY_KEY) != key_pem("somebody")
    assert _is_whole(lab)


async def test_nothing_is_issued_in_the_place_of_a_damaged_certificate_that_is_revoked(lab: Lab) -> None:
    first = await _issued(lab)
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
    await lab.settle()
    _put(lab, tls_crt=b"rubbish")
    await lab.settle()
    assert lab.is_refused(first)
    assert _data(lab, names.TLS_CERT_KEY) == b"rubbish"
    assert lab.state() == "Revoked"


@pytest.mark.parametrize("text", [b"rubbish", b"", None], ids=["edited", "empty", "gone"])
async def test_the_certificate_of_the_ca_is_put_back(lab: Lab, text: bytes | None) -> None:
    serial = await _issued(lab)
    before = _data(lab, names.CA_KEY)
    _put(lab, ca_crt=text)
    await lab.settle()
    assert _data(lab, names.CA_KEY) == before
    assert lab.serial() == serial


async def test_labels_are_put_back_and_what_others_added_stays(lab: Lab) -> None:
    serial = await _issued(lab)
    labels = {names.ROLE_LABEL: None, names.MANAGED_BY_LABEL: "somebody", "team": "gateways"}
    change = {"metadata": {"labels": labels}, "data": {"theirs": "dGhlaXJz"}}
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", change)
    await lab.settle()
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")
    assert body["metadata"]["labels"] == {
        names.ROLE_LABEL: "certificate",
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        "team": "gateways",
    }
    assert _data(lab, "theirs") == b"theirs"
    assert lab.serial() == serial


async def test_the_mark_of_what_it_was_issued_for_survives_an_edit(lab: Lab) -> None:
    await _issued(lab)
    _put(lab, ca_crt=b"rubbish")
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"dnsNames": ["gw.example.com"]}})
    await lab.settle()
    assert read_certificate(_data(lab, names.TLS_CERT_KEY)).dns_names == ("gw.example.com",)


async def test_a_secret_that_cannot_be_changed_is_named(lab: Lab) -> None:
    await _issued(lab)
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"immutable": True})
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"dnsNames": ["gw.example.com"]}})
    await lab.settle()
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason) == ("True", "RenewalFailed")
    assert "immutable" in message


async def test_contents_that_cannot_be_put_back_are_named_and_not_tried_without_end(lab: Lab) -> None:
    await _issued(lab, renewal={"policy": "Never"})
    change = {"data": {names.CA_KEY: "cnViYmlzaA=="}, "immutable": True}
    lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", change)
    await lab.settle()
    status, reason, message = lab.condition(Kind.CERTIFICATE, "gateway", "Ready")
    assert (status, reason) == ("False", "InvalidSecret")
    assert "immutable" in message
    lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")
    await lab.pass_time(minutes=2)
    assert _is_whole(lab)
    assert lab.condition(Kind.CERTIFICATE, "gateway", "Ready")[:2] == ("True", "Ready")


async def test_what_somebody_writes_after_the_certificate_goes(lab: Lab) -> None:
    serial = await _issued(lab)
    before = _data(lab, names.TLS_CERT_KEY)
    _put(lab, tls_crt=before + b"# rubbish\n" * 9000)
    await lab.settle()
    assert _data(lab, names.TLS_CERT_KEY) == before
    assert lab.serial() == serial


async def test_an_edit_while_the_operator_is_away_is_mended_when_it_is_back(lab: Lab) -> None:
    first = await _issued(lab)
    await lab.stop()
    _put(lab, tls_key=None)
    await lab.start()
    await lab.settle()
    assert lab.serial() != first
    assert lab.ledger()[first].entry is Entry.KNOWN


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("position", range(1, 6))
async def test_a_kill_at_any_write_of_a_repair_loses_nothing(lab: Lab, position: int, *, after: bool) -> None:
    """G3."""
    first = await _issued(lab)
    await lab.stop()
    _put(lab, tls_crt=b"rubbish")
    await lab.start(crash_at=position, crash_after=after)
    with contextlib.suppress(Crash):
        await lab.settle(failures=True)
    await lab.restart()
    await lab.settle()
    assert _is_whole(lab)
    lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")
    await lab.settle()
    assert lab.is_refused(first)
    assert len(lab.revoked_in_ledger()) == 2
