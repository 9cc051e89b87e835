"""Kubernetes I/O: one small typed port, its real client, and the status port of the proxies."""

from mtls_operator.cluster.client import KubernetesCluster, connect
from mtls_operator.cluster.context import namespace_of_context
from mtls_operator.cluster.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotConfiguredError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from mtls_operator.cluster.kinds import Kind
from mtls_operator.cluster.port import Body, Cluster

__all__ = [
    "AlreadyExistsError",
    "Body",
    "Cluster",
    "ClusterError",
    "ConflictError",
    "Kind",
    "KubernetesCluster",
    "NotConfiguredError",
    "NotFoundError",
    "RejectedError",
    "UnavailableError",
    "connect",
    "namespace_of_context",
]
