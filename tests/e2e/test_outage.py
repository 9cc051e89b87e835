"""The data plane outlives the operator, and the operator takes up where it was killed (guarantees G3 and G7)."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator

from tests.support.cluster import OPERATOR_NAMESPACE, Api, Kubectl, eventually, is_ready
from tests.support.tenant import HOSTNAME, Tenant

_OPERATOR = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/mtls-operator"


def scale(api: Api, replicas: int) -> None:
    api.patch(_OPERATOR, {"spec": {"replicas": replicas}})


def operator_pods(api: Api) -> list[dict[str, object]]:
    labels = "app.kubernetes.io/name=mtls-operator,app.kubernetes.io/component=operator"
    return api.items(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods", labelSelector=labels)


def is_running(api: Api) -> bool:
    return bool(api.get(_OPERATOR)["status"].get("readyReplicas"))


@contextlib.contextmanager
def stopped_operator(api: Api) -> Iterator[None]:
    """Stop the operator for a while."""
    scale(api, 0)
    eventually(lambda: not operator_pods(api), within=60, what="the operator is gone")
    try:
        yield
    finally:
        scale(api, 1)
        eventually(lambda: is_running(api), within=90, what="the operator is back")


def kill_operator(kubectl: Kubectl, api: Api) -> None:
    """Kill the operator's process without any warning; the kubelet starts it again."""
    (pod,) = operator_pods(api)
    name = pod["metadata"]["name"]  # type: ignore[index]  # a pod
    done: subprocess.CompletedProcess[str] = kubectl(
        "exec", f"--namespace={OPERATOR_NAMESPACE}", str(name), "--", "python3", "-c",
        "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in sorted(os.listdir('/proc'), reverse=True) "
        "if p.isdigit() and int(p) != os.getpid() and b'mtls_operator' in open(f'/proc/{p}/cmdline', 'rb').read()]",
    )  # fmt: skip
    assert done.returncode in (0, 137), done.stderr


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


def test_proxies_keep_their_connections_to_clients_while_the_operator_restarts(
    shop: Tenant, kubectl: Kubectl
) -> None:
    with shop.http1("good", shop.addresses()[0]) as connection:
        assert connection.get("/admin", HOSTNAME).status == 200
        before = shop.see("mtlshosts", "api")["status"]["epoch"]
        kill_operator(kubectl, shop.api)
        for _ in range(50):
            assert connection.get("/admin", HOSTNAME).status == 200
            time.sleep(0.1)
        eventually(lambda: is_running(shop.api), within=60)
        body = shop.wait_ready("mtlshosts", "api")
    assert body["status"]["epoch"] == before, "nothing changed, so nothing was pushed anew"


def test_a_kill_while_certificates_are_issued_and_revoked_neither_loses_nor_doubles_any(
    tenant: Tenant, kubectl: Kubectl
) -> None:
    names = [f"c-{number}" for number in range(40)]
    for name in names[:20]:
        tenant.certificate(name)
    kill_operator(kubectl, tenant.api)
    for name in names[20:]:
        tenant.certificate(name)
    for name in names:
        tenant.wait_ready("clientcertificates", name, within=90)
    serials = {name: tenant.see("clientcertificates", name)["status"]["serialNumber"] for name in names}
    assert len(set(serials.values())) == len(names)
    for name in names[:20]:
        tenant.patch("clientcertificates", name, {"revoked": True})
    kill_operator(kubectl, tenant.api)
    for name in names[:20]:
        tenant.wait_state(name, "Revoked", within=90)
    published = tenant.config_map("mtls-revocation")
    assert published is not None
    listed = published["data"]["revoked.json"]
    for name in names:
        assert (serials[name] in listed) == (name in names[:20])
        assert tenant.see("clientcertificates", name)["status"]["serialNumber"] == serials[name]
