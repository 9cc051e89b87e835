"""The clock is set, and nothing else happens: what is due by the calendar comes within one beat, and only that."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.feature.witness import Witness
from tests.support.builders import NAMESPACE, certificate, host, pod, rule
from tests.support.certs import authority
from tests.support.partner import crl, file_of, pem_of, reference

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller import generations
from mtls_operator.controller.clock import BEAT_SECONDS
from mtls_operator.pki import read_certificate, read_crl


@pytest.fixture
async def world(lab: Lab) -> Witness:
    """See `_world`."""
    return await _world(lab)


async def _world(lab: Lab) -> Witness:
    """A host with a proxy, three certificates of different lengths, one of them revoked, and time that has passed."""
    lab.beat = BEAT_SECONDS
    witness = Witness(lab).watch()
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("renewed", validity="3h"))
    lab.cluster.make(certificate("ends", validity="5h", renewal={"policy": "Never"}))
    lab.cluster.make(certificate("long"))
    lab.cluster.make(certificate("revoked"))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    lab.cluster.edit(Kind.CERTIFICATE, NAMESPACE, "revoked", {"spec": {"revoked": True}})
    await lab.pass_time(minutes=3)
    lab.writes()
    return witness


async def _set(lab: Lab, **by: float) -> set[str]:
    """Set the clock, let one beat pass, and return the names of what was written (but for Events)."""
    lab.skew += timedelta(**by)
    await lab.pass_time(seconds=BEAT_SECONDS + 1)
    return {write.name for write in lab.writes() if write.kind is not Kind.EVENT}


async def test_past_a_renewal(lab: Lab, world: Witness) -> None:
    first = lab.serial("renewed")
    assert await _set(lab, minutes=110) == set()
    assert await _set(lab, minutes=20) == {"renewed", "ledger-shop-1"}
    assert lab.serial("renewed") != first
    assert lab.state("renewed") == "Active"
    world.check()


async def test_past_the_end_of_a_certificate(lab: Lab, world: Witness) -> None:
    written = await _set(lab, minutes=301)
    assert lab.state("ends") == "Expired"
    assert lab.condition(Kind.CERTIFICATE, "ends", "Ready")[:2] == ("False", "CertificateExpired")
    assert written <= {"ends", "renewed", "ledger-shop-1"}
    assert lab.state("long") == "Active"
    world.check()


async def test_past_the_time_at_which_a_list_is_signed_anew(lab: Lab, world: Witness) -> None:
    before = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    written = await _set(lab, hours=25)
    after = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    (ca,) = [stored.authority for stored in lab.process.tenant().generations]
    assert read_crl(after[names.CRL_KEY], ca).this_update > read_crl(before[names.CRL_KEY], ca).this_update
    assert after[names.REVOCATION_KEY] == before[names.REVOCATION_KEY]
    assert written == {names.REVOCATION_CONFIGMAP, "renewed", "ends", "ledger-shop-1"}
    world.check()


async def test_past_the_next_update_of_every_list(lab: Lab, world: Witness) -> None:
    """A list that was stale by the new clock is not: it is signed before anybody can ask."""
    await _set(lab, days=31)
    published = lab.cluster.read(Kind.CONFIG_MAP, NAMESPACE, names.REVOCATION_CONFIGMAP)["data"]
    (ca,) = [stored.authority for stored in lab.process.tenant().generations]
    assert read_crl(published[names.CRL_KEY], ca).next_update > lab.now() + timedelta(days=29)
    assert lab.is_refused(lab.serial("revoked"))
    world.check()


async def test_past_the_next_update_of_a_partners_list(lab: Lab) -> None:
    lab.beat = BEAT_SECONDS
    ca = authority("Partner CA", now=lab.now())
    files = {"ca.crt": pem_of(ca), "ca.crl": crl(ca, now=lab.now())}
    lab.cluster.make(file_of("partner-ca", **files))
    trusted = {"trusted": [reference()], "crls": [reference(key="ca.crl")]}
    lab.cluster.make(host(clientCAs=trusted))
    lab.cluster.make(rule())
    lab.cluster.make(host("other", hostnames=("other.example.com",)))
    await lab.start()
    lab.run_pod(pod())
    await lab.pass_time(minutes=3)
    lab.writes()
    written = await _set(lab, days=20)
    assert lab.condition(Kind.HOST, "api", "ResolvedRefs")[:2] == ("False", "CRLStale")
    assert not written & {"other", names.host_config("other")}


async def test_past_two_thirds_of_the_life_of_a_ca(lab: Lab, world: Witness) -> None:
    await _set(lab, days=2434)
    phases = {
        body["metadata"]["name"]: body["metadata"]["annotations"][names.PHASE_ANNOTATION]
        for body in lab.authority_secrets()
    }
    assert set(phases) == {"ca-shop-1", "ca-shop-2"}
    world.check()


async def test_past_the_end_of_a_ca(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is signed by a CA that has ended; its successor takes over, and what has a key of ours is issued anew."""
    monkeypatch.setattr(generations, "AUTHORITY_LIFETIME", timedelta(days=1000))
    world = await _world(lab)
    await _set(lab, days=1001)
    await lab.pass_time(minutes=5)
    phases = {
        body["metadata"]["name"]: body["metadata"]["annotations"][names.PHASE_ANNOTATION]
        for body in lab.authority_secrets()
    }
    assert phases == {"ca-shop-1": "Retired", "ca-shop-2": "Active"}
    leaf = b64decode(lab.cluster.read(Kind.SECRET, NAMESPACE, "long")["data"][names.TLS_CERT_KEY])
    assert read_certificate(leaf).not_after > lab.now()
    assert lab.state("long") == "Active"
    assert lab.state("revoked") in ("Revoked", "Expired")
    world.check()


async def test_back_again(lab: Lab, world: Witness) -> None:
    """A clock that was ahead for a while: nothing is un-revoked, no number is used twice, what ended counts again."""
    revoked = lab.serial("revoked")
    await _set(lab, days=31)
    assert lab.state("ends") == "Expired"
    await _set(lab, days=-31)
    assert lab.state("ends") == "Active"
    assert lab.is_refused(revoked)
    assert lab.state("long") == "Active"
    world.check()


async def test_an_operator_that_stood_still_reads_what_it_holds_before_it_does_anything(
    lab: Lab, world: Witness
) -> None:
    """G3: another one may have worked meanwhile, and what that one did is not seen yet."""
    tenant = lab.process.tenant()
    assert tenant.ready
    asyncio.get_running_loop().advance(60)  # type: ignore[attr-defined]  # of the virtual loop
    await asyncio.sleep(0.01)
    assert not tenant.ready
    assert tenant.pages_stale
    assert len(tenant.free) == 0
    lab.cluster.make(certificate("late"))
    await lab.settle()
    assert lab.state("late") == "Active"
    world.check()
