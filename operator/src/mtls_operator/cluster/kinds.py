"""The kinds of objects that the operator reads or writes, and where the API server serves them."""

from __future__ import annotations

from enum import Enum

from mtls_operator.api import names


class Kind(Enum):
    """A kind: its ``apiVersion``, its ``kind`` and its plural in URLs."""

    NAMESPACE = ("v1", "Namespace", "namespaces")
    POD = ("v1", "Pod", "pods")
    SECRET = ("v1", "Secret", "secrets")
    CONFIG_MAP = ("v1", "ConfigMap", "configmaps")
    EVENT = ("v1", "Event", "events")
    NETWORK_POLICY = ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
    MUTATING_WEBHOOK = (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    VALIDATING_WEBHOOK = (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
    HOST = (names.API_VERSION, names.HOST_KIND, names.HOST_PLURAL)
    CERTIFICATE = (names.API_VERSION, names.CERTIFICATE_KIND, names.CERTIFICATE_PLURAL)
    RULE = (names.API_VERSION, names.RULE_KIND, names.RULE_PLURAL)

    def __init__(self, api_version: str, kind: str, plural: str) -> None:
        self.api_version = api_version
        self.kind = kind
        self.plural = plural

    def version_path(self) -> str:
        """Return the URL path of the kind's group and version: there the API server lists what it serves."""
        return ("/apis/" if "/" in self.api_version else "/api/") + self.api_version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection, an object or a subresource.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
        """
        parts = [self.version_path()]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def kind_of(body: dict[str, object]) -> Kind:
    """Return the kind of an object by ``apiVersion`` and ``kind``; ``KeyError`` when it is none of ours."""
    return _BY_NAME[(str(body["apiVersion"]), str(body["kind"]))]


_BY_NAME = {(kind.api_version, kind.kind): kind for kind in Kind}
