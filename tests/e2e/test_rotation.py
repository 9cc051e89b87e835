"""A CA is replaced under load: no good request fails in any phase, and no bad one gets in."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, ROOT, Api, Body, cluster_environment, eventually
from tests.support.tenant import HOSTNAME, Tenant

_OPERATOR = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/mtls-operator"
_REISSUE = "MTLS_REISSUE_SECONDS"
#: Requests of each client on one connection: handshakes must succeed in every phase, not only requests.
_PER_CONNECTION = 20
_PAUSE = 0.02


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
    """An operator that issues certificates anew within 20 seconds."""
    _reissue_within(operator, "20")
    yield
    _reissue_within(operator, None)


@dataclass(slots=True)
class Client:
    """Asks for /admin at a steady rate, on connections that are opened anew again and again."""

    name: str
    context: ssl.SSLContext
    address: str
    answers: Counter[int] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=self.name)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                with Http1(8443, self.context, HOSTNAME, address=self.address) as connection:
                    for _ in range(_PER_CONNECTION):
                        self.answers[connection.get("/admin", HOSTNAME).status] += 1
                        time.sleep(_PAUSE)
            except OSError:
                self.answers[0] += 1

    def stop(self) -> Counter[int]:
        """Stop, and return what was answered."""
        self.stopped.set()
        self.thread.join(30)
        return self.answers


def _mtls(shop: Tenant, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mtls_operator.cli.main", *words, "-n", shop.namespace],
        env=cluster_environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _issuer(shop: Tenant, name: str) -> str:
    ski: str = shop.see("clientcertificates", name)["status"]["issuer"]["ski"]
    return ski


@pytest.mark.usefixtures("short_window")
def test_two_generations_of_clients_get_in_through_every_phase_of_a_rotation_and_nobody_else(
    shop: Tenant,
) -> None:
    shop.patch("clientcertificates", "good", {"renewal": {"revokeOldAfter": "90s"}})
    revoked = shop.context("bad")
    _mtls(shop, "cert", "revoke", "bad", "--wait")
    first, old = _issuer(shop, "good"), shop.context("good")
    addresses = shop.addresses()
    good = [Client("old generation", old, address) for address in addresses]
    bad = [Client("revoked", revoked, addresses[0]), Client("nobody", shop.context(None), addresses[1])]
    try:
        assert "the new CA signs" in _mtls(shop, "ca", "rotate", "--wait", "--timeout", "5m")
        shop.certificate("late")
        shop.wait_ready("clientcertificates", "late")
        assert _issuer(shop, "late") != first
        good += [Client("new generation", shop.context("late"), address) for address in addresses]
        eventually(lambda: _issuer(shop, "good") != first, within=60, what="good is issued anew")
        good += [Client("reissued", shop.context("good"), address) for address in addresses]
        time.sleep(10)  # a steady rate of both generations side by side is what is measured
        former, good = good[: len(addresses)], good[len(addresses) :]
        answered = sum((client.stop() for client in former), Counter())
        assert set(answered) == {200}, answered
        eventually(lambda: _phases(shop) == ["Retired", "Active"], within=240, what="the old CA is retired")
        eventually(lambda: _probe(old, addresses[0]), lambda status: status == 403, within=30)
        time.sleep(5)  # and after it, too
    finally:
        for client in (*good, *bad):
            client.stop()
    for client in good:
        assert set(client.answers) == {200}, (client.name, client.answers)
        assert client.answers[200] > 100, client.name
    for client in bad:
        assert set(client.answers) == {403}, (client.name, client.answers)
        assert client.answers[403] > 1000, client.name


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
