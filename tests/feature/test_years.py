"""A fleet that lives on for years: nothing comes to its end that somebody relies on, and nobody has to do anything."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta

import pytest
from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE, certificate, host, pod, rule

from mtls_operator.api import names
from mtls_operator.cluster import Kind
from mtls_operator.controller.prolonging import CA_LIFETIME
from mtls_operator.pki import judge_client, read_certificate

YEAR = timedelta(days=365)


def _data(lab: Lab, name: str) -> dict[str, str]:
    found = lab.cluster.read(Kind.SECRET, NAMESPACE, name)["data"]
    return {key: b64decode(value).decode("utf-8", "replace") for key, value in found.items()}


def _is_valid(lab: Lab, pem: str) -> bool:
    facts = read_certificate(pem)
    return facts.not_before <= lab.now() < facts.not_after


def _outlives(lab: Lab, secret: str) -> bool:
    """Say whether a certificate of ours is valid, and the CA handed out with it at least as long."""
    data = _data(lab, secret)
    leaf, ca = data[names.TLS_CERT_KEY], data[names.CA_KEY]
    return (
        _is_valid(lab, leaf)
        and _is_valid(lab, ca)
        and read_certificate(leaf).not_after <= read_certificate(ca).not_after
    )


@pytest.mark.parametrize("step", [timedelta(days=600), timedelta(days=1300)], ids=["watched", "left alone"])
async def test_after_more_than_the_life_of_every_ca_all_is_in_force(lab: Lab, step: timedelta) -> None:
    """Server certificates, proxies' identities, client certificates, and the three kinds of CA above them."""
    lab.cluster.make(host())
    lab.cluster.make(rule())
    lab.cluster.make(certificate("gateway"))
    await lab.start()
    lab.run_pod(pod())
    await lab.settle()
    first, cas = lab.now(), set()
    while lab.now() < first + CA_LIFETIME + YEAR:
        await lab.stop()
        lab.skew += step
        await lab.start()
        await lab.pass_time(minutes=10)
        await lab.pass_time(minutes=80)
        assert lab.condition(Kind.HOST, "api", "Ready")[0] == "True"
        assert _outlives(lab, "mtls-server-api")
        assert _outlives(lab, names.PROXY_SECRET)
        assert lab.state() == "Active"
        data = _data(lab, "gateway")
        assert judge_client(data[names.TLS_CERT_KEY], data[names.CA_KEY], now=lab.now()).problem == ""
        cas.add(data[names.CA_KEY])
    assert len(cas) > 1, "the managed CA was rotated"
    lab.writes()
    await lab.pass_time(minutes=20)
    assert lab.writes() == []
