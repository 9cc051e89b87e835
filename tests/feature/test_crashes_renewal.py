"""G3 with a process that dies at every write of what keeps certificates going: renewal, reissue, requests, repair."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from typing import Any

from tests.feature.harness import Lab
from tests.feature.survival import OFTEN, WHEN, survive
from tests.support.builders import NAMESPACE, certificate, host, pod
from tests.support.requests import request_pem

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.cluster import Kind
from mtls_operator.pki import is_pair, read_certificate
from mtls_operator.plan.ledger import Entry

CONFIG = names.certificate_config("gateway")


def _with(**spec: Any) -> Any:
    """Make a namespace with a host, a proxy, and a certificate of this spec."""

    def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        lab.run_pod(pod())
        lab.cluster.make(certificate("gateway", **spec))

    return prepare


def _edit(lab: Lab, **patch: Any) -> None:
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "gateway", patch)


def _time_passes(lab: Lab, **duration: float) -> None:
    """Set the clock forward, and look at everything again, as a new list of everything does."""
    lab.skew += timedelta(**duration)
    lab.resync()


def _serial(lab: Lab) -> str:
    return str(lab.status(Kind.CERTIFICATE, "gateway")["serialNumber"])


def _is_whole(lab: Lab) -> None:
    data = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")["data"]
    pem = b64decode(data[names.TLS_CERT_KEY])
    assert is_pair(pem, Secret(b64decode(data[names.TLS_KEY_KEY])))
    assert _serial(lab) == read_certificate(pem).serial
    assert lab.state() == "Active"


def _known(lab: Lab) -> list[str]:
    uid = lab.cluster.read(Kind.CERTIFICATE, NAMESPACE, "gateway")["metadata"]["uid"]
    records = lab.ledger().items()
    return [s for s, record in records if record.owner_uid == uid and record.entry is Entry.KNOWN]


async def _revoking_revokes(lab: Lab, *, count: int) -> None:
    """Revoke the object: that covers every certificate that it ever had and that is still valid."""
    _edit(lab, spec={"revoked": True})
    await lab.settle()
    uid = lab.cluster.read(Kind.CERTIFICATE, NAMESPACE, "gateway")["metadata"]["uid"]
    revoked = [s for s in lab.revoked_in_ledger() if lab.ledger()[s].owner_uid == uid]
    assert len(revoked) == count
    assert all(lab.is_refused(serial) for serial in revoked)
    assert lab.state() == "Revoked"


@WHEN
@OFTEN
async def test_renewal_by_time(lab: Lab, *, after: bool, again: bool) -> None:
    async def check(lab: Lab) -> None:
        _is_whole(lab)
        assert len(_known(lab)) == 1
        await _revoking_revokes(lab, count=2)

    await survive(
        lab,
        _with(validity="3h"),
        lambda lab: _time_passes(lab, hours=2, minutes=15),
        check,
        after=after,
        again=again,
    )


@WHEN
@OFTEN
async def test_renewal_that_revokes_the_old_certificate(lab: Lab, *, after: bool, again: bool) -> None:
    old: list[str] = []

    def act(lab: Lab) -> None:
        old.append(_serial(lab))
        _time_passes(lab, hours=2, minutes=15)

    async def check(lab: Lab) -> None:
        _is_whole(lab)
        assert old[-1] in lab.revoked_in_ledger()
        assert lab.is_refused(old[-1])
        assert not lab.is_refused(_serial(lab))

    spec = {"validity": "3h", "renewal": {"revokeOldAfter": "2m"}}
    await survive(lab, _with(**spec), act, check, after=after, again=again, minutes=4)


@WHEN
@OFTEN
async def test_renewal_that_somebody_asks_for(lab: Lab, *, after: bool, again: bool) -> None:
    def act(lab: Lab) -> None:
        wish = lab.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        _edit(lab, metadata={"annotations": {names.RENEW_ANNOTATION: wish}})

    async def check(lab: Lab) -> None:
        _is_whole(lab)
        assert len(_known(lab)) == 1
        await _revoking_revokes(lab, count=2)

    await survive(lab, _with(), act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_a_changed_spec(lab: Lab, *, after: bool, again: bool) -> None:
    async def check(lab: Lab) -> None:
        _is_whole(lab)
        data = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")["data"]
        facts = read_certificate(b64decode(data[names.TLS_CERT_KEY]))
        assert facts.dns_names == ("gw.example.com",)
        assert len(_known(lab)) == 1
        await _revoking_revokes(lab, count=2)

    await survive(
        lab,
        _with(),
        lambda lab: _edit(lab, spec={"dnsNames": ["gw.example.com"]}),
        check,
        after=after,
        again=again,
    )


@WHEN
@OFTEN
async def test_a_renewed_certificate_is_revoked_and_restored(lab: Lab, *, after: bool, again: bool) -> None:
    """What is revoked with its object, the former certificates too, is restored with it."""

    async def prepare(lab: Lab) -> None:
        _with()(lab)
        await lab.settle()
        _edit(lab, spec={"dnsNames": ["gw.example.com"]})
        await lab.settle()
        _edit(lab, spec={"revoked": True, "revocationReason": "CertificateHold"})

    def check(lab: Lab) -> None:
        assert lab.state() == "Active"
        assert _serial(lab) not in lab.revoked_in_ledger()
        uid = lab.cluster.read(Kind.CERTIFICATE, NAMESPACE, "gateway")["metadata"]["uid"]
        mine = [serial for serial, record in lab.ledger().items() if record.owner_uid == uid]
        assert len(mine) == 2
        assert not any(lab.is_refused(serial) for serial in mine)

    await survive(
        lab, prepare, lambda lab: _edit(lab, spec={"revoked": False}), check, after=after, again=again
    )


@WHEN
@OFTEN
async def test_deleting_a_renewed_certificate(lab: Lab, *, after: bool, again: bool) -> None:
    uids: list[str] = []

    async def prepare(lab: Lab) -> None:
        _with()(lab)
        await lab.settle()
        _edit(lab, spec={"dnsNames": ["gw.example.com"]})
        uids.append(lab.cluster.read(Kind.CERTIFICATE, NAMESPACE, "gateway")["metadata"]["uid"])

    def check(lab: Lab) -> None:
        assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
        assert lab.client_secrets() == {}
        mine = [s for s in lab.revoked_in_ledger() if lab.ledger()[s].owner_uid == uids[-1]]
        assert len(mine) == 2
        assert all(lab.is_refused(serial) for serial in mine)

    await survive(
        lab,
        prepare,
        lambda lab: lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway"),
        check,
        after=after,
        again=again,
    )


@WHEN
@OFTEN
async def test_a_damaged_secret(lab: Lab, *, after: bool, again: bool) -> None:
    async def check(lab: Lab) -> None:
        _is_whole(lab)
        assert len(_known(lab)) == 1
        await _revoking_revokes(lab, count=2)

    def act(lab: Lab) -> None:
        lab.cluster.edit(Kind.SECRET, NAMESPACE, "gateway", {"data": {names.TLS_CERT_KEY: "cnViYmlzaA=="}})

    await survive(lab, _with(), act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_a_keystore_that_is_asked_for_later(lab: Lab, *, after: bool, again: bool) -> None:
    serials: list[str] = []

    def act(lab: Lab) -> None:
        serials.append(_serial(lab))
        _edit(lab, spec={"keystore": {"pkcs12": {}, "combinedPEM": True}})

    def check(lab: Lab) -> None:
        _is_whole(lab)
        assert _serial(lab) == serials[-1]
        data = lab.cluster.read(Kind.SECRET, NAMESPACE, "gateway")["data"]
        assert {names.PKCS12_KEY, names.PASSWORD_KEY, names.COMBINED_KEY} <= set(data)

    await survive(lab, _with(), act, check, after=after, again=again)


# Requests: the certificate is in a ConfigMap and in the status.


def _requested(**spec: Any) -> Any:
    body = certificate("gateway", request=request_pem(), **spec)
    body["spec"].pop("subject")
    return body


def _is_in_both_places(lab: Lab) -> None:
    written = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, CONFIG)["data"][names.TLS_CERT_KEY]
    status = lab.status(Kind.CERTIFICATE, "gateway")
    assert status["certificate"] == written
    assert status["serialNumber"] == read_certificate(written).serial
    assert lab.state() == "Active"
    assert lab.client_secrets() == {}


def _host_and_request(lab: Lab) -> None:
    lab.cluster.make(host())
    lab.run_pod(pod())
    lab.cluster.make(_requested())


@WHEN
@OFTEN
async def test_issuing_for_a_request(lab: Lab, *, after: bool, again: bool) -> None:
    def prepare(lab: Lab) -> None:
        lab.cluster.make(host())
        lab.run_pod(pod())
        lab.writes()

    async def check(lab: Lab) -> None:
        _is_in_both_places(lab)
        creates = [
            w for w in lab.writes() if (w.method, w.kind, w.name) == ("create", Kind.CONFIG_MAP, CONFIG)
        ]
        assert len(creates) == 1
        await _revoking_revokes(lab, count=1)

    def act(lab: Lab) -> None:
        lab.cluster.make(_requested())

    await survive(lab, prepare, act, check, after=after, again=again)


@WHEN
@OFTEN
async def test_a_changed_spec_of_a_request(lab: Lab, *, after: bool, again: bool) -> None:
    async def check(lab: Lab) -> None:
        _is_in_both_places(lab)
        await _revoking_revokes(lab, count=2)

    await survive(
        lab,
        _host_and_request,
        lambda lab: _edit(lab, spec={"dnsNames": ["gw.example.com"]}),
        check,
        after=after,
        again=again,
    )


@WHEN
@OFTEN
async def test_deleting_a_request(lab: Lab, *, after: bool, again: bool) -> None:
    serials: list[str] = []

    def act(lab: Lab) -> None:
        serials.append(_serial(lab))
        lab.cluster.remove(Kind.CERTIFICATE, NAMESPACE, "gateway")

    def check(lab: Lab) -> None:
        assert lab.cluster.find(Kind.CERTIFICATE, NAMESPACE, "gateway") is None
        assert lab.cluster.find(Kind.CONFIG_MAP, NAMESPACE, CONFIG) is None
        assert lab.is_refused(serials[-1])

    await survive(lab, _host_and_request, act, check, after=after, again=again)
