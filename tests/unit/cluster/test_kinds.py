from __future__ import annotations

import pytest

from mtls_operator.cluster import Kind
from mtls_operator.cluster.kinds import kind_of


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        (Kind.NAMESPACE, (None,), "/api/v1/namespaces"),
        (Kind.NAMESPACE, (None, "shop"), "/api/v1/namespaces/shop"),
        (Kind.SECRET, ("shop", "s"), "/api/v1/namespaces/shop/secrets/s"),
        (Kind.HOST, (None,), "/apis/mtls-operator.dev/v1alpha1/mtlshosts"),
        (
            Kind.CERTIFICATE,
            ("shop", "c", "status"),
            "/apis/mtls-operator.dev/v1alpha1/namespaces/shop/clientcertificates/c/status",
        ),
    ],
)
def test_a_kind_is_served_at_its_path(kind: Kind, arguments: tuple[str | None, ...], path: str) -> None:
    assert kind.path(*arguments) == path


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_is_found_by_version_and_name(kind: Kind) -> None:
    assert kind_of({"apiVersion": kind.api_version, "kind": kind.kind}) is kind
