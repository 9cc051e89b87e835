"""What each method of the port sends to an API server, and what it makes of a good answer."""

from __future__ import annotations

import pytest
from tests.unit.cluster.api_server import ApiServer

from mtls_operator import __version__
from mtls_operator.cluster import Body, ConflictError, Kind, KubernetesCluster

HOST_PATH = "/apis/mtls-operator.dev/v1alpha1/namespaces/shop/mtlshosts"


def secret(**metadata: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "shop", "name": "api-tls", **metadata},
        "data": {"tls.key": "AA=="},
    }


async def test_get_reads_one_object(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.answers(secret(uid="1"))
    assert await cluster.get(Kind.SECRET, "shop", "api-tls") == secret(uid="1")
    assert (server.last.method, server.last.path) == ("GET", "/api/v1/namespaces/shop/secrets/api-tls")


async def test_get_of_an_object_that_does_not_exist_is_none(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.refuses(404, "NotFound")
    assert await cluster.get(Kind.SECRET, "shop", "api-tls") is None


@pytest.mark.parametrize(
    ("kind", "namespace", "path"),
    [
        (Kind.NAMESPACE, None, "/api/v1/namespaces/x"),
        (Kind.POD, "shop", "/api/v1/namespaces/shop/pods/x"),
        (Kind.CONFIG_MAP, "shop", "/api/v1/namespaces/shop/configmaps/x"),
        (Kind.NETWORK_POLICY, "shop", "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/x"),
        (
            Kind.MUTATING_WEBHOOK,
            None,
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/x",
        ),
        (
            Kind.VALIDATING_WEBHOOK,
            None,
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/x",
        ),
        (Kind.HOST, "shop", f"{HOST_PATH}/x"),
    ],
)
async def test_each_kind_is_read_where_the_api_server_serves_it(
    server: ApiServer, cluster: KubernetesCluster, kind: Kind, namespace: str | None, path: str
) -> None:
    await cluster.get(kind, namespace, "x")
    assert server.last.path == path


async def test_list_reads_every_page(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.answers(
        {"metadata": {"continue": "one"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"continue": "two"}, "items": [{"metadata": {"name": "b"}}]},
        {"metadata": {}, "items": [{"metadata": {"name": "c"}}]},
    )
    items = await cluster.list(Kind.CONFIG_MAP, "mtls-system")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
    assert [seen.query.get("continue") for seen in server.seen] == [None, "one", "two"]
    assert {seen.query["limit"] for seen in server.seen} == {"500"}


async def test_every_page_is_asked_for_with_the_same_selector(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.answers({"metadata": {"continue": "one"}, "items": []}, {"items": []})
    await cluster.list(Kind.CONFIG_MAP, None, labels="role=ledger,namespace=shop")
    assert {seen.query["labelSelector"] for seen in server.seen} == {"role=ledger,namespace=shop"}
    assert {seen.path for seen in server.seen} == {"/api/v1/configmaps"}


async def test_items_of_a_list_say_what_they_are(server: ApiServer, cluster: KubernetesCluster) -> None:
    """The API server leaves kind and version out of the items of built-in kinds."""
    server.answers({"items": [{"metadata": {"name": "a"}}]})
    (item,) = await cluster.list(Kind.SECRET, "shop")
    assert (item["apiVersion"], item["kind"]) == ("v1", "Secret")


async def test_an_empty_list_may_be_null(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.answers({"metadata": None, "items": None})
    assert list(await cluster.list(Kind.SECRET, "shop")) == []


async def test_create_posts_to_the_collection(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.answers(secret(uid="1"), status=201)
    assert await cluster.create(secret()) == secret(uid="1")
    seen = server.last
    assert (seen.method, seen.path) == ("POST", "/api/v1/namespaces/shop/secrets")
    assert seen.query == {"fieldManager": "mtls-operator"}
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.json == secret()


async def test_apply_is_server_side_with_our_field_manager_and_force(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    await cluster.apply(secret())
    seen = server.last
    assert (seen.method, seen.path) == ("PATCH", "/api/v1/namespaces/shop/secrets/api-tls")
    assert seen.query == {"fieldManager": "mtls-operator", "force": "true"}
    assert seen.headers["Content-Type"] == "application/apply-patch+yaml"
    assert seen.json == secret()


async def test_replace_puts_the_object_with_its_version(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    await cluster.replace(secret(resourceVersion="7"))
    seen = server.last
    assert (seen.method, seen.path) == ("PUT", "/api/v1/namespaces/shop/secrets/api-tls")
    assert seen.json["metadata"]["resourceVersion"] == "7"


async def test_replace_without_a_version_is_refused_before_anything_is_sent(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    """Without it the API server would overwrite whatever is there: two operators would lose a revocation."""
    with pytest.raises(ConflictError, match="api-tls"):
        await cluster.replace(secret())
    assert server.seen == []


async def test_patch_merges(server: ApiServer, cluster: KubernetesCluster) -> None:
    await cluster.patch(Kind.HOST, "shop", "api", {"metadata": {"finalizers": ["a"]}})
    seen = server.last
    assert (seen.method, seen.path) == ("PATCH", f"{HOST_PATH}/api")
    assert seen.headers["Content-Type"] == "application/merge-patch+json"
    assert seen.json == {"metadata": {"finalizers": ["a"]}}


async def test_patch_of_the_status_goes_to_the_subresource(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    await cluster.patch(Kind.HOST, "shop", "api", {"status": {}}, subresource="status")
    assert server.last.path == f"{HOST_PATH}/api/status"


async def test_delete_names_the_uid_that_it_means(server: ApiServer, cluster: KubernetesCluster) -> None:
    await cluster.delete(Kind.SECRET, "shop", "api-tls", uid="u-1")
    seen = server.last
    assert (seen.method, seen.path) == ("DELETE", "/api/v1/namespaces/shop/secrets/api-tls")
    assert seen.json == {"preconditions": {"uid": "u-1"}}


async def test_delete_of_an_object_that_is_gone_is_done(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    server.refuses(404, "NotFound")
    await cluster.delete(Kind.SECRET, "shop", "api-tls", uid="u-1")


async def test_every_request_has_the_token_and_says_who_asks(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    await cluster.get(Kind.SECRET, "shop", "api-tls")
    await cluster.create(secret())
    for seen in server.seen:
        assert seen.headers["Authorization"] == "Bearer t0ken"
        assert seen.headers["User-Agent"] == f"mtls-operator/{__version__}"
        assert seen.headers["Accept"] == "application/json"


async def test_a_kind_that_is_none_of_ours_is_not_written(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    with pytest.raises(KeyError):
        await cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}})
    assert server.seen == []


async def test_kinds_that_are_not_served_are_named(server: ApiServer, cluster: KubernetesCluster) -> None:
    groups = {"groups": [{"name": "mtls-operator.dev"}]}
    server.answers(groups, {"resources": [{"name": "pods"}]}, {"resources": [{"name": "mtlshosts"}]})
    kinds = (Kind.POD, Kind.HOST, Kind.NETWORK_POLICY)
    assert await cluster.unserved(kinds) == [Kind.NETWORK_POLICY]


async def test_a_version_that_is_not_there_serves_nothing(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    groups = {"groups": [{"name": "mtls-operator.dev"}]}
    server.refuses(404, "NotFound")
    server._answers.insert(0, server._fixed(groups, 200))
    assert await cluster.unserved([Kind.HOST]) == [Kind.HOST]
