"""The data plane outlives the operator, and the operator takes up where it was killed (guarantees G3 and G7)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.cluster import (
    OPERATOR_NAMESPACE,
    Api,
    cluster_environment,
    condition,
    eventually,
    is_ready,
)
from tests.support.operator_pod import (
    end_operator,
    is_running,
    kill_operator,
    operator_pods,
    scale,
    stopped_operator,
)
from tests.support.tenant import HOSTNAME, Tenant

from mtls_operator.controller.health import METRICS_SECONDS


def figures(address: str) -> dict[str, float]:
    """Return the metrics of the operator at an address that have no labels."""
    lines = httpx.get(f"http://{address}:8082/metrics", timeout=5).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "{" not in line)
    return {name: float(value) for name, value in pairs}


def listens(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 0.5):
        return True
    return False


def test_without_the_operator_restarted_pods_enforce_everything(shop: Tenant) -> None:
    shop.patch("clientcertificates", "bad", {"revoked": True})
    shop.wait_state("bad", "Revoked")
    with stopped_operator(shop.api):
        old = set(shop.addresses())
        for pod in shop.pods():
            shop.api.delete(f"/api/v1/namespaces/{shop.namespace}/pods/{pod['metadata']['name']}")
        addresses = eventually(
            shop.addresses,
            lambda seen: len(seen) == 2 and not set(seen) & old,
            within=90,
            what="new pods are ready",
        )
        for address in addresses:
            assert shop.status(None, "/", address) == 200
            assert shop.status(None, "/admin", address) == 403
            assert shop.status("good", "/admin", address) == 200
            assert shop.status("bad", "/admin", address) == 403
    body = eventually(
        lambda: shop.see("mtlshosts", "api"),
        lambda seen: is_ready(seen) and seen["status"]["proxies"]["current"] == 2,
        within=60,
    )
    assert body["status"]["proxies"]["connected"] == 2


def test_proxies_are_back_within_five_seconds_and_get_each_change_once(shop: Tenant) -> None:
    """G7: also a change that was made while there was no operator; what they have is not sent again."""
    api = shop.api
    (pod,) = operator_pods(api)
    streams = figures(pod["status"]["podIP"])["mtls_operator_discovery_streams"]
    before = shop.see("mtlshosts", "api")["status"]
    assert streams >= 2 * before["proxies"]["connected"] == 4
    scale(api, 0)
    try:
        eventually(lambda: not operator_pods(api), within=60, what="the operator is gone")
        shop.patch("clientcertificates", "bad", {"revoked": True})
    finally:
        scale(api, 1)
    address = eventually(
        lambda: next((pod["status"].get("podIP") for pod in operator_pods(api)), None),
        within=60,
        what="the operator has an address",
    )
    assert address is not None
    eventually(lambda: listens(address, 18000), within=90, what="proxies can reach the operator")
    began = time.monotonic()
    eventually(
        lambda: figures(address)["mtls_operator_discovery_streams"],
        lambda count: count == streams,
        within=30,
        what="every proxy is connected",
    )
    assert time.monotonic() - began < 5
    shop.wait_state("bad", "Revoked")
    assert shop.status("bad", "/admin") == 403
    body = shop.wait_ready("mtlshosts", "api")
    assert body["status"]["proxies"] == before["proxies"]
    assert body["status"]["epoch"]["rules"] == before["epoch"]["rules"]
    time.sleep(METRICS_SECONDS)  # an answer counts for as long
    seen = figures(address)
    assert seen["mtls_operator_discovery_pushes"] == 2, "the list of revocations, to each of two pods"
    assert seen["mtls_operator_discovery_refusals"] == 0


def test_proxies_keep_their_connections_to_clients_while_the_operator_restarts(shop: Tenant) -> None:
    with shop.http1("good", shop.addresses()[0]) as connection:
        assert connection.get("/admin", HOSTNAME).status == 200
        before = shop.see("mtlshosts", "api")["status"]["epoch"]
        kill_operator(shop.api)
        for _ in range(50):
            assert connection.get("/admin", HOSTNAME).status == 200
            time.sleep(0.1)
        eventually(lambda: is_running(shop.api), within=60)
        body = shop.wait_ready("mtlshosts", "api")
    assert body["status"]["epoch"] == before, "nothing changed, so nothing was pushed anew"


def test_a_kill_while_certificates_are_issued_and_revoked_neither_loses_nor_doubles_any(
    tenant: Tenant,
) -> None:
    names = [f"c-{number}" for number in range(40)]
    for name in names[:20]:
        tenant.certificate(name)
    kill_operator(tenant.api)
    for name in names[20:]:
        tenant.certificate(name)
    for name in names:
        tenant.wait_ready("clientcertificates", name, within=90)
    serials = {name: tenant.see("clientcertificates", name)["status"]["serialNumber"] for name in names}
    assert len(set(serials.values())) == len(names)
    for name in names[:20]:
        tenant.patch("clientcertificates", name, {"revoked": True})
    kill_operator(tenant.api)
    for name in names[:20]:
        tenant.wait_state(name, "Revoked", within=90)
    published = tenant.config_map("mtls-revocation")
    assert published is not None
    listed = published["data"]["revoked.json"]
    for name in names:
        assert (serials[name] in listed) == (name in names[:20])
        assert tenant.see("clientcertificates", name)["status"]["serialNumber"] == serials[name]


def test_the_operator_ends_cleanly_when_it_is_told_to(operator: Api) -> None:
    end_operator(operator, signal.SIGTERM)
    (pod,) = operator_pods(operator)
    (status,) = pod["status"]["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == 0
    eventually(lambda: is_running(operator), within=90)


@contextlib.contextmanager
def unreachable_operator(api: Api) -> Iterator[None]:
    """Run the operator where no proxy can reach it for a while."""
    service = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/mtls-operator"
    selector = api.get(service)["spec"]["selector"]
    api.patch(service, {"spec": {"selector": {**selector, "nobody": "here"}}})
    kill_operator(api)
    try:
        eventually(lambda: is_running(api), within=60)
        yield
    finally:
        api.patch(service, {"spec": {"selector": {"nobody": None, **selector}}})


def test_a_proxy_that_cannot_reach_the_operator_follows_its_files_and_the_status_admits_it(
    shop: Tenant,
) -> None:
    with shop.http1("bad", shop.addresses()[0]) as connection:
        with unreachable_operator(shop.api):
            eventually(
                lambda: condition(shop.see("mtlshosts", "api"), "Deployed").get("status"),
                lambda status: status == "False",
                within=30,
                what="the proxies are known to be disconnected",
            )
            shop.patch("clientcertificates", "bad", {"revoked": True})
            shop.wait_state("bad", "PendingRevocation")
            eventually(
                lambda: connection.get("/admin", HOSTNAME).status,
                lambda status: status == 403,
                within=180,  # the kubelet takes about a minute; machines that run this may be slow
                what="the mounted list is in force",
            )
            assert shop.see("clientcertificates", "bad")["status"]["state"] == "PendingRevocation"
        shop.wait_state("bad", "Revoked", within=30)
        shop.wait_ready("mtlshosts", "api", within=30)


def test_the_operator_survives_a_restart_of_the_api_server(shop: Tenant) -> None:
    pid_file = Path(cluster_environment()["KUBECONFIG"]).parent / "pids" / "kube-apiserver.pid"
    if not pid_file.exists():
        pytest.skip("only the local cluster's API server can be killed from here")
    os.kill(json.loads(pid_file.read_text())["pid"], signal.SIGKILL)
    eventually(shop.api.is_alive, within=60, what="the API server is back")
    shop.patch("clientcertificates", "bad", {"revoked": True})
    shop.wait_state("bad", "Revoked", within=60)
    shop.certificate("late")
    shop.wait_ready("clientcertificates", "late", within=60)
    assert shop.status("bad", "/admin") == 403
    assert shop.status("late", "/admin") == 200
