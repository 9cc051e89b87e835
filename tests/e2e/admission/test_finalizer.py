"""Who may take our finalizer off a ClientCertificate: the operator, and who was given that right (G3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_outage import stopped_operator
from tests.support.cluster import Api, Body, cluster_environment, eventually
from tests.support.tenant import Tenant

from mtls_operator.api import names

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PATCH = {"Content-Type": "application/merge-patch+json"}


class Somebody:
    """A user with one role in a namespace."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.name = f"somebody-{tenant.namespace}"
        self.api = Api(Path(cluster_environment()["KUBECONFIG"]))
        self.api.http.headers["Impersonate-User"] = self.name

    def gets(self, kind: str, role: str) -> None:
        """Bind a role, and wait until it counts."""
        self.tenant.api.create(
            f"{_RBAC}/namespaces/{self.tenant.namespace}/rolebindings",
            {
                "metadata": {"generateName": "somebody-"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.name}],
            },
        )

    def patch(self, body: Body) -> tuple[int, str]:
        """Patch the certificate ``gateway``; return the status and what was said."""
        path = f"{self.tenant.path('clientcertificates')}/gateway"
        answer = self.api.http.patch(path, json=body, headers=_PATCH)
        return answer.status_code, str(answer.json().get("message"))


@pytest.fixture
def gateway(tenant: Tenant) -> Tenant:
    """A namespace with an issued certificate."""
    tenant.certificate("gateway")
    tenant.wait_ready("clientcertificates", "gateway")
    return tenant


@pytest.fixture
def somebody(gateway: Tenant) -> Iterator[Somebody]:
    """Somebody with every right in the namespace that the role ``admin`` has."""
    made = Somebody(gateway)
    made.gets("ClusterRole", "admin")
    eventually(lambda: made.patch({"metadata": {"labels": {"a": "b"}}})[0] == 200, within=10)
    yield made
    made.api.http.close()


@pytest.mark.parametrize("finalizers", [None, [], ["example.com/other"]])
def test_an_administrator_of_the_namespace_cannot_take_it_off(
    gateway: Tenant, somebody: Somebody, finalizers: list[str] | None
) -> None:
    status, said = somebody.patch({"metadata": {"finalizers": finalizers}})
    assert status == 403
    assert "mtls-operator-finalizer" in said
    assert f"needs the verb release on clientcertificates, which {somebody.name} does not have" in said
    assert gateway.see("clientcertificates", "gateway")["metadata"]["finalizers"] == [names.FINALIZER]


def test_other_finalizers_are_nobodys_business(gateway: Tenant, somebody: Somebody) -> None:
    both = [names.FINALIZER, "example.com/other"]
    assert somebody.patch({"metadata": {"finalizers": both}})[0] == 200
    assert somebody.patch({"metadata": {"finalizers": [names.FINALIZER]}})[0] == 200
    assert gateway.see("clientcertificates", "gateway")["metadata"]["finalizers"] == [names.FINALIZER]


def test_a_deletion_while_the_operator_is_away_waits_and_revokes(gateway: Tenant, somebody: Somebody) -> None:
    """The way out that this closes: nobody would have seen the deletion."""
    serial = gateway.see("clientcertificates", "gateway")["status"]["serialNumber"]
    path = f"{gateway.path('clientcertificates')}/gateway"
    with stopped_operator(gateway.api):
        somebody.api.delete(path)
        assert somebody.patch({"metadata": {"finalizers": None}})[0] == 403
        assert gateway.api.find(path) is not None
    eventually(lambda: gateway.api.find(path) is None, within=60, what="the operator has let it go")
    pages = gateway.in_operator_namespace("configmaps", "ledger")
    assert any(serial in text for page in pages for text in page["data"].values())


def test_who_was_given_the_right_may_take_it_off(gateway: Tenant, somebody: Somebody) -> None:
    """For the day when the operator does not come back; whoever administers the cluster has it with all others."""
    gateway.api.create(
        f"{_RBAC}/namespaces/{gateway.namespace}/roles",
        {
            "metadata": {"name": "releases"},
            "rules": [
                {"apiGroups": [names.GROUP], "resources": ["clientcertificates"], "verbs": ["release"]}
            ],
        },
    )
    somebody.gets("Role", "releases")
    eventually(lambda: somebody.patch({"metadata": {"finalizers": None}})[0] == 200, within=10)


def test_a_namespace_with_certificates_can_be_deleted(gateway: Tenant) -> None:
    path = f"/api/v1/namespaces/{gateway.namespace}"
    gateway.api.delete(path)
    eventually(lambda: gateway.api.find(path) is None, within=60, what="the namespace is gone")
