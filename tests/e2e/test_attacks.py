"""Attackers on the real cluster: the administrator of one namespace, and who may only ask for certificates."""

from __future__ import annotations

import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration.push.proxies import Proxy
from tests.support.clients import Http1
from tests.support.cluster import (
    GROUP,
    OPERATOR_NAMESPACE,
    Api,
    Body,
    cluster_environment,
    condition,
    eventually,
)
from tests.support.tenant import HOSTNAME, Tenant
from tests.support.webhook import absent_webhook

from mtls_operator.api import names

_FINALIZER_OFF = {"metadata": {"finalizers": []}}
_FORBIDDEN = 403
_INVALID = 422


@dataclass(frozen=True, slots=True)
class Mallory:
    """Somebody with the role ``admin`` in one namespace, and no right anywhere else."""

    api: Api
    namespace: str

    def status(self, method: str, path: str, body: Body | None = None) -> int:
        """Return the status of a request to the API server."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return self.api.http.request(method, path, json=body, headers={"Content-Type": kind}).status_code

    def core(self, plural: str, name: str = "", *, namespace: str = "") -> str:
        """Return the path of something of the core group, in the own namespace unless told otherwise."""
        return f"/api/v1/namespaces/{namespace or self.namespace}/{plural}/{name}".rstrip("/")


@pytest.fixture
def make_mallory() -> Iterator[Callable[[Tenant], Mallory]]:
    made: list[Api] = []

    def make(tenant: Tenant) -> Mallory:
        user = f"mallory-{tenant.namespace}"
        tenant.api.create(
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{tenant.namespace}/rolebindings",
            {
                "metadata": {"name": "mallory"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            },
        )
        api = Api(Path(cluster_environment()["KUBECONFIG"]))
        api.http.headers["Impersonate-User"] = user
        made.append(api)
        mallory = Mallory(api, tenant.namespace)
        eventually(lambda: mallory.status("GET", mallory.core("secrets")) == 200, within=10)
        return mallory

    yield make
    for api in made:
        api.http.close()


def _forged(kind: str, name: str, role: str, victim: str) -> Body:
    labels = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.ROLE_LABEL: role,
        names.NAMESPACE_LABEL: victim,
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}, "data": {}}


# An administrator of one namespace


def test_the_administrator_of_a_namespace_has_no_right_that_forges_the_truth(
    shop: Tenant, make_mallory: Callable[[Tenant], Mallory], make_tenant: Callable[[], Tenant]
) -> None:
    mallory, other = make_mallory(shop), make_tenant()
    for plural, name in (("clientcertificates", "good"), ("mtlshosts", "api"), ("mtlsrules", "admin")):
        forged = {"status": {"serialNumber": "01" * 19, "conditions": []}}
        assert mallory.status("PATCH", f"{shop.path(plural)}/{name}/status", forged) == _FORBIDDEN
        assert mallory.status("GET", other.path(plural)) == _FORBIDDEN
    for namespace in (OPERATOR_NAMESPACE, other.namespace):
        for plural in ("secrets", "configmaps"):
            assert mallory.status("GET", mallory.core(plural, namespace=namespace)) == _FORBIDDEN
            made = _forged("Secret", "x", "authority", shop.namespace)
            assert mallory.status("POST", mallory.core(plural, namespace=namespace), made) == _FORBIDDEN


@pytest.mark.parametrize("order", ["before the deletion", "during the deletion"])
def test_a_finalizer_that_an_administrator_of_the_cluster_takes_off_saves_no_certificate(
    shop: Tenant, order: str
) -> None:
    """G3: deletion revokes, whoever removed what holds the object; others cannot (admission/test_finalizer.py)."""
    admin, path = Mallory(shop.api, shop.namespace), f"{shop.path('clientcertificates')}/bad"
    serial = shop.see("clientcertificates", "bad")["status"]["serialNumber"]
    with shop.http1("bad", shop.addresses()[0]) as connection:
        assert connection.get("/admin", HOSTNAME).status == 200
        steps = [("PATCH", _FINALIZER_OFF), ("DELETE", None)]
        for method, body in steps if order.startswith("before") else reversed(steps):
            assert admin.status(method, path, body) in (200, 202, 404)
        eventually(lambda: connection.get("/admin", HOSTNAME).status, lambda seen: seen == 403, within=10)
    eventually(lambda: shop.api.find(path) is None, within=10, what="the object is gone")
    pages = shop.in_operator_namespace("configmaps", "ledger")
    assert any(serial in text for page in pages for text in page["data"].values())


def test_forged_labels_reach_no_other_namespace(
    shop: Tenant, make_tenant: Callable[[], Tenant], make_mallory: Callable[[Tenant], Mallory]
) -> None:
    mallory = make_mallory(make_tenant())

    def reserved() -> str:
        (secret,) = shop.in_operator_namespace("secrets", "authority")
        return b64decode(secret["data"]["next-index"]).decode()

    before = reserved()
    for number in range(4):
        forged = _forged("Secret", f"ca-{shop.namespace}-{number + 1}", "authority", shop.namespace)
        assert mallory.status("POST", mallory.core("secrets"), forged) == 201
        page = _forged("ConfigMap", f"ledger-{shop.namespace}-{number + 1}", "ledger", shop.namespace)
        assert mallory.status("POST", mallory.core("configmaps"), page) == 201
        shop.certificate(f"late-{number}")
        shop.wait_ready("clientcertificates", f"late-{number}")
        assert mallory.status("DELETE", mallory.core("secrets", forged["metadata"]["name"])) == 200
    assert reserved() == before
    shop.patch("clientcertificates", "bad", {"revoked": True})
    shop.wait_state("bad", "Revoked")


@pytest.mark.parametrize(
    ("plural", "name"),
    [("secrets", "mtls-proxy"), ("configmaps", "mtls-revocation"), ("configmaps", "mtls-client-ca")],
)
def test_an_object_made_immutable_holds_no_revocation_back(
    shop: Tenant, make_mallory: Callable[[Tenant], Mallory], plural: str, name: str
) -> None:
    mallory = make_mallory(shop)
    path = mallory.core(plural, name)
    uid = shop.api.get(path)["metadata"]["uid"]
    broken = {"immutable": True, "data": {"ca.crt": "QUFBQQ=="}, "metadata": {"labels": {"x": "y"}}}
    assert mallory.status("PATCH", path, broken) == 200
    shop.patch("clientcertificates", "bad", {"revoked": True})
    shop.wait_state("bad", "Revoked")
    assert shop.status("bad", "/admin", shop.addresses()[0]) == 403
    replaced = eventually(
        lambda: shop.api.find(path),
        lambda seen: seen is not None and seen["metadata"]["uid"] != uid,
        within=20,
        what=f"{name} is replaced",
    )
    assert replaced is not None
    assert not replaced.get("immutable")
    shop.wait_ready("mtlshosts", "api")


def _take_the_place(mallory: Mallory) -> int:
    taken = {"metadata": {"name": names.PROXY_SECRET}, "type": "Opaque", "immutable": True}
    return mallory.status("POST", mallory.core("secrets"), taken)


def _clear_the_place(mallory: Mallory) -> int:
    return mallory.status("DELETE", mallory.core("secrets", names.PROXY_SECRET))


def _is_ours(tenant: Tenant) -> None:
    eventually(
        lambda: (tenant.secret(names.PROXY_SECRET) or {}).get("type"),
        lambda kind: kind == "kubernetes.io/tls",
    )


def test_a_secret_that_had_our_name_before_us_stays_and_nothing_begins_until_it_is_gone(
    tenant: Tenant, make_mallory: Callable[[Tenant], Mallory]
) -> None:
    mallory = make_mallory(tenant)
    assert _take_the_place(mallory) == 201
    tenant.host()
    programmed = eventually(
        lambda: condition(tenant.see("mtlshosts", "api"), "Programmed"),
        lambda seen: seen.get("reason") == "SecretConflict",
    )
    assert names.PROXY_SECRET in programmed["message"]
    assert (tenant.secret(names.PROXY_SECRET) or {}).get("type") == "Opaque"
    assert _clear_the_place(mallory) == 200
    _is_ours(tenant)


def test_a_secret_of_another_type_in_the_place_of_ours_is_replaced(
    tenant: Tenant, make_mallory: Callable[[Tenant], Mallory]
) -> None:
    mallory = make_mallory(tenant)
    tenant.host()
    _is_ours(tenant)
    assert _clear_the_place(mallory) == 200
    # Whoever is first: the operator has made the Secret again, or Mallory has its place for a moment.
    assert _take_the_place(mallory) in (201, 409)
    # A pod that mounted it before would keep it: the kubelet never reads an immutable Secret again.
    _is_ours(tenant)
    tenant.deploy(replicas=1)
    tenant.wait_pods(1, within=90)
    tenant.wait_ready("mtlshosts", "api")


def _play(shop: Tenant, identity: Tenant, node: str, resource: str = names.RULES_FILTER) -> Proxy:
    """Open a discovery stream from outside any pod, with the certificate in a namespace's Secret."""
    secret = eventually(lambda: identity.secret(names.PROXY_SECRET), what="the proxies' identity is made")
    assert secret is not None
    files = {name: b64decode(value) for name, value in secret["data"].items()}
    credentials = grpc.ssl_channel_credentials(files["ca.crt"], files["tls.key"], files["tls.crt"])
    service = shop.api.get(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/mtls-operator")
    options = [("grpc.ssl_target_name_override", f"mtls-operator.{OPERATOR_NAMESPACE}.svc.cluster.local")]
    channel = grpc.secure_channel(f"{service['spec']['clusterIP']}:18000", credentials, options=options)
    proxy = Proxy(channel)
    proxy.send(node, resource=(resource,))
    return proxy


def _node_of(pod: Body) -> str:
    return names.node_id(pod["metadata"]["namespace"], pod["metadata"]["name"], str(pod["metadata"]["uid"]))


def test_the_identity_of_a_namespace_opens_no_stream_of_another_one(
    shop: Tenant, make_tenant: Callable[[], Tenant]
) -> None:
    other = make_tenant()
    other.certificate("any")
    other.wait_ready("clientcertificates", "any")
    pod = shop.pods()[0]
    mixed = names.node_id(other.namespace, pod["metadata"]["name"], str(pod["metadata"]["uid"]))
    for node, codes in (
        (_node_of(pod), {grpc.StatusCode.PERMISSION_DENIED}),
        (mixed, {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}),
        (f"{other.namespace}/../{shop.namespace}/x", {grpc.StatusCode.PERMISSION_DENIED}),
    ):
        for resource in (names.RULES_FILTER, names.REVOCATION_FILTER):
            proxy = _play(shop, other, node, resource)
            try:
                if node == mixed:
                    assert proxy.silent(2.0), "a pod that is not known there gets nothing"
                else:
                    assert proxy.code() in codes
            finally:
                proxy.close()
    assert shop.see("mtlshosts", "api")["status"]["proxies"]["connected"] == 2


def test_false_acknowledgements_lie_about_the_own_namespace_alone(
    shop: Tenant, make_tenant: Callable[[], Tenant]
) -> None:
    """G4: whoever reads a namespace's Secrets can speak for its pods; the real sidecars speak again at once."""
    other = make_tenant()
    other.host()
    other.deploy(replicas=1)
    other.wait_pods(1, within=90)
    other.wait_ready("mtlshosts", "api")
    before = shop.see("mtlshosts", "api")["status"]
    proxy = _play(shop, other, _node_of(other.pods()[0]), names.REVOCATION_FILTER)
    try:
        pushed = proxy.read()
        proxy.send(version="", nonce=pushed.nonce, resource=(names.REVOCATION_FILTER,), error="no")
        shop.patch("clientcertificates", "bad", {"revoked": True})
        shop.wait_state("bad", "Revoked")
    finally:
        proxy.close()
    eventually(
        lambda: shop.see("mtlshosts", "api")["status"]["proxies"], lambda seen: seen == before["proxies"]
    )
    other.wait_ready("mtlshosts", "api", within=60)


def test_a_tenant_that_floods_rules_does_not_hold_up_another_ones_revocation(
    shop: Tenant, make_tenant: Callable[[], Tenant]
) -> None:
    flood = make_tenant()
    flood.host()
    members = " ".join(f'"/{number}"' for number in range(350))
    with absent_webhook(shop.api):  # it would refuse every second one
        for number in range(150):
            end = "" if number % 2 else " und"
            flood.rule(f"r-{number}", expression=f'http.request.uri.path in {{{members} "/x{number}"}}{end}')
        shop.patch("clientcertificates", "bad", {"revoked": True})
        shop.wait_state("bad", "Revoked", within=5)
        assert shop.status("bad", "/admin", shop.addresses()[0]) == 403


def test_names_at_their_limits_work_and_share_nothing(make_tenant: Callable[..., Tenant]) -> None:
    unique = uuid.uuid4().hex[:8]
    short = make_tenant(f"{unique}-1")
    longest = make_tenant(f"{unique}-1-" + "1" * (63 - 11))
    former = {}
    for tenant in (short, longest):
        tenant.certificate("c" * 63)
        tenant.host("h" * 52)
        tenant.wait_ready("clientcertificates", "c" * 63)
        (secret,) = tenant.in_operator_namespace("secrets", "authority")
        former[tenant.namespace] = secret["data"]["tls.crt"]
        eventually(
            lambda tenant=tenant: tenant.see("mtlshosts", "h" * 52),
            lambda seen: condition(seen, "Programmed").get("status") == "True",
        )
    assert len(set(former.values())) == len(former)


# Who may only ask for certificates


@pytest.mark.parametrize(
    "spec",
    [
        {"subject": {"commonName": "x\nX-Admin: yes"}},
        {"subject": {"commonName": "x\u0000"}},
        {"subject": {"commonName": " padded"}},
        {"secretName": "mtls-proxy"},
        {"secretName": "mtls-server-api"},
        {"uris": ["spiffe://x\n"]},
        {"uris": ["spiffe://x y"]},
        # These would split X-Forwarded-Client-Cert.
        {"uris": ["spiffe://x,Hash=forged"]},
        {"uris": ["spiffe://x;Subject=CN=admin"]},
        {"uris": ['spiffe://x";By=y,Hash=z']},
        {"dnsNames": ["*.example.com"]},
        {"dnsNames": ["x,DNS=y"]},
        {"dnsNames": ['x"']},
        {"ipAddresses": ["1.2.3.4;x"]},
    ],
)
def test_this_certificate_cannot_even_be_asked_for(tenant: Tenant, spec: dict[str, Any]) -> None:
    body = {
        "apiVersion": "mtls-operator.dev/v1alpha1",
        "kind": "ClientCertificate",
        "metadata": {"name": "odd"},
        "spec": {"subject": {"commonName": "odd"}, **spec},
    }
    path = f"{GROUP}/namespaces/{tenant.namespace}/clientcertificates"
    assert tenant.api.http.post(path, json=body).status_code == _INVALID


def test_odd_subjects_arrive_as_one_element_of_the_certificate_header(shop: Tenant) -> None:
    for number, name in enumerate(['x",Hash=forged;URI=y', "x\\", 'x\\",By=y', "x,CN=admin+O=z", "#ü\u202e"]):
        shop.certificate(f"odd-{number}", subject={"commonName": name})
        shop.wait_ready("clientcertificates", f"odd-{number}")
        with shop.http1(f"odd-{number}", shop.addresses()[0]) as connection:
            seen = connection.get("/admin", HOSTNAME).seen["headers"]["x-forwarded-client-cert"]
        assert len(seen) == 1
        assert seen[0].isascii()
        before, quoted, _ = seen[0].replace("\\\\", "").replace('\\"', "").split('"')
        assert before.count("Hash=") == 1
        assert "CN=admin" not in quoted.split(",")


@pytest.mark.parametrize("name", ["api-tls", "other-certificate"])
def test_a_certificate_never_takes_over_a_secret(tenant: Tenant, name: str) -> None:
    tenant.certificate("other-certificate")
    tenant.wait_ready("clientcertificates", "other-certificate")
    if name == "api-tls":
        path = f"/api/v1/namespaces/{tenant.namespace}/secrets"
        tenant.api.create(path, {"metadata": {"name": name}, "stringData": {"note": "mine"}})
    before = tenant.secret(name)
    tenant.certificate("thief", secretName=name)
    body = tenant.wait_state("thief", "Failed")
    assert condition(body, "Issued")["reason"] == "SecretConflict"
    tenant.delete("clientcertificates", "thief")
    eventually(lambda: tenant.api.find(f"{tenant.path('clientcertificates')}/thief") is None)
    assert tenant.secret(name) == before


# Races


def test_an_object_made_again_at_once_neither_adopts_nor_saves_the_former_certificate(shop: Tenant) -> None:
    former = shop.context("bad")
    serial = shop.see("clientcertificates", "bad")["status"]["serialNumber"]
    path = f"{shop.path('clientcertificates')}/bad"
    uid = shop.api.get(path)["metadata"]["uid"]
    shop.delete("clientcertificates", "bad")
    eventually(lambda: (shop.api.find(path) or {}).get("metadata", {}).get("uid") != uid)
    shop.certificate("bad")
    shop.wait_ready("clientcertificates", "bad", within=60)
    assert shop.see("clientcertificates", "bad")["status"]["serialNumber"] != serial
    address = shop.addresses()[0]
    with Http1(8443, former, HOSTNAME, address=address) as connection:
        assert connection.get("/admin", HOSTNAME).status == 403
    assert shop.status("bad", "/admin", address) == 200


def test_of_quick_changes_of_mind_the_last_one_is_in_force(shop: Tenant) -> None:
    address = shop.addresses()[0]
    for revoked in (True, False, True, False, True):
        shop.patch("clientcertificates", "bad", {"revoked": revoked})
    shop.wait_state("bad", "Revoked")
    assert shop.status("bad", "/admin", address) == 403
    for revoked in (False, True, False):
        shop.patch("clientcertificates", "bad", {"revoked": revoked})
    shop.wait_state("bad", "Active")
    assert shop.status("bad", "/admin", address) == 200


def test_a_second_host_with_the_same_name_takes_nothing_from_the_first(shop: Tenant) -> None:
    shop.host("thief", hostnames=(HOSTNAME,))
    body = eventually(
        lambda: shop.see("mtlshosts", "thief"),
        lambda seen: condition(seen, "Accepted").get("reason") == "HostnameConflict",
    )
    assert condition(body, "Ready")["status"] == "False"
    assert shop.config_map("mtls-host-thief") is None
    shop.wait_ready("mtlshosts", "api")
    assert shop.status(None, "/admin", shop.addresses()[0]) == 403
    assert shop.status("good", "/admin", shop.addresses()[0]) == 200


# Clients


@pytest.mark.parametrize("opener", ["http1", "http2"])
def test_an_escape_hides_no_path_from_a_rule(shop: Tenant, opener: str) -> None:
    shop.rule("delimited", match={"paths": ["/v1/x:cancel"], "pathPrefixes": ["/@admin/"]})
    shop.rule(
        "accent",
        expression='http.request.uri.path eq "/caf%C3%A9" and not cf.tls_client_auth.cert_verified',
    )
    shop.wait_ready("mtlsrules", "delimited")
    shop.wait_ready("mtlsrules", "accent")
    address = shop.addresses()[0]
    for target in ("/v1/x:cancel", "/v1/x%3acancel", "/%40admin/x", "/caf%C3%A9", "/caf%c3%a9"):
        with getattr(shop, opener)(None, address) as connection:
            assert connection.get(target, HOSTNAME).status == 403, target
        with getattr(shop, opener)("good", address) as connection:
            assert connection.get(target, HOSTNAME).status == 200, target
    for target in ("/%c0%afadmin", "/%u0061dmin", "/admin%"):
        with getattr(shop, opener)(None, address) as connection:
            assert connection.get(target, HOSTNAME).status == 400, target
