"""An issuing CA of the user's own on the real cluster: taken, refused to its relatives, followed by the next one."""

from __future__ import annotations

import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from tests.support.clients import Http1
from tests.support.cluster import OPERATOR_NAMESPACE, Api, Body, condition, eventually
from tests.support.tenant import HOSTNAME, Tenant, identity_context
from tests.unit.pki.made import Ca, limited, make_ca

from mtls_operator.api import names
from mtls_operator.pki import (
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    load_issuing_authority,
    make_serial,
)

SECRETS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
NOW = datetime.now(UTC)


def own(name: str, issuer: Ca | None = None, length: int | None = None) -> Ca:
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=90)
    return make_ca(name, issuer=issuer, basic=limited(length), start=start, end=end)


ROOT = own("Corp root", length=2)
MIDDLE = own("Corp middle", ROOT, 1)


def data_of(ca: Ca) -> dict[str, str]:
    texts = {
        names.TLS_CERT_KEY: (ca.pem + MIDDLE.pem).encode(),
        names.TLS_KEY_KEY: ca.key_pem.reveal(),
        names.CA_KEY: ROOT.pem.encode(),
    }
    return {key: b64encode(text).decode() for key, text in texts.items()}


@pytest.fixture
def give(operator: Api) -> Iterator[Callable[[Ca, str], str]]:
    """Give a CA for a namespace in a Secret, which goes away with the test; returns its path."""
    made: list[str] = []

    def create(ca: Ca, namespace: str) -> str:
        name = f"corp-{uuid.uuid4().hex[:8]}"
        meta = {"name": name, "labels": {names.ISSUING_CA_LABEL: namespace}}
        operator.create(SECRETS, {"metadata": meta, "type": "kubernetes.io/tls", "data": data_of(ca)})
        made.append(f"{SECRETS}/{name}")
        return made[-1]

    yield create
    for path in made:
        operator.delete(path)


def run_shop(tenant: Tenant) -> None:
    tenant.host()
    tenant.rule("admin")
    tenant.certificate("good")
    tenant.certificate("bad")
    tenant.deploy()
    tenant.wait_pods(2, within=90)
    tenant.wait_ready("mtlshosts", "api")
    tenant.wait_ready("clientcertificates", "good")
    tenant.wait_ready("clientcertificates", "bad")


def answer_to_sibling(tenant: Tenant) -> int:
    """Return what a leaf of another CA below the same one gets, with the whole chain sent along."""
    sibling = own("Corp sibling", MIDDLE, 0)
    loaded = load_issuing_authority(sibling.pem + MIDDLE.pem + ROOT.pem, sibling.key_pem, now=NOW)
    made = issue_client(
        loaded.authority,
        subject=Subject(common_name="good"),
        sans=SubjectAltNames(),
        key=KeySpec(),
        validity=timedelta(days=1),
        serial=make_serial(1, bytes(15)),
        now=NOW,
    )
    chain = "".join((made.certificate_pem, *loaded.intermediates_pem, ROOT.pem))
    context = identity_context(chain.encode(), made.key_pem.reveal())
    with Http1(8443, context, HOSTNAME, address=tenant.addresses()[0]) as connection:
        return connection.get("/admin", HOSTNAME).status


def generations(tenant: Tenant) -> list[str]:
    secrets: list[Body] = tenant.in_operator_namespace("secrets", "authority")
    ordered = sorted(secrets, key=lambda body: int(body["metadata"]["name"].rsplit("-", 1)[1]))
    return [body["metadata"]["annotations"][names.PHASE_ANNOTATION] for body in ordered]


def issuer_of(tenant: Tenant, name: str) -> x509.Name:
    secret = tenant.secret(name)
    assert secret is not None
    return x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"])).issuer


def test_a_ca_that_is_given_issues_and_is_followed_by_the_next_one(
    tenant: Tenant, give: Callable[[Ca, str], str]
) -> None:
    first, second = own("Corp issuing", MIDDLE, 0), own("Corp issuing 2", MIDDLE, 0)
    path = give(first, tenant.namespace)
    run_shop(tenant)
    assert issuer_of(tenant, "good") == first.certificate.subject
    assert tenant.status("good", "/admin") == 200
    assert answer_to_sibling(tenant) == 403
    tenant.patch("clientcertificates", "bad", {"revoked": True})
    tenant.wait_state("bad", "Revoked")
    assert tenant.status("bad", "/admin") == 403

    tenant.api.patch(path, {"data": data_of(second)})
    eventually(
        lambda: generations(tenant),
        lambda seen: seen == ["Retiring", "Active"],
        within=240,
        what="a rotation",
    )
    assert tenant.status("good", "/admin") == 200
    assert tenant.status("bad", "/admin") == 403
    tenant.certificate("late")
    tenant.wait_ready("clientcertificates", "late")
    assert issuer_of(tenant, "late") == second.certificate.subject
    assert tenant.status("late", "/admin") == 200
    assert answer_to_sibling(tenant) == 403


def test_one_that_cannot_issue_is_refused_until_it_is_mended(
    tenant: Tenant, give: Callable[[Ca, str], str]
) -> None:
    issuing = own("Corp issuing", MIDDLE, 0)
    path = give(issuing, tenant.namespace)
    tenant.api.patch(path, {"data": {names.CA_KEY: None}})
    tenant.certificate("good")
    body = eventually(
        lambda: tenant.see("clientcertificates", "good"),
        lambda seen: condition(seen, "Issued").get("reason") == "IssuingCARefused",
        within=30,
    )
    assert "up to the root" in condition(body, "Issued")["message"]
    assert generations(tenant) == []
    assert "up to the root" in tenant.api.get(path)["metadata"]["annotations"][names.REFUSED_ANNOTATION]
    tenant.api.patch(path, {"data": data_of(issuing)})
    tenant.wait_ready("clientcertificates", "good", within=60)
    assert issuer_of(tenant, "good") == issuing.certificate.subject
