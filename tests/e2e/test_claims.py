"""Objects of somebody else with names of ours, on the real API server: left alone at first, never let in later."""

from __future__ import annotations

import pytest
from tests.support.cluster import Body, condition, eventually
from tests.support.tenant import Tenant


def _foreign(tenant: Tenant, name: str) -> Body:
    path = f"/api/v1/namespaces/{tenant.namespace}/configmaps"
    return tenant.api.create(path, {"metadata": {"name": name}, "data": {"theirs": "mine"}})


def _programmed(tenant: Tenant, reason: str) -> Body:
    return eventually(
        lambda: condition(tenant.see("mtlshosts", "api"), "Programmed"),
        lambda seen: seen.get("reason") == reason,
        within=60,
    )


@pytest.mark.parametrize("name", ["mtls-revocation", "mtls-host-api"])
def test_what_somebody_had_before_us_is_left_alone_and_named(tenant: Tenant, name: str) -> None:
    before = _foreign(tenant, name)
    tenant.host()
    assert name in _programmed(tenant, "ConfigConflict")["message"]
    path = f"/api/v1/namespaces/{tenant.namespace}/configmaps/{name}"
    assert tenant.api.get(path) == before
    tenant.api.delete(path)
    _programmed(tenant, "Programmed")


@pytest.mark.parametrize("name", ["mtls-host-api", "mtls-revocation"])
def test_what_somebody_makes_of_ours_is_put_right(shop: Tenant, name: str) -> None:
    """Without our label it goes unseen, and server-side apply leaves what others own beside what is ours."""
    shop.patch("clientcertificates", "bad", {"revoked": True})
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps/{name}"
    forged = dict.fromkeys(shop.api.get(path)["data"], "forged")
    shop.api.patch(path, {"metadata": {"labels": None, "ownerReferences": None}, "data": forged})
    eventually(
        lambda: shop.api.find(path),
        lambda seen: seen is not None and "forged" not in seen["data"].values(),
        what="what is there is ours",
    )
    assert shop.status("bad", "/admin") == 403
    assert shop.status("good", "/admin") == 200
    shop.wait_ready("mtlshosts", "api")
