"""What kubectl says of a mistake: at once while the webhook is there, by the status and an Event while it is not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.cluster import Body, condition, eventually
from tests.support.tenant import Tenant
from tests.support.webhook import absent_webhook

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
BROKEN = 'http.request.uri.path eq "/other" und ssl'
REASON = "StoredUnchecked"


@pytest.fixture
def apply(kubectl: Kubectl, tenant: Tenant) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Apply one object of ours with the real kubectl."""

    def run(kind: str, name: str, spec: Body, *arguments: str) -> subprocess.CompletedProcess[str]:
        body = {
            "apiVersion": "mtls-operator.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": tenant.namespace},
            "spec": spec,
        }
        return kubectl("apply", *arguments, "-f", "-", stdin=json.dumps(body))

    return run


Apply = Callable[..., "subprocess.CompletedProcess[str]"]


def events(tenant: Tenant, name: str) -> list[Body]:
    found = tenant.api.items(
        f"/api/v1/namespaces/{tenant.namespace}/events", fieldSelector=f"involvedObject.name={name}"
    )
    return [event for event in found if event["reason"] == REASON]


@pytest.mark.parametrize("arguments", [("--dry-run=server",), (), ("--server-side",)])
def test_a_rule_with_a_mistake_is_refused_with_a_caret(
    apply: Apply, tenant: Tenant, arguments: tuple[str, ...]
) -> None:
    done = apply("MTLSRule", "broken", {"expression": BROKEN}, *arguments)
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    at = lines.index(BROKEN)
    assert "line 1, column 35: " in lines[at - 1]
    assert lines[at + 1] == " " * 34 + "^" * 7
    assert tenant.api.find(f"{tenant.path('mtlsrules')}/broken") is None


def test_a_lint_is_a_warning_of_kubectl(apply: Apply) -> None:
    spec = {"expression": "not cf.tls_client_auth.cert_verified"}
    done = apply("MTLSRule", "risky", spec, "--dry-run=server")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Warning: ")
    assert "cert_revoked" in done.stderr


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"subject": {"commonName": "ü" * 40}}, "longer than 64 bytes"),
        ({"emails": ["a..b@example.com"]}, "is not an e-mail address"),
        ({"uris": ["spiffe://a/%zz"]}, "is not an absolute URI"),
    ],
)
def test_a_certificate_that_could_not_be_signed_is_refused(apply: Apply, spec: Body, said: str) -> None:
    done = apply("ClientCertificate", "odd", spec, "--dry-run=server")
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("MTLSHost", {"hostnames": ["api.example.com"], "workload": {"port": 8080}}),
        ("MTLSRule", {"match": {"paths": ["/admin"]}}),
        ("ClientCertificate", {"subject": {"commonName": "gateway"}}),
        ("ClientCertificate", {"emails": ["ops@example.com"], "uris": ["spiffe://a/b"]}),
    ],
)
def test_what_is_in_order_passes_without_a_word(apply: Apply, kind: str, spec: Body) -> None:
    done = apply(kind, "fine", spec, "--dry-run=server")
    assert (done.returncode, done.stderr) == (0, "")


def test_certificates_that_the_schema_decides_about_are_not_asked_about(
    apply: Apply, kubectl: Kubectl, tenant: Tenant
) -> None:
    for name, spec in (
        (
            "plain",
            {
                "subject": {"commonName": "gateway", "organizations": ["ACME, Inc."]},
                "dnsNames": ["a.example"],
            },
        ),
        ("asked-umlaut", {"subject": {"commonName": "gäteway"}}),
        ("asked-unit", {"subject": {"commonName": "x", "organizationalUnits": ["a", "Ünit"]}}),
        ("asked-mail", {"emails": ["ops@example.com"]}),
    ):
        assert apply("ClientCertificate", name, spec, "--dry-run=server").returncode == 0

    def asked() -> set[str]:
        done = kubectl(
            *("-n", "mtls-system", "logs", "--tail=-1", "-l", "app.kubernetes.io/component=webhook")
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {
            line["name"] for line in lines if line.get("namespace") == tenant.namespace and "name" in line
        }

    eventually(asked, lambda seen: seen == {"asked-umlaut", "asked-unit", "asked-mail"}, within=10)


def test_a_change_that_breaks_a_rule_is_refused_and_leaves_it_as_it_is(apply: Apply, tenant: Tenant) -> None:
    assert apply("MTLSRule", "admin", {"match": {"paths": ["/admin"]}}).returncode == 0
    done = apply("MTLSRule", "admin", {"expression": BROKEN})
    assert done.returncode != 0
    assert tenant.see("mtlsrules", "admin")["spec"]["match"]["paths"] == ["/admin"]


def test_while_the_webhook_is_away_everything_can_be_applied_and_its_author_is_told(
    apply: Apply, tenant: Tenant
) -> None:
    """It fails open, the operator checks again; what came then can be mended, changed and deleted afterwards."""
    with absent_webhook(tenant.api):
        for kind, name, spec in (
            ("MTLSRule", "broken", {"expression": BROKEN}),
            ("MTLSRule", "good", {"match": {"paths": ["/admin"]}}),
            ("ClientCertificate", "odd", {"emails": ["a..b@example.com"]}),
            ("ClientCertificate", "plain", {"subject": {"commonName": "plain"}}),
        ):
            done = apply(kind, name, spec)
            assert done.returncode == 0, done.stderr
        body = eventually(
            lambda: tenant.see("mtlsrules", "broken"),
            lambda seen: condition(seen, "Accepted").get("status") == "False",
        )
        assert "^" in condition(body, "Accepted")["message"]
        (told,) = eventually(lambda: events(tenant, "broken"))
        assert told["type"] == "Warning"
        assert "line 1, column 35" in told["message"]
        (told,) = eventually(lambda: events(tenant, "good"))
        assert told["type"] == "Warning"
        assert "does not answer" in told["message"]
        tenant.wait_ready("clientcertificates", "plain")
        assert events(tenant, "plain") == []
    _old_mistakes_can_be_lived_with(tenant, apply)


def _old_mistakes_can_be_lived_with(tenant: Tenant, apply: Apply) -> None:
    """G2, G3: the webhook is there again, and holds nothing up that was stored without it."""
    rule, odd = f"{tenant.path('mtlsrules')}/broken", f"{tenant.path('clientcertificates')}/odd"

    def refused() -> bool:
        again: Any = apply("MTLSRule", "other", {"expression": BROKEN}, "--dry-run=server")
        return bool(again.returncode != 0)

    eventually(refused, within=15, what="the webhook answers again")
    for path in (rule, odd):
        tenant.api.patch(path, {"metadata": {"labels": {"team": "a"}}})
    assert tenant.see("clientcertificates", "odd")["metadata"]["finalizers"] == ["mtls-operator.dev/revoke"]
    tenant.api.patch(odd, {"spec": {"revoked": True}})
    tenant.api.patch(rule, {"spec": {"enabled": False}})
    other = tenant.api.http.patch(
        rule,
        json={"spec": {"expression": "http.hosst eq 1"}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert other.status_code == 422, "another mistake than before"
    for path in (rule, odd):
        tenant.api.delete(path)
        eventually(lambda path=path: tenant.api.find(path) is None, what=f"{path} is gone")
