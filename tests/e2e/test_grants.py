"""One namespace trusts the managed CA of another one on the real cluster: granted, revoked there, withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.support.builders import grant
from tests.support.clients import Http1
from tests.support.cluster import condition, eventually
from tests.support.tenant import HOSTNAME, Tenant


@contextmanager
def connected(shop: Tenant, partners: Tenant, name: str) -> Iterator[list[Http1]]:
    """Open a connection to every pod of one namespace with a certificate of another one."""
    with ExitStack() as stack:
        yield [stack.enter_context(partners.http1(name, address)) for address in shop.addresses()]


def asks(connections: list[Http1], status: int, *, within: float = 10) -> None:
    for connection in connections:
        eventually(
            lambda connection=connection: connection.get("/admin", HOSTNAME).status,
            lambda seen: seen == status,
            within=within,
        )


def resolved(shop: Tenant, reason: str) -> str:
    found = eventually(
        lambda: condition(shop.see("mtlshosts", "api"), "ResolvedRefs"),
        lambda seen: seen.get("reason") == reason,
        within=20,
    )
    return str(found["message"])


def test_a_partners_namespace_lets_another_one_trust_its_ca_revokes_there_and_takes_its_word_back(
    make_tenant: Callable[[], Tenant],
) -> None:
    shop, partners = make_tenant(), make_tenant()
    grants = f"/api/v1/namespaces/{partners.namespace}/configmaps"
    shop.host(clientCAs={"managedFrom": [{"namespace": partners.namespace}]})
    shop.rule("admin")
    shop.deploy()
    for name in ("agent", "other"):
        partners.certificate(name)
        partners.wait_ready("clientcertificates", name)
    shop.wait_pods(2, within=90)
    assert partners.namespace in resolved(shop, "NotGranted")
    with connected(shop, partners, "agent") as connections:
        asks(connections, 403)

    partners.api.create(grants, grant(shop.namespace, namespace=partners.namespace))
    # The CA travels by file: the kubelet takes up to a minute and a half.
    shop.wait_ready("mtlshosts", "api", within=150)
    sources = [one["source"] for one in shop.see("mtlshosts", "api")["status"]["clientCAs"]]
    assert sources == ["managed", f"managedFrom/{partners.namespace}"]

    with connected(shop, partners, "agent") as agent, connected(shop, partners, "other") as other:
        asks(agent, 200)
        asks(other, 200)
        partners.patch("clientcertificates", "agent", {"revoked": True})
        asks(agent, 403, within=5)
        partners.wait_state("agent", "Revoked")
        asks(other, 200)
        listed = shop.config_map("mtls-revocation")
        assert listed is not None
        lists = listed["data"]["revocation.lua"].split("local lists = ")[1].split("local decide")[0]
        assert lists.count("\n  [") == 2

        partners.patch("clientcertificates", "agent", {"revoked": False})
        partners.wait_state("agent", "Active")
        asks(agent, 200)

        partners.api.delete(f"{grants}/client-ca")
        asks(agent, 403, within=5)
        asks(other, 403, within=5)
        resolved(shop, "NotGranted")
    with connected(shop, partners, "other") as connections:
        asks(connections, 403)
    assert shop.status(None, "/") == 200
