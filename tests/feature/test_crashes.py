"""G3 with a process that dies before or after every single write, and one that starts with no memory afterwards."""

from __future__ import annotations

import pytest
from tests.feature.harness import Lab
from tests.feature.survival import OFTEN, WHEN, survive
from tests.support.builders import NAMESPACE, certificate, host, pod

from mtls_operator.api import names
from mtls_operator.cluster import Kind


def _nothing(_: Lab) -> None:
    return


def _with_certificate(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.cluster.make(certificate("gateway"))


def _issued_once(lab: Lab) -> None:
    assert lab.state() == "Active"
    assert lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"] == lab.serial()
    assert list(lab.client_secrets()) == ["gateway"]
    creates = [w for w in lab.writes() if (w.method, w.kind, w.name) == ("create", Kind.SECRET, "gateway")]
    assert len(creates) == 1
    assert lab.serial() not in lab.revoked_in_ledger()


@WHEN
@OFTEN
async def test_issuing(lab: Lab, *, after: bool, again: bool) -> None:
    def act(lab: Lab) -> None:
        lab.writes()
        lab.cluster.make(certificate("gateway"))

    await survive(lab, _nothing, act, _issued_once, after=after, again=again)


@WHEN
@OFTEN
async def test_revoking(lab: Lab, *, after: bool, again: bool) -> None:
    def act(lab: Lab) -> None:
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})

    def check(lab: Lab) -> None:
        serial = lab.serial()
        assert serial in lab.revoked_in_ledger()
        assert lab.is_refused(serial)
        assert lab.state() == "Revoked"

    await survive(lab, _with_certificate, act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_restoring(lab: Lab, *, after: bool, again: bool) -> None:
    def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        lab.cluster.make(certificate("gateway"))

    async def check(lab: Lab) -> None:
        assert lab.serial() not in lab.revoked_in_ledger()
        assert not lab.is_refused(lab.serial())
        assert lab.state() == "Active"

    def act(lab: Lab) -> None:
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": False}})

    await survive(lab, prepare, act, check, after=after, again=again)


@WHEN
@OFTEN
@pytest.mark.parametrize("with_host", [True, False], ids=["with a host", "without any host"])
async def test_deleting_revokes(lab: Lab, *, after: bool, again: bool, with_host: bool) -> None:
    serials: list[str] = []

    def prepare(lab: Lab) -> None:
        if with_host:
            _with_certificate(lab)
        else:
            _made(lab, certificate("gateway"))

    def act(lab: Lab) -> None:
        serials.append(lab.serial())
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")

    def check(lab: Lab) -> None:
        assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
        assert serials[-1] in lab.revoked_in_ledger()
        assert lab.is_refused(serials[-1])

    await survive(lab, prepare, act, check, after=after, again=again)


def _made(lab: Lab, body: dict[str, object]) -> None:
    lab.cluster.make(body)


@WHEN
@OFTEN
async def test_deleting_with_retain_keeps_the_certificate_valid_and_known(
    lab: Lab, *, after: bool, again: bool
) -> None:
    serials: list[str] = []

    def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        lab.cluster.make(certificate("gateway", deletionPolicy="Retain"))

    def act(lab: Lab) -> None:
        serials.append(lab.serial())
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")

    def check(lab: Lab) -> None:
        assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
        assert serials[-1] in lab.ledger()
        assert serials[-1] not in lab.revoked_in_ledger()
        assert not lab.is_refused(serials[-1])

    await survive(lab, prepare, act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_issuing_again_after_the_secret_was_deleted(lab: Lab, *, after: bool, again: bool) -> None:
    former: list[str] = []

    def act(lab: Lab) -> None:
        former.append(lab.serial())
        lab.cluster.remove(Kind.SECRET, NAMESPACE, "gateway")

    async def check(lab: Lab) -> None:
        assert lab.serial() != former[-1]
        assert lab.state() == "Active"
        assert former[-1] in lab.ledger()
        lab.process.client.crash_at = None
        lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", {"spec": {"revoked": True}})
        await lab.settle()
        assert {former[-1], lab.serial()} <= lab.revoked_in_ledger()
        assert lab.is_refused(former[-1])

    await survive(lab, _with_certificate, act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_the_first_certificate_of_a_namespace_leaves_one_ca(
    lab: Lab, *, after: bool, again: bool
) -> None:
    def act(lab: Lab) -> None:
        lab.cluster.make(certificate("gateway"))

    def check(lab: Lab) -> None:
        uid = lab.cluster.read(Kind.NAMESPACE, "", NAMESPACE)["metadata"]["uid"]
        mine = [
            body
            for body in lab.authority_secrets()
            if body["metadata"]["labels"][names.NAMESPACE_UID_LABEL] == uid
        ]
        assert len(mine) == 1
        assert lab.state() == "Active"

    await survive(lab, _nothing, act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_a_host_with_proxies_comes_up(lab: Lab, *, after: bool, again: bool) -> None:
    """G7: a process that dies half-way leaves what the next one completes."""

    def act(lab: Lab) -> None:
        lab.proxies.clear()
        lab.cluster.make(host())
        lab.run_pod(pod())

    async def check(lab: Lab) -> None:
        lab.process.client.crash_at = None
        await lab.pass_time(seconds=5)
        assert lab.condition(Kind.HOST, "api", "Deployed")[0] == "True"

    await survive(lab, _nothing, act, check, after=after, again=again)
