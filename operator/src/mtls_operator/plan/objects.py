"""The Kubernetes objects that the operator writes, and how a difference to what is there is seen.

A difference is judged by content and only in what is ours: keys that somebody else added to a ConfigMap are
harmless (nothing mounts them by name) and left alone.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mtls_operator.api import names
from mtls_operator.api.secret import Secret

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a written one goes with."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> Document:
        """Return the owner reference: garbage collection removes the dependent with its owner."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def metadata(
    namespace: str | None,
    name: str,
    *,
    role: str,
    owner: Owner | None = None,
    labels: Mapping[str, str] | None = None,
) -> Document:
    """Return the metadata that every object of ours carries."""
    document: Document = {
        "name": name,
        "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ROLE_LABEL: role, **(labels or {})},
    }
    if namespace:
        document["namespace"] = namespace
    if owner is not None:
        document["ownerReferences"] = [owner.reference()]
    return document


def config_map(meta: Document, data: Mapping[str, str]) -> Document:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}


def secret(meta: Document, data: Mapping[str, Secret | str], *, kind: str = "kubernetes.io/tls") -> Document:
    """Return a Secret; its values leave their wrapper only here."""
    encoded = {
        key: b64encode(value.reveal() if isinstance(value, Secret) else value.encode()).decode()
        for key, value in data.items()
    }
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta, "data": encoded}


def secret_value(body: Mapping[str, Any], key: str) -> bytes | None:
    """Return a decoded value of a Secret; None when it is missing or no base64."""
    value = (body.get("data") or {}).get(key)
    if not isinstance(value, str):
        return None
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return None


def config_map_value(body: Mapping[str, Any], key: str) -> bytes | None:
    """Return a value of a ConfigMap, text or binary; None when it is missing or no base64."""
    text = (body.get("data") or {}).get(key)
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    return secret_value({"data": body.get("binaryData")}, key)


def network_policy(
    meta: Document,
    *,
    host: str,
    operator_namespace: str,
    allowed_ports: Sequence[int],
    metrics_from: Sequence[Mapping[str, Any]] = (),
) -> Document:
    """Return the policy that closes every port of a host's pods but the sidecar's and the allowed ones.

    The status port answers to the operator and to the peers of ``metrics_from`` only. Source:
    https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    open_ports = [{"protocol": "TCP", "port": port} for port in (names.TLS_PORT, *sorted(allowed_ports))]
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}},
        "podSelector": {
            "matchLabels": {
                "app.kubernetes.io/name": "mtls-operator",
                "app.kubernetes.io/component": "operator",
            }
        },
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {
            "podSelector": {"matchLabels": {names.HOST_LABEL: host}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": open_ports},
                {
                    "from": [operator, *metrics_from],
                    "ports": [{"protocol": "TCP", "port": names.STATUS_PORT}],
                },
            ],
        },
    }


def content_of(body: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest for each part of an object's content: what ``differs`` compares.

    Digests, not values: what is kept in memory must be small and hold no key material.
    """
    parts: dict[str, Any] = {f"data/{key}": value for key, value in (body.get("data") or {}).items()}
    if "spec" in body:
        parts["spec"] = body["spec"]
    meta = body.get("metadata") or {}
    parts["labels"] = {key: value for key, value in (meta.get("labels") or {}).items() if key in _OUR_LABELS}
    parts["owners"] = sorted(owner.get("uid", "") for owner in meta.get("ownerReferences") or ())
    return {key: _digest(value) for key, value in parts.items()}


def differs(wanted: Mapping[str, Any], observed: Mapping[str, str] | None) -> bool:
    """Say whether an object must be written: it is missing, or a part of ours is not as wanted."""
    if observed is None:
        return True
    return any(observed.get(key) != digest for key, digest in content_of(wanted).items())


_OUR_LABELS = frozenset(
    {
        names.MANAGED_BY_LABEL,
        names.ROLE_LABEL,
        names.NAMESPACE_LABEL,
        names.NAMESPACE_UID_LABEL,
    }
)


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
