"""A tenant of the test cluster: a namespace with an application, its host, certificates and rules."""

from __future__ import annotations

import copy
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clients import Http1, Http2, tls_context
from tests.support.cluster import GROUP, OPERATOR_NAMESPACE, Api, Body, eventually, is_ready
from tests.support.traffic import Identity

HOSTNAME = "api.example.com"


def deployment(namespace: str, name: str, host: str, *, replicas: int = 2) -> Body:
    """Return the echo application with the label that asks for the sidecar."""
    labels = {"app": name, "mtls-operator.dev/host": host}
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "echo",
        "image": "mtls-operator.dev/echo:dev",
        "imagePullPolicy": "IfNotPresent",
        "args": ["127.0.0.1:8080"],
        "securityContext": restricted,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 2,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                },
            },
        },
    }


@dataclass(slots=True)
class Tenant:
    """One namespace; every method talks to the real API server or to the real proxies."""

    api: Api
    namespace: str

    # What users do.

    def create_namespace(self) -> None:
        """Make the namespace."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def deploy(self, name: str = "api", *, host: str = "api", replicas: int = 2) -> None:
        """Run the application behind a Service of the same name."""
        self.api.create(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments",
            deployment(self.namespace, name, host, replicas=replicas),
        )
        ports = [{"port": 443, "targetPort": "mtls"}]
        self.api.create(
            f"/api/v1/namespaces/{self.namespace}/services",
            {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}},
        )

    def host(self, name: str = "api", hostnames: Sequence[str] = (HOSTNAME,), **spec: Any) -> None:
        """Create an MTLSHost."""
        wanted = {"hostnames": list(hostnames), "workload": {"port": 8080}, **spec}
        self._create("mtlshosts", name, wanted)

    def certificate(self, name: str, **spec: Any) -> None:
        """Create a ClientCertificate."""
        self._create("clientcertificates", name, {"subject": {"commonName": name}, **spec})

    def rule(self, name: str, **spec: Any) -> None:
        """Create an MTLSRule; without further fields it protects /admin."""
        wanted = spec or {"match": {"paths": ["/admin"], "pathPrefixes": ["/admin/"]}}
        self._create("mtlsrules", name, wanted)

    def patch(self, plural: str, name: str, spec: Mapping[str, Any]) -> Body:
        """Change the spec of one of our objects."""
        return self.api.patch(f"{self.path(plural)}/{name}", {"spec": dict(spec)})

    def delete(self, plural: str, name: str) -> None:
        """Delete one of our objects."""
        self.api.delete(f"{self.path(plural)}/{name}")

    def _create(self, plural: str, name: str, spec: Mapping[str, Any]) -> None:
        kinds = {
            "mtlshosts": "MTLSHost",
            "clientcertificates": "ClientCertificate",
            "mtlsrules": "MTLSRule",
        }
        body = {
            "apiVersion": "mtls-operator.dev/v1alpha1",
            "kind": kinds[plural],
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": copy.deepcopy(dict(spec)),
        }
        self.api.create(self.path(plural), body)

    # What is there.

    def path(self, plural: str) -> str:
        """Return the path of a collection of ours."""
        return f"{GROUP}/namespaces/{self.namespace}/{plural}"

    def see(self, plural: str, name: str) -> Body:
        """Return one of our objects."""
        return self.api.get(f"{self.path(plural)}/{name}")

    def wait_ready(self, plural: str, name: str, *, within: float = 60.0) -> Body:
        """Wait until one of our objects is Ready."""
        return eventually(
            lambda: self.see(plural, name), is_ready, within=within, what=f"{plural}/{name} Ready"
        )

    def wait_state(self, name: str, state: str, *, within: float = 10.0) -> Body:
        """Wait until a ClientCertificate has a state."""
        return eventually(
            lambda: self.see("clientcertificates", name),
            lambda body: (body.get("status") or {}).get("state") == state,
            within=within,
            what=f"{name} {state}",
        )

    def pods(self, name: str = "api") -> list[Body]:
        """Return the running pods of an application."""
        pods = self.api.items(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=f"app={name}")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def addresses(self, name: str = "api") -> list[str]:
        """Return the addresses of the ready pods of an application."""
        return [pod["status"]["podIP"] for pod in self.pods(name) if is_ready_pod(pod)]

    def service(self, name: str = "api") -> str:
        """Return the address of the Service of an application."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{name}"
        return str(self.api.get(path)["spec"]["clusterIP"])

    def wait_pods(self, count: int, name: str = "api", *, within: float = 60.0) -> list[str]:
        """Wait until as many pods are ready, and return their addresses."""
        return eventually(
            lambda: self.addresses(name), lambda seen: len(seen) == count, within=within, what="ready pods"
        )

    def secret(self, name: str) -> Body | None:
        """Return a Secret of the namespace."""
        return self.api.find(f"/api/v1/namespaces/{self.namespace}/secrets/{name}")

    def hurry(self, name: str = "api") -> None:
        """Have the kubelet bring changed ConfigMaps now: it looks when a pod changes, else once a minute."""
        for pod in self.pods(name):
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
            self.api.patch(path, {"metadata": {"annotations": {"example.com/looked-at": str(time.time())}}})

    def config_map(self, name: str) -> Body | None:
        """Return a ConfigMap of the namespace."""
        return self.api.find(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")

    def in_operator_namespace(self, plural: str, role: str) -> list[Body]:
        """Return the objects that the operator keeps for this namespace in its own."""
        labels = f"mtls-operator.dev/role={role},mtls-operator.dev/namespace={self.namespace}"
        return self.api.items(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/{plural}", labelSelector=labels)

    # Who asks.

    def context(self, name: str | None, *, alpn: str = "http/1.1") -> ssl.SSLContext:
        """Return a client's TLS context, with the certificate in a Secret of the namespace."""
        if name is None:
            return tls_context(alpn=alpn)
        identity = self.identity(name)
        return identity_context(identity.chain.encode(), identity.key.encode(), alpn=alpn)

    def identity(self, name: str) -> Identity:
        """Return the certificate in a Secret of the namespace, with its key."""
        secret = self.secret(name)
        assert secret is not None, f"there is no Secret {name}"
        chain, key = (b64decode(secret["data"][part]).decode() for part in ("tls.crt", "tls.key"))
        return Identity(chain, key)

    def http1(self, name: str | None, address: str | None = None, *, sni: str = HOSTNAME) -> Http1:
        """Open an HTTP/1.1 connection: to a pod, or to the Service."""
        return self._open(Http1, name, address, sni=sni, alpn="http/1.1")

    def http2(self, name: str | None, address: str | None = None, *, sni: str = HOSTNAME) -> Http2:
        """Open an HTTP/2 connection: to a pod, or to the Service."""
        return self._open(Http2, name, address, sni=sni, alpn="h2")

    def _open(self, kind: Any, name: str | None, address: str | None, *, sni: str, alpn: str) -> Any:
        port = 8443 if address is not None else 443
        return kind(port, self.context(name, alpn=alpn), sni, address=address or self.service())

    def status(self, name: str | None, path: str, address: str | None = None, *, host: str = HOSTNAME) -> int:
        """Return the status of one request on a new connection."""
        with self.http1(name, address) as connection:
            return connection.get(path, host).status


def identity_context(certificate: bytes, key: bytes, *, alpn: str = "http/1.1") -> ssl.SSLContext:
    """Return a client's TLS context with a certificate and its key."""
    with tempfile.TemporaryDirectory() as folder:
        chain, private = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(certificate)
        private.touch(mode=0o600)
        private.write_bytes(key)
        return tls_context(identity=(chain, private), alpn=alpn)


def is_ready_pod(pod: Body) -> bool:
    """Say whether a pod is Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
