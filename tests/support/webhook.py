"""The webhook of the test cluster, and its absence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.support.cluster import OPERATOR_NAMESPACE, Api, eventually

_DEPLOYMENT = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/mtls-operator-webhook"
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/endpointslices"


@contextlib.contextmanager
def absent_webhook(api: Api) -> Iterator[None]:
    """Run no pod of the webhook for a while: pods that ask for a sidecar cannot be created meanwhile."""
    replicas = api.get(_DEPLOYMENT)["spec"]["replicas"]
    api.patch(_DEPLOYMENT, {"spec": {"replicas": 0}})
    eventually(lambda: not _addresses(api), within=60, what="the webhook is gone")
    try:
        yield
    finally:
        api.patch(_DEPLOYMENT, {"spec": {"replicas": replicas}})
        eventually(
            lambda: api.get(_DEPLOYMENT)["status"].get("readyReplicas") == replicas and _addresses(api),
            within=90,
            what="the webhook is back",
        )


def _addresses(api: Api) -> list[str]:
    slices = api.items(_SLICES, labelSelector="kubernetes.io/service-name=mtls-operator-webhook")
    return [
        address
        for one in slices
        for endpoint in one.get("endpoints") or ()
        for address in endpoint["addresses"]
    ]
