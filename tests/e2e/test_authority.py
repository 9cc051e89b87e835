"""The CA of a namespace belongs to one life of it, and is never quietly replaced (guarantee G3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, condition, eventually
from tests.support.operator_pod import is_running, kill_operator
from tests.support.tenant import HOSTNAME, Tenant


def test_without_its_ca_nothing_is_issued_and_no_new_ca_is_made(shop: Tenant) -> None:
    (secret,) = shop.in_operator_namespace("secrets", "authority")
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
    shop.api.delete(f"{path}/{secret['metadata']['name']}")
    shop.certificate("late")
    body = eventually(
        lambda: shop.see("clientcertificates", "late"),
        lambda seen: condition(seen, "Issued").get("reason") == "CAMissing",
        within=30,
    )
    assert body["status"]["state"] == "Failed"
    assert shop.in_operator_namespace("secrets", "authority") == []
    assert shop.secret("late") is None
    assert shop.status("good", "/admin") == 200, "what was issued goes on"

    kept = {key: secret["metadata"][key] for key in ("name", "namespace", "labels")}
    shop.api.create(path, {**secret, "metadata": kept})
    shop.wait_ready("clientcertificates", "late", within=60)
    assert shop.status("late", "/admin") == 200


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_revocations_do_not_wait_for_a_ca_that_is_missing(shop: Tenant, *, restarted: bool) -> None:
    (secret,) = shop.in_operator_namespace("secrets", "authority")
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
    with shop.http1("bad", shop.addresses()[0]) as connection:
        assert connection.get("/admin", HOSTNAME).status == 200
        shop.api.delete(f"{path}/{secret['metadata']['name']}")
        if restarted:
            kill_operator(shop.api)
            eventually(lambda: is_running(shop.api))
        shop.patch("clientcertificates", "bad", {"revoked": True})
        eventually(lambda: connection.get("/admin", HOSTNAME).status, lambda seen: seen == 403)
    shop.wait_state("bad", "Revoked")
    assert [shop.status("bad", "/admin", address) for address in shop.addresses()] == [403, 403]
    assert shop.status("good", "/admin") == 200

    kept = {key: secret["metadata"][key] for key in ("name", "namespace", "labels")}
    shop.api.create(path, {**secret, "metadata": kept})
    shop.wait_ready("mtlshosts", "api")
    assert shop.status("bad", "/admin") == 403
    assert shop.status("good", "/admin") == 200


def test_a_namespace_made_again_trusts_nothing_of_its_former_life(
    make_tenant: Callable[..., Tenant],
) -> None:
    tenant = make_tenant()
    tenant.certificate("good")
    tenant.wait_ready("clientcertificates", "good")
    former = tenant.context("good")
    tenant.api.delete(f"/api/v1/namespaces/{tenant.namespace}")
    eventually(
        lambda: tenant.api.find(f"/api/v1/namespaces/{tenant.namespace}") is None,
        within=90,
        what="the namespace is gone",
    )
    tenant.create_namespace()
    tenant.host()
    tenant.rule("admin")
    tenant.certificate("good")
    tenant.deploy(replicas=1)
    tenant.wait_ready("mtlshosts", "api", within=90)
    tenant.wait_ready("clientcertificates", "good")
    (address,) = tenant.wait_pods(1)
    with Http1(8443, former, HOSTNAME, address=address) as connection:
        assert connection.get("/admin", HOSTNAME).status == 403
    assert tenant.status("good", "/admin", address) == 200
    assert len(tenant.in_operator_namespace("secrets", "authority")) == 2


def test_a_secret_that_is_not_ours_is_left_alone(tenant: Tenant) -> None:
    path = f"/api/v1/namespaces/{tenant.namespace}/secrets"
    theirs = tenant.api.create(path, {"metadata": {"name": "taken"}, "stringData": {"note": "mine"}})
    tenant.certificate("taken")
    eventually(
        lambda: tenant.see("clientcertificates", "taken"),
        lambda seen: condition(seen, "Issued").get("reason") == "SecretConflict",
    )
    assert (
        tenant.api.get(f"{path}/taken")["metadata"]["resourceVersion"]
        == theirs["metadata"]["resourceVersion"]
    )
    tenant.api.delete(f"{path}/taken")
    tenant.wait_ready("clientcertificates", "taken", within=60)
