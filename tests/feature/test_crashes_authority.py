"""G3 with a process that dies at every write of what concerns a whole namespace: rotation, lists, ledger, its end."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from tests.feature.harness import Lab
from tests.feature.survival import OFTEN, WHEN, survive
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.api.certificate import RevocationReason
from mtls_operator.cluster import Body, Kind
from mtls_operator.pki import is_signed_by, read_crl
from mtls_operator.plan import ledger, readable
from mtls_operator.plan.pages import PAGE_KEY, page_number, paginate, whole
from mtls_operator.plan.requests import Request, request_document

SYSTEM = names.OPERATOR_NAMESPACE


def _life(lab: Lab) -> str:
    return str(lab.cluster.read(Kind.NAMESPACE, "", NAMESPACE)["metadata"]["uid"])


def _cas(lab: Lab) -> list[dict[str, str]]:
    """Return name, phase and certificate of each CA of the namespace's present life, oldest first."""
    found = [
        {
            "name": body["metadata"]["name"],
            "phase": body["metadata"]["annotations"][names.PHASE_ANNOTATION],
            "pem": b64decode(body["data"][names.TLS_CERT_KEY]).decode(),
        }
        for body in lab.authority_secrets()
        if body["metadata"]["labels"][names.NAMESPACE_UID_LABEL] == _life(lab)
    ]
    return sorted(found, key=lambda one: int(one["name"].rpartition("-")[2]))


def _phases(lab: Lab) -> list[str]:
    return [one["phase"] for one in _cas(lab)]


def _rotate(lab: Lab, how: str = "2026-03-01", *, oldest: bool = False) -> None:
    """Ask for a rotation of the CA that signs, or say something about the oldest one."""
    chosen = next(one for one in _cas(lab) if oldest or one["phase"] == "Active")
    patch = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: how}}}
    lab.cluster.edit(Kind.SECRET, SYSTEM, chosen["name"], patch)


def _revoke(lab: Lab, name: str) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, name, {"spec": {"revoked": True}})


def _leaf(lab: Lab, name: str) -> str:
    body = lab.cluster.read(Kind.SECRET, NAMESPACE, name)
    return b64decode(body["data"][names.TLS_CERT_KEY]).decode()


async def _served(lab: Lab, **spec: object) -> None:
    """A host with a proxy that runs, a good certificate, and a bad one that is revoked."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.run_pod(pod())
    for name in ("good", "bad"):
        lab.cluster.make(certificate(name, **spec))
    await lab.settle()
    _revoke(lab, "bad")
    await lab.pass_time(seconds=5)


@WHEN
@OFTEN
async def test_a_rotation(lab: Lab, *, after: bool, again: bool) -> None:
    lab.settings = replace(lab.settings, reissue_seconds=30)
    bad: list[str] = []

    def act(lab: Lab) -> None:
        bad.append(lab.serial("bad"))
        _rotate(lab)

    async def check(lab: Lab) -> None:
        assert _phases(lab) == ["Retiring", "Active"]
        old, new = (one["pem"] for one in _cas(lab))
        assert lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][
            names.CA_KEY
        ] == (new + old)
        assert is_signed_by(new, _leaf(lab, "good"))
        assert lab.is_refused(bad[-1])
        assert not lab.is_refused(lab.serial("good"))
        assert lab.state("good") == "Active"
        _revoke(lab, "good")
        await lab.settle()
        assert lab.is_refused(lab.serial("good"))

    await survive(lab, _served, act, check, after=after, again=again, minutes=1.5)


@WHEN
@OFTEN
async def test_the_end_of_a_rotation(lab: Lab, *, after: bool, again: bool) -> None:
    """The old CA is retired when its last certificate has ended."""
    lab.settings = replace(lab.settings, reissue_seconds=5)

    async def prepare(lab: Lab) -> None:
        await _served(lab, validity="3h")
        _rotate(lab)
        await lab.pass_time(seconds=20)
        assert _phases(lab) == ["Retiring", "Active"]

    def act(lab: Lab) -> None:
        lab.skew += timedelta(hours=2, minutes=58)
        lab.resync()

    def check(lab: Lab) -> None:
        assert _phases(lab) == ["Retired", "Active"]
        assert is_signed_by(_cas(lab)[1]["pem"], _leaf(lab, "good"))
        assert lab.state("good") == "Active"

    await survive(lab, prepare, act, check, after=after, again=again, minutes=4)


@WHEN
@OFTEN
async def test_a_compromised_ca(lab: Lab, *, after: bool, again: bool) -> None:
    def check(lab: Lab) -> None:
        assert _phases(lab) == ["Retired", "Active"]
        old, new = (one["pem"] for one in _cas(lab))
        bundle = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.CLIENT_CA_CONFIGMAP)["data"][names.CA_KEY]
        assert old not in bundle
        assert is_signed_by(new, _leaf(lab, "good"))
        assert lab.state("good") == "Active"

    act = partial(_rotate, how=names.ROTATE_COMPROMISED)
    await survive(lab, _served, act, check, after=after, again=again, minutes=0.3)


@WHEN
@OFTEN
async def test_a_ca_that_is_compromised_while_it_retires(lab: Lab, *, after: bool, again: bool) -> None:
    async def prepare(lab: Lab) -> None:
        await _served(lab)
        _rotate(lab)
        await lab.pass_time(seconds=30)
        assert _phases(lab) == ["Retiring", "Active"]

    def check(lab: Lab) -> None:
        assert _phases(lab) == ["Retired", "Active"]
        assert is_signed_by(_cas(lab)[1]["pem"], _leaf(lab, "good"))

    act = partial(_rotate, how=names.ROTATE_COMPROMISED, oldest=True)
    await survive(lab, prepare, act, check, after=after, again=again, minutes=0.3)


@WHEN
@OFTEN
async def test_revoking_and_deleting_while_the_ca_is_missing(lab: Lab, *, after: bool, again: bool) -> None:
    serials: dict[str, str] = {}
    backup: list[Body] = []

    async def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        lab.run_pod(pod())
        for name in ("good", "bad", "gone"):
            lab.cluster.make(certificate(name))
        await lab.settle()
        serials.update({name: lab.serial(name) for name in ("good", "bad", "gone")})
        backup[:] = [
            body for body in lab.authority_secrets() if _life(lab) in str(body["metadata"]["labels"])
        ]
        lab.cluster.remove(Kind.SECRET, SYSTEM, backup[0]["metadata"]["name"])
        await lab.settle()

    def act(lab: Lab) -> None:
        _revoke(lab, "bad")
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gone")

    async def check(lab: Lab) -> None:
        await lab.settle()
        refused = {name for name, serial in serials.items() if lab.proxies_refuse(serial)}
        assert refused == {"bad", "gone"}
        assert (lab.state("good"), lab.state("bad")) == ("Active", "Revoked")
        assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gone") is None
        assert _cas(lab) == []
        lab.cluster.overwrite(backup[0])
        await lab.pass_time(seconds=2)
        assert {name for name, serial in serials.items() if lab.is_refused(serial)} == {"bad", "gone"}

    await survive(lab, prepare, act, check, after=after, again=again, minutes=0.1)


@WHEN
@OFTEN
async def test_revoking_by_serial_number(lab: Lab, *, after: bool, again: bool) -> None:
    serials: list[str] = []

    async def prepare(lab: Lab) -> None:
        """Leave a valid certificate that no object names."""
        lab.cluster.make(host())
        lab.run_pod(pod())
        for name in ("good", "lost"):
            lab.cluster.make(certificate(name, deletionPolicy="Retain"))
        await lab.settle()
        serials.append(lab.serial("lost"))
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "lost")

    def act(lab: Lab) -> None:
        request = Request(serials[-1], RevocationReason.KEY_COMPROMISE)
        lab.cluster.make(request_document(SYSTEM, NAMESPACE, _life(lab), request))

    def check(lab: Lab) -> None:
        assert lab.is_refused(serials[-1])
        assert not lab.is_refused(lab.serial("good"))
        labels = f"{names.ROLE_LABEL}=revocation-request"
        assert lab.cluster.all(Kind.CONFIG_MAP, SYSTEM, labels) == []

    await survive(lab, prepare, act, check, after=after, again=again)


@WHEN
async def test_pruning(lab: Lab, *, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month after their end the records of certificates go, page by page, and no other record with them."""
    monkeypatch.setattr(ledger, "PAGE_BYTES", 500)
    living: list[str] = []

    async def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        validities = {f"short-{number}": "24h" for number in range(3)} | {"long": "8760h"}
        for name, validity in validities.items():
            lab.cluster.make(certificate(name, validity=validity))
        await lab.settle()
        living.append(lab.serial("long"))
        for name in validities:
            lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, name)
            await lab.settle()
        assert len(lab.ledger()) >= 4

    def check(lab: Lab) -> None:
        assert set(lab.ledger()) & {living[-1]} == lab.revoked_in_ledger() & set(lab.ledger())
        assert lab.is_refused(living[-1])

    def act(lab: Lab) -> None:
        lab.skew += timedelta(days=32)

    await survive(lab, prepare, act, check, after=after, minutes=32 * 60)


@WHEN
@OFTEN
async def test_a_list_in_pages(
    lab: Lab, *, after: bool, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no write is there no whole, signed list of what was revoked before."""
    monkeypatch.setattr(readable, "READABLE_BYTES", 0)
    monkeypatch.setattr(readable, "paginate", partial(paginate, page_bytes=500))

    async def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        for number in range(8):
            lab.cluster.make(certificate(f"c-{number}"))
        await lab.settle()
        for number in range(6):
            _revoke(lab, f"c-{number}")
        await lab.settle()

    def act(lab: Lab) -> None:
        for number in range(6, 8):
            _revoke(lab, f"c-{number}")

    def check(lab: Lab) -> None:
        serials = {lab.serial(f"c-{number}") for number in range(8)}
        assert serials <= lab.revoked_in_ledger()
        parts = {
            number: str(body["data"].get(PAGE_KEY, ""))
            for body in lab.cluster.all(Kind.CONFIG_MAP, NAMESPACE)
            if (number := page_number(body["metadata"]["name"])) is not None
        }
        first = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
        crl = whole(names.CRL_KEY, first, parts)
        assert crl is not None, "there is no whole list"
        (ca,) = [stored.authority for stored in lab.process.tenant().generations]
        assert {entry.serial for entry in read_crl(crl, ca).revocations} == serials

    await survive(lab, prepare, act, check, after=after, again=again)


@WHEN
async def test_the_end_of_a_namespace(lab: Lab, *, after: bool) -> None:
    """It does not hang, and what is left of it goes an hour later; what another namespace needs stays."""
    other: list[str] = []

    async def prepare(lab: Lab) -> None:
        await _served(lab)
        if lab.cluster.find(Kind.NAMESPACE, "", "other") is None:
            lab.cluster.make_namespace("other")
            lab.cluster.make(host(namespace="other"))
            lab.cluster.make(certificate("theirs", namespace="other", revoked=False))
            await lab.settle()
            lab.cluster.edit(Kind.CERTIFICATE, "other", "theirs", {"spec": {"revoked": True}})
            await lab.settle()
        other[:] = [lab.serial("theirs", "other")]

    def check(lab: Lab) -> None:
        assert lab.cluster.find(Kind.NAMESPACE, "", NAMESPACE) is None
        left = [
            body["metadata"]["name"]
            for kind in (Kind.SECRET, Kind.CONFIG_MAP)
            for body in lab.cluster.all(kind, SYSTEM, f"{names.NAMESPACE_LABEL}={NAMESPACE}")
        ]
        assert left == []
        assert lab.is_refused(other[0], "other")
        assert len(lab.authority_secrets("other")) == 1
        lab.cluster.make_namespace(NAMESPACE)

    await survive(
        lab, prepare, lambda lab: lab.cluster.remove_namespace(NAMESPACE), check, after=after, minutes=90
    )
