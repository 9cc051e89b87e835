"""Every way to a certificate, on the real API server and in front of the real proxy."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from tests.support.clients import Http1
from tests.support.cluster import Kubectl, eventually
from tests.support.requests import key_pem, request_pem
from tests.support.tenant import HOSTNAME, Tenant, identity_context

from mtls_operator.pki import read_certificate
from mtls_operator.plan.policy import POLICY_ANNOTATION
from mtls_operator.plan.quota import QUOTA_ANNOTATION


def _request(tenant: Tenant, name: str, **spec: Any) -> bytes:
    """Apply a request of an owner of that name, and return the certificate."""
    tenant.certificate(name, request=request_pem(name), **spec)
    return str(tenant.wait_ready("clientcertificates", name)["status"]["certificate"]).encode()


def _ask(tenant: Tenant, certificate: bytes, key: bytes) -> int:
    context = identity_context(certificate, key)
    with Http1(443, context, HOSTNAME, address=tenant.service()) as connection:
        return connection.get("/admin", HOSTNAME).status


def _data(tenant: Tenant, name: str) -> dict[str, bytes]:
    secret = tenant.secret(name)
    assert secret is not None
    return {key: b64decode(value) for key, value in secret["data"].items()}


def _annotate(tenant: Tenant, annotation: str, text: str | None) -> None:
    path = f"/api/v1/namespaces/{tenant.namespace}"
    tenant.api.patch(path, {"metadata": {"annotations": {annotation: text}}})


def _issued(tenant: Tenant, name: str) -> tuple[str, str]:
    """Return status and reason of the condition Issued."""
    status = tenant.see("clientcertificates", name).get("status") or {}
    found = [one for one in status.get("conditions", ()) if one["type"] == "Issued"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def test_a_certificate_for_a_request_gets_in_until_it_is_revoked(shop: Tenant) -> None:
    certificate = _request(shop, "device")
    assert shop.secret("device") is None
    assert _ask(shop, certificate, key_pem("device")) == 200
    shop.patch("clientcertificates", "device", {"revoked": True})
    shop.wait_state("device", "Revoked")
    assert _ask(shop, certificate, key_pem("device")) == 403


def test_what_is_kept_for_a_request_is_put_back_without_signing_again(tenant: Tenant) -> None:
    certificate = _request(tenant, "device")
    path = f"/api/v1/namespaces/{tenant.namespace}/configmaps/mtls-certificate-device"
    tenant.api.delete(path)
    eventually(lambda: tenant.config_map("mtls-certificate-device"), within=10, what="it is made again")
    tenant.api.patch(path, {"data": {"tls.crt": "rubbish"}})
    eventually(
        lambda: (tenant.config_map("mtls-certificate-device") or {})["data"]["tls.crt"],
        lambda text: text.encode() == certificate,
        within=10,
    )
    assert tenant.see("clientcertificates", "device")["status"]["certificate"].encode() == certificate


def test_a_keystore_opens_with_openssl_and_follows_its_password(tenant: Tenant, tmp_path: Path) -> None:
    secrets = f"/api/v1/namespaces/{tenant.namespace}/secrets"

    def password(text: str) -> dict[str, str]:
        return {"password": b64encode(text.encode()).decode()}

    tenant.api.create(secrets, {"metadata": {"name": "phone"}, "data": password("correct horse")})
    reference = {"name": "phone", "key": "password"}
    tenant.certificate("phone-1", keystore={"pkcs12": {"passwordSecretRef": reference}, "combinedPEM": True})
    tenant.wait_ready("clientcertificates", "phone-1")

    def opens(text: str) -> bool:
        store = tmp_path / "keystore.p12"
        store.write_bytes(_data(tenant, "phone-1")["keystore.p12"])
        done = subprocess.run(
            ["openssl", "pkcs12", "-in", str(store), "-noenc", "-passin", f"pass:{text}"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0 and b"PRIVATE KEY" in done.stdout and b"phone-1" in done.stdout

    assert opens("correct horse")
    before = _data(tenant, "phone-1")
    assert before["combined.pem"] == before["tls.key"] + before["tls.crt"]
    tenant.api.patch(f"{secrets}/phone", {"data": password("battery staple")})
    eventually(lambda: opens("battery staple"), within=15, what="the keystore follows its password")
    assert _data(tenant, "phone-1")["tls.crt"] == before["tls.crt"]


def test_a_changed_spec_gets_a_new_certificate_and_the_old_one_still_gets_in(shop: Tenant) -> None:
    old = _data(shop, "good")
    serial = read_certificate(old["tls.crt"]).serial
    shop.patch(
        "clientcertificates", "good", {"dnsNames": ["good.example.com"], "renewal": {"before": "720h"}}
    )
    body = eventually(
        lambda: shop.see("clientcertificates", "good"),
        lambda body: body["status"]["serialNumber"] != serial,
        within=15,
        what="a new certificate",
    )
    new = _data(shop, "good")
    assert read_certificate(new["tls.crt"]).dns_names == ("good.example.com",)
    assert [one["serialNumber"] for one in body["status"]["previous"]] == [serial]
    assert body["status"]["renewalTime"] < body["status"]["notAfter"]
    for data in (old, new):
        assert _ask(shop, data["tls.crt"], data["tls.key"]) == 200
    shop.patch("clientcertificates", "good", {"revoked": True})
    shop.wait_state("good", "Revoked")
    for data in (old, new):
        assert _ask(shop, data["tls.crt"], data["tls.key"]) == 403


def test_a_secret_that_somebody_damaged_is_whole_again(tenant: Tenant) -> None:
    tenant.certificate("gateway")
    tenant.wait_ready("clientcertificates", "gateway")
    before = _data(tenant, "gateway")
    path = f"/api/v1/namespaces/{tenant.namespace}/secrets/gateway"
    tenant.api.patch(path, {"data": {"ca.crt": b64encode(b"rubbish").decode()}})
    eventually(lambda: _data(tenant, "gateway"), lambda data: data == before, within=10)
    tenant.api.patch(path, {"data": {"tls.key": b64encode(key_pem("somebody")).decode()}})
    eventually(
        lambda: _data(tenant, "gateway"),
        lambda data: data["tls.crt"] != before["tls.crt"] and data["tls.key"] != key_pem("somebody"),
        within=10,
    )
    serial = read_certificate(_data(tenant, "gateway")["tls.crt"]).serial
    eventually(
        lambda: tenant.see("clientcertificates", "gateway")["status"]["serialNumber"],
        lambda named: named == serial,
        within=10,
    )


def test_policy_and_quota_of_a_namespace_are_asked_first(tenant: Tenant) -> None:
    _annotate(tenant, POLICY_ANNOTATION, 'commonNames: ["gateway-*"]')
    tenant.certificate("admin")
    eventually(lambda: _issued(tenant, "admin"), lambda seen: seen == ("False", "PolicyViolation"), within=10)
    assert tenant.secret("admin") is None
    _annotate(tenant, POLICY_ANNOTATION, None)
    tenant.wait_ready("clientcertificates", "admin", within=10)
    _annotate(tenant, QUOTA_ANNOTATION, "1")
    tenant.certificate("second")
    eventually(lambda: _issued(tenant, "second"), lambda seen: seen == ("False", "QuotaExceeded"), within=10)


def test_a_private_key_in_the_place_of_a_request_is_not_even_stored(tenant: Tenant, kubectl: Kubectl) -> None:
    """G5."""
    text = key_pem("careless").decode().replace("\n", "\n    ")
    body = (
        "apiVersion: mtls-operator.dev/v1alpha1\nkind: ClientCertificate\n"
        f"metadata: {{name: careless, namespace: {tenant.namespace}}}\nspec:\n  request: |\n    {text}\n"
    )
    refused = kubectl("create", "-f", "-", stdin=body)
    assert refused.returncode != 0
    assert "a private key does not belong into this object" in refused.stderr
