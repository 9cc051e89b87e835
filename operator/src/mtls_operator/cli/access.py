"""Which cluster and namespace a command is about, and how it gets there."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from mtls_operator.api import names
from mtls_operator.cli.errors import Refused, Unanswered
from mtls_operator.cluster import (
    AlreadyExistsError,
    Cluster,
    ClusterError,
    RejectedError,
    connect,
    namespace_of_context,
)

T = TypeVar("T")
#: Who changed a field, as ``kubectl get --show-managed-fields`` tells it.
FIELD_MANAGER: Final = "kubectl-mtls"


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster and namespace; empty where the kubeconfig decides."""

    namespace: str | None
    kubeconfig: str | None
    context: str | None

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Access:
        """Return what the flags of ``options.add_access`` say."""
        return cls(parsed.namespace, parsed.kubeconfig, parsed.context)


def on_cluster(access: Access, work: Callable[[Cluster, str], Awaitable[T]]) -> T:
    """Connect, do the work with the cluster and the namespace, and return what it returns.

    Raises:
        Unanswered: the cluster cannot be reached, or something may not be read or written.
        Refused: the API server refuses what is asked for.
    """
    try:
        namespace = access.namespace or namespace_of_context(
            kubeconfig=access.kubeconfig, context=access.context
        )
        return asyncio.run(_connected(access, namespace, work))
    except (RejectedError, AlreadyExistsError) as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Unanswered(str(error)) from error
        raise Refused(str(error)) from error
    except ClusterError as error:
        raise Unanswered(str(error)) from error


async def _connected(access: Access, namespace: str, work: Callable[[Cluster, str], Awaitable[T]]) -> T:
    cluster = await connect(kubeconfig=access.kubeconfig, context=access.context, field_manager=FIELD_MANAGER)
    try:
        return await work(cluster, namespace)
    finally:
        await cluster.close()


def is_forbidden(error: ClusterError) -> bool:
    """Say whether the API server answered that the caller lacks a right."""
    return error.status == HTTPStatus.FORBIDDEN


def operator_namespace(parsed: argparse.Namespace) -> str:
    """Return the namespace of the operator."""
    return str(parsed.operator_namespace or names.OPERATOR_NAMESPACE)
