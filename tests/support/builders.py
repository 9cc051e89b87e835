"""Builders of the three kinds and of pods, as users write them: only what a test is about is spelled out."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from mtls_operator.api import names
from mtls_operator.cluster import Body
from mtls_operator.inject import InjectSettings, inject

NAMESPACE = "shop"


def certificate(name: str = "gateway", *, namespace: str = NAMESPACE, **spec: Any) -> Body:
    """Return a ClientCertificate; keywords are fields of the spec."""
    return _object(names.CERTIFICATE_KIND, namespace, name, {"subject": {"commonName": name}, **spec})


def host(
    name: str = "api", *, namespace: str = NAMESPACE, hostnames: tuple[str, ...] = (), **spec: Any
) -> Body:
    """Return an MTLSHost; keywords are fields of the spec."""
    named = list(hostnames) or [f"{name}.example.com"]
    return _object(names.HOST_KIND, namespace, name, {"hostnames": named, "workload": {"port": 8080}, **spec})


def rule(name: str = "admin", *, namespace: str = NAMESPACE, **spec: Any) -> Body:
    """Return an MTLSRule that protects ``/admin`` unless told otherwise; keywords are fields of the spec."""
    if "expression" not in spec and "match" not in spec:
        spec["match"] = {"paths": ["/admin"]}
    return _object(names.RULE_KIND, namespace, name, spec)


def pod(
    name: str = "api-1",
    *,
    namespace: str = NAMESPACE,
    host_name: str = "api",
    injected: bool = True,
    address: str = "10.0.0.1",
    phase: str = "Running",
) -> Body:
    """Return a labelled pod, with the sidecar as the webhook puts it in."""
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {names.HOST_LABEL: host_name}},
        "spec": {"containers": [{"name": "app", "image": "shop/echo"}]},
    }
    settings = InjectSettings(image="proxy:1", version="1.0.0")
    body = (
        inject(bare, settings=settings, namespace=namespace, entropy=name.encode()).pod if injected else bare
    )
    return {**body, "status": {"phase": phase, "podIP": address}}


def named_list(name: str, *items: str, of: str = "string", namespace: str = NAMESPACE) -> Body:
    """Return a ConfigMap with a named list, one item per line."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {names.LIST_LABEL: of}},
        "data": {names.LIST_KEY: "\n".join(items)},
    }


def grant(*consumers: str, namespace: str = "partners", name: str = "client-ca") -> Body:
    """Return a ConfigMap that lets other namespaces trust the managed CA of its own."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {names.GRANT_LABEL: names.GRANT_VALUE},
        },
        "data": {names.GRANT_KEY: "".join(f"{consumer}\n" for consumer in consumers)},
    }


def tls_secret(name: str, certificate_pem: str, key_pem: bytes, *, namespace: str = NAMESPACE) -> Body:
    """Return a user's own ``kubernetes.io/tls`` Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "data": {
            names.TLS_CERT_KEY: b64encode(certificate_pem.encode()).decode(),
            names.TLS_KEY_KEY: b64encode(key_pem).decode(),
        },
    }


def _object(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }
