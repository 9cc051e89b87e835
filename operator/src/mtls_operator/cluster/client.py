"""The port's real client: plain JSON over the Kubernetes client's own connection and credentials.

It does not use the client's generated models: thousands of certificates would spend their time in them.
Concurrency of writes is bounded, since the API server's fairness is not a reason to flood it. An answer that says
success and is not what was asked for (a proxy's page, a truncated body) is no answer: read as an empty list it
would be a ledger without revocations.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.http_exceptions import LineTooLong
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from mtls_operator import __version__
from mtls_operator.api import names
from mtls_operator.cluster.context import UNUSABLE, in_a_pod, kubeconfig_files
from mtls_operator.cluster.errors import (
    ConflictError,
    NotConfiguredError,
    NotFoundError,
    UnavailableError,
    error_for,
)
from mtls_operator.cluster.kinds import Kind, kind_of
from mtls_operator.cluster.port import Body

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
#: Of a list: names, labels and the like of each object, without what is in it.
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
_OK = range(200, 300)
_EXCERPT = 200
#: No answer came, or the credentials for asking could not be read (a token file that is being replaced).
_UNANSWERED = (aiohttp.ClientError, TimeoutError, OSError, kubernetes_config.ConfigException)


class KubernetesCluster:
    """:class:`~.port.Cluster` over HTTPS."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        concurrency: int = 16,
        timeout_seconds: float = 30.0,
        field_manager: str = names.FIELD_MANAGER,
    ) -> None:
        self._field_manager = field_manager
        configuration.connection_pool_maxsize = concurrency * 2
        # No look for proxies and netrc files at every request: the API server is reached directly.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)
        self._writes = asyncio.Semaphore(concurrency)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=5)

    async def close(self) -> None:
        """Close every connection."""
        await self._rest.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        """See :meth:`~.port.Cluster.get`."""
        try:
            return await self._request("GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> Sequence[Body]:
        """See :meth:`~.port.Cluster.list`; reads in pages."""
        items, _ = await self.snapshot(kind, namespace, labels=labels)
        return items

    async def snapshot(
        self, kind: Kind, namespace: str | None, *, labels: str = ""
    ) -> tuple[Sequence[Body], str]:
        """Return what :meth:`list` does, and the version from which :meth:`follow` goes on."""
        items: list[Body] = []
        version = ""
        async for page in self._pages(kind.path(namespace), labels):
            items.extend(_items(page, kind.path(namespace)))
            version = str((page.get("metadata") or {}).get("resourceVersion") or "")
        for item in items:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return items, version

    async def names(self, kind: Kind, *, labels: str = "") -> frozenset[tuple[str, str]]:
        """Return namespace and name of every object of a kind, in all namespaces; of a Namespace its name alone.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
        """
        found: set[tuple[str, str]] = set()
        async for page in self._pages(kind.path(None), labels, accept=_METADATA):
            for item in _items(page, kind.path(None)):
                found.add((str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])))
        return frozenset(found)

    async def _pages(self, path: str, labels: str, *, accept: str = _JSON) -> AsyncGenerator[Body]:
        query = {"limit": str(_PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = await self._request("GET", path, query=query, accept=accept)
            yield page
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def unserved(self, kinds: Iterable[Kind]) -> Sequence[Kind]:
        """Return which kinds the API server does not serve yet, by its discovery documents.

        Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
        """
        groups = {group.get("name") for group in (await self._request("GET", "/apis")).get("groups") or ()}
        missing = []
        for kind in kinds:
            group = kind.api_version.rpartition("/")[0]
            plurals: set[object] = set()
            if not group or group in groups:
                with contextlib.suppress(NotFoundError):
                    served = await self._request("GET", kind.version_path())
                    plurals = {resource.get("name") for resource in served.get("resources") or ()}
            if kind.plural not in plurals:
                missing.append(kind)
        return missing

    async def create(self, body: Body) -> Body:
        """See :meth:`~.port.Cluster.create`."""
        kind = kind_of(body)
        path = kind.path(body["metadata"].get("namespace"))
        return await self._write("POST", path, body=body, query={"fieldManager": self._field_manager})

    async def apply(self, body: Body) -> Body:
        """See :meth:`~.port.Cluster.apply`."""
        kind = kind_of(body)
        metadata = body["metadata"]
        return await self._write(
            "PATCH",
            kind.path(metadata.get("namespace"), metadata["name"]),
            body=body,
            content_type=_APPLY,
            query={"fieldManager": self._field_manager, "force": "true"},
        )

    async def replace(self, body: Body) -> Body:
        """See :meth:`~.port.Cluster.replace`."""
        kind = kind_of(body)
        metadata = body["metadata"]
        if not metadata.get("resourceVersion"):
            raise ConflictError(f"replace {kind.kind} {metadata['name']}: no resourceVersion to replace")
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self._write("PUT", path, body=body, query={"fieldManager": self._field_manager})

    async def patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Body, *, subresource: str | None = None
    ) -> Body:
        """See :meth:`~.port.Cluster.patch`."""
        return await self._write(
            "PATCH",
            kind.path(namespace, name, subresource),
            body=patch,
            content_type=_MERGE,
            query={"fieldManager": self._field_manager},
        )

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str, version: str = ""
    ) -> None:
        """See :meth:`~.port.Cluster.delete`.

        Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/
        """
        preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        try:
            await self._write("DELETE", kind.path(namespace, name), body={"preconditions": preconditions})
        except NotFoundError:
            return

    async def watch(self, kind: Kind, namespace: str, name: str) -> AsyncIterator[str]:
        """Yield the type of every watch event of one object until the API server ends the stream.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
        """
        query = {"fieldSelector": f"metadata.name={name}"}
        async with contextlib.aclosing(self._events(kind.path(namespace), query)) as events:
            async for event in events:
                yield str(event.get("type", ""))

    async def follow(
        self, kind: Kind, *, labels: str, version: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[str, Body]]:
        """Yield type and object of every change since a version, in one namespace or all, until the stream ends.

        ``BOOKMARK`` tells nothing but a newer version; after ``ERROR`` (the version is too old) a new list is
        needed. An object that loses the label is ``DELETED``.
        """
        query = {"labelSelector": labels, "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with contextlib.aclosing(self._events(kind.path(namespace), query)) as events:
            async for event in events:
                item = event.get("object")
                yield str(event.get("type", "")), item if isinstance(item, dict) else {}

    async def _events(self, path: str, selection: dict[str, str]) -> AsyncGenerator[Body]:
        query = urlencode({"watch": "1", "timeoutSeconds": "300", **selection})
        try:
            response = await self._rest.request(  # type: ignore[no-untyped-call]  # the library has no types here
                "GET",
                f"{self._configuration.host}{path}?{query}",
                headers=await self._headers(_JSON),
                _request_timeout=aiohttp.ClientTimeout(total=None, connect=5, sock_read=330),
            )
            stream = response.response
            if response.status not in _OK:
                answer = _decode(await response.read()) or {}
                raise error_for(response.status, str(answer.get("reason", "")), f"watch {path}")
            async with stream:
                async for line in stream.content:
                    yield _decode(line) or {}
        except LineTooLong:
            # Not chained: its message repeats the beginning of the line, which may be a Secret's.
            raise UnavailableError(f"watch {path}: a line is longer than any object") from None
        except _UNANSWERED as error:
            raise UnavailableError(f"watch {path}: {type(error).__name__}: {error}") from error

    async def _write(
        self,
        method: str,
        path: str,
        *,
        body: Body,
        query: dict[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Body:
        async with self._writes:
            return await self._request(method, path, body=body, query=query, content_type=content_type)

    async def _request(  # noqa: PLR0913 - what a request over HTTP has
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        query: dict[str, str] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Body:
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = await self._rest.request(  # type: ignore[no-untyped-call]  # the library has no types here
                method,
                url,
                headers=await self._headers(content_type, accept=accept),
                body=body,
                _request_timeout=self._timeout,
            )
            text = await response.read()
        except _UNANSWERED as error:
            raise UnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        answer = _decode(text)
        if response.status in _OK:
            if answer is None:
                raise UnavailableError(
                    f"{method} {path}: status {response.status} without a JSON object", status=response.status
                )
            return answer
        if answer is None:
            answer = {"message": text[:_EXCERPT].decode("utf-8", "replace")}
        message = str(answer.get("message") or response.reason or "no message")
        raise error_for(response.status, str(answer.get("reason", "")), f"{method} {path}: {message}")

    async def _headers(self, content_type: str, *, accept: str = _JSON) -> dict[str, str]:
        headers = {
            "Accept": accept,
            "Content-Type": content_type,
            "User-Agent": f"mtls-operator/{__version__}",
        }
        settings: Any = await self._configuration.auth_settings()
        for setting in settings.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers


def _decode(text: bytes) -> Body | None:
    """Return a JSON object, or None where the text is none."""
    try:
        answer: Any = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _items(page: Body, path: str) -> list[Body]:
    """Return the items of a list; ``null`` is how Go writes an empty one.

    Raises:
        UnavailableError: it is no list.
    """
    items = page.get("items", "missing")
    if items is None:
        return []
    if not isinstance(items, list):
        raise UnavailableError(f"GET {path}: the answer is no list")
    return items


async def connect(
    *,
    concurrency: int = 16,
    kubeconfig: str | None = None,
    context: str | None = None,
    field_manager: str = names.FIELD_MANAGER,
) -> KubernetesCluster:
    """Connect as the pod's service account, or by a kubeconfig: the one given, or that of ``KUBECONFIG``.

    Raises:
        NotConfiguredError: there is neither, or no such context.
    """
    configuration = Configuration()
    try:
        if in_a_pod(kubeconfig=kubeconfig, context=context):
            kubernetes_config.load_incluster_config(  # type: ignore[no-untyped-call]  # the library has no types here
                client_configuration=configuration
            )
        else:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # as above
                config_file=kubeconfig_files(kubeconfig), context=context, client_configuration=configuration
            )
    except UNUSABLE as error:
        raise NotConfiguredError(f"no way to an API server: {error}") from error
    return KubernetesCluster(configuration, concurrency=concurrency, field_manager=field_manager)
