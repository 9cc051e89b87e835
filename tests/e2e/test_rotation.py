"""A CA is replaced under load: no good request fails in any phase, and no bad one gets in."""

from __future__ import annotations

import contextlib
import logging
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.certs import authority, leaf
from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, ROOT, Api, Body, cluster_environment, eventually
from tests.support.depth import IS_LONG
from tests.support.tenant import HOSTNAME, Tenant
from tests.support.traffic import Identity, Report, Traffic

_log = logging.getLogger(__name__)
_OPERATOR = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/mtls-operator"
_REISSUE = "MTLS_REISSUE_SECONDS"
#: Requests of each client, the slow ones included, before a phase ends: in ``make test-long`` that is a minute.
SENT = 1200 if IS_LONG else 100
OLD = "old generation"


def _reissue_within(api: Api, seconds: str | None) -> None:
    """Set the window in which certificates are issued anew, and wait until that operator runs."""
    deployment = api.get(_OPERATOR)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [one for one in container.get("env") or [] if one["name"] != _REISSUE]
    if seconds is not None:
        container["env"].append({"name": _REISSUE, "value": seconds})
    api.replace(_OPERATOR, deployment)
    eventually(lambda: _is_rolled_out(api.get(_OPERATOR)), within=120, what="the operator with a new window")


def _is_rolled_out(deployment: Body) -> bool:
    status = deployment.get("status") or {}
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("replicas") == status.get("readyReplicas") == 1
    )


@pytest.fixture
def short_window(operator: Api) -> Iterator[None]:
    """An operator that issues certificates anew within five seconds."""
    _reissue_within(operator, "5")
    yield
    _reissue_within(operator, None)


@dataclass(slots=True)
class Load:
    """What runs beside a rotation: each of the good clients asks 200 times a second, the bad ones 20 times."""

    traffic: Traffic
    running: list[str] = field(default_factory=list)

    def good(self, name: str, identity: Identity) -> None:
        self._start(name, identity, rate=200)

    def bad(self, name: str, identity: Identity | None) -> None:
        self._start(name, identity, rate=20)

    def _start(self, name: str, identity: Identity | None, *, rate: float) -> None:
        self.traffic.start(name, identity, rate=rate)
        self.running.append(name)

    def phase(self, name: str) -> None:
        self.traffic.phase(name)

    def stay_in(self, phase: str) -> None:
        """Wait until every client has sent some requests in a phase."""
        eventually(
            lambda: min(self.traffic.report().of(client, phase).sent for client in self.running),
            lambda seen: seen >= SENT,
            within=SENT,
            what=f"requests of each client in the phase {phase}",
        )


@pytest.fixture
def load(shop: Tenant) -> Iterator[Load]:
    addresses = [f"{address}:8443" for address in shop.addresses()]
    with contextlib.closing(Traffic(addresses, HOSTNAME, "/admin")) as traffic:
        yield Load(traffic)


def _start_mtls(shop: Tenant, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mtls_operator.cli.main", *words, "-n", shop.namespace],
        env=cluster_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def _mtls(shop: Tenant, *words: str) -> str:
    with _start_mtls(shop, *words) as command:
        said = command.communicate()[0]
    assert command.returncode == 0, said
    return said


def _issuer(shop: Tenant, name: str) -> str:
    ski: str = shop.see("clientcertificates", name)["status"]["issuer"]["ski"]
    return ski


@pytest.mark.usefixtures("short_window")
def test_two_generations_of_clients_get_in_through_every_phase_of_a_rotation_and_nobody_else(
    shop: Tenant, load: Load
) -> None:
    _mtls(shop, "cert", "revoke", "bad", "--wait")
    first, old = _issuer(shop, "good"), shop.context("good")
    load.good(OLD, shop.identity("good"))
    load.bad("revoked", shop.identity("bad"))
    load.bad("foreign", _foreign())
    load.bad("nobody", None)
    load.phase("before")
    load.stay_in("before")
    load.phase("prepare")
    _rotate(shop)
    shop.certificate("late")
    shop.wait_ready("clientcertificates", "late")
    assert _issuer(shop, "late") != first
    load.phase("reissue")
    load.good("new generation", shop.identity("late"))
    eventually(lambda: _issuer(shop, "good") != first, within=60, what="good is issued anew")
    load.good("reissued", shop.identity("good"))
    load.stay_in("reissue")
    load.phase("side by side")
    load.stay_in("side by side")
    load.phase("retire")
    shop.patch("clientcertificates", "good", {"renewal": {"revokeOldAfter": "0s"}})
    eventually(lambda: _phases(shop) == ["Retired", "Active"], within=60, what="the old CA is retired")
    for address in shop.addresses():
        eventually(lambda there=address: _probe(old, there), lambda status: status == 403, within=30)
    load.phase("retired")
    load.stay_in("retired")
    report = load.traffic.report()
    _log.info("%s\nin sum: %.0f requests/s", report, report.rate)
    assert not _wrong(report), f"{report}\n{report.failures}"


def _wrong(report: Report) -> dict[tuple[str, str], Counter[int]]:
    """Return what was answered otherwise than it should, by client and phase."""
    return {
        (client, phase): counted.answers
        for client, phases in report.clients.items()
        for phase, counted in phases.items()
        if not counted.answers.keys() <= _right(client, phase)
    }


def _right(client: str, phase: str) -> set[int]:
    if client in {"revoked", "foreign", "nobody"} or (client, phase) == (OLD, "retired"):
        return {403}
    # What is sent just before the old CA is retired may be answered either way, but is answered.
    return {200, 403} if (client, phase) == (OLD, "retire") else {200}


def _foreign() -> Identity:
    pair = leaf(authority("foreign"), "good")
    return Identity(pair.certificate_pem, pair.key_pem.decode())


def _rotate(shop: Tenant) -> None:
    """Ask for a new CA, and wait until it signs: every proxy has its certificate by then."""
    with _start_mtls(shop, "ca", "rotate", "--wait", "--timeout", "5m") as command:
        while command.poll() is None:
            if not IS_LONG:  # else the kubelet takes its time
                shop.hurry()
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(1)
        said = command.communicate()[0]
    assert command.returncode == 0, said
    assert "the new CA signs" in said


def _phases(shop: Tenant) -> list[str]:
    secrets = sorted(
        shop.in_operator_namespace("secrets", "authority"), key=lambda one: one["metadata"]["name"]
    )
    return [one["metadata"]["annotations"]["mtls-operator.dev/phase"] for one in secrets]


def _probe(context: ssl.SSLContext, address: str) -> int:
    with Http1(8443, context, HOSTNAME, address=address) as connection:
        return connection.get("/admin", HOSTNAME).status


def test_a_certificate_that_no_object_names_is_revoked_by_its_number_on_open_connections(
    shop: Tenant,
) -> None:
    serial = str(shop.see("clientcertificates", "bad")["status"]["serialNumber"])
    shop.patch("clientcertificates", "bad", {"deletionPolicy": "Retain"})
    with shop.http1("bad", shop.addresses()[0]) as connection:
        shop.delete("clientcertificates", "bad")
        eventually(lambda: shop.secret("bad") is None, within=30, what="nothing names it any more")
        assert connection.get("/admin", HOSTNAME).status == 200
        assert serial in _mtls(shop, "cert", "revoke", "--serial", serial)
        assert connection.get("/admin", HOSTNAME).status == 403
    assert shop.status("good", "/admin") == 200


def test_a_certificate_is_renewed_when_somebody_asks_for_it(shop: Tenant) -> None:
    before = shop.see("clientcertificates", "good")["status"]["serialNumber"]
    old = shop.context("good")
    assert before in _mtls(shop, "cert", "renew", "good", "--wait")
    assert shop.status("good", "/admin") == 200
    assert _probe(old, shop.addresses()[0]) == 200
