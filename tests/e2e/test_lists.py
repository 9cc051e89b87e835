"""A named list decides on the proxies, and a change of it is in force without a restart."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import condition, eventually
from tests.support.tenant import HOSTNAME, Tenant

from mtls_operator.api import names


def _list(shop: Tenant, *items: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": shop.namespace,
            "name": "locked-paths",
            "labels": {names.LIST_LABEL: "string"},
        },
        "data": {names.LIST_KEY: "\n".join(items)},
    }


def test_a_changed_list_is_in_force_on_an_open_connection_and_a_broken_one_changes_nothing(
    shop: Tenant,
) -> None:
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps"
    shop.api.create(path, _list(shop, "/one"))
    shop.rule("locked", expression="http.request.uri.path in $locked_paths")
    shop.wait_ready("mtlsrules", "locked")
    with shop.http1("good") as connection:
        assert connection.get("/one", HOSTNAME).status == 403
        assert connection.get("/two", HOSTNAME).status == 200
        shop.api.patch(f"{path}/locked-paths", {"data": {names.LIST_KEY: "/two"}})
        eventually(lambda: connection.get("/two", HOSTNAME).status, lambda status: status == 403)
        assert connection.get("/one", HOSTNAME).status == 200
        shop.api.patch(f"{path}/locked-paths", {"metadata": {"labels": {names.LIST_LABEL: "nonsense"}}})
        refused = eventually(
            lambda: condition(shop.see("mtlsrules", "locked"), "Accepted"),
            lambda accepted: accepted.get("status") == "False",
        )
        assert "nonsense" in refused["message"]
        assert connection.get("/two", HOSTNAME).status == 403
