"""What keeps a stale operator from overwriting another one's work, on a real API server: the fake promises the same."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.cluster import cluster_environment

from mtls_operator.cluster import AlreadyExistsError, Body, ConflictError, Kind, KubernetesCluster, connect

pytestmark = pytest.mark.cluster


@dataclass(frozen=True, slots=True)
class Desk:
    """A ConfigMap as a stale operator has read it, and as it is since another one wrote it."""

    cluster: KubernetesCluster
    stale: Body
    present: Body

    async def read(self) -> Body:
        metadata = self.present["metadata"]
        found = await self.cluster.get(Kind.CONFIG_MAP, metadata["namespace"], metadata["name"])
        assert found is not None
        return found


def _written(body: Body, text: str, **metadata: Any) -> Body:
    """Return a ConfigMap with another content, and with the metadata that a writer keeps."""
    place = {key: body["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place | metadata, "data": {"by": text}}


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    cluster = await connect(kubeconfig=cluster_environment()["KUBECONFIG"])
    place = {"metadata": {"name": f"fence-{uuid.uuid4().hex[:8]}", "namespace": "default"}}
    stale = await cluster.create(_written(place, "the first"))
    present = await cluster.replace(
        _written(stale, "another", resourceVersion=stale["metadata"]["resourceVersion"])
    )
    yield Desk(cluster, stale, present)
    await cluster.delete(Kind.CONFIG_MAP, "default", place["metadata"]["name"], uid=stale["metadata"]["uid"])
    await cluster.close()


def _replace(desk: Desk) -> Any:
    version = desk.stale["metadata"]["resourceVersion"]
    return desk.cluster.replace(_written(desk.stale, "stale", resourceVersion=version))


def _apply(desk: Desk) -> Any:
    version = desk.stale["metadata"]["resourceVersion"]
    return desk.cluster.apply(_written(desk.stale, "stale", resourceVersion=version))


def _delete(desk: Desk) -> Any:
    metadata = desk.stale["metadata"]
    return desk.cluster.delete(
        Kind.CONFIG_MAP,
        metadata["namespace"],
        metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def _delete_another(desk: Desk) -> Any:
    metadata = desk.stale["metadata"]
    uid = str(uuid.uuid4())
    return desk.cluster.delete(Kind.CONFIG_MAP, metadata["namespace"], metadata["name"], uid=uid)


@pytest.mark.parametrize("write", [_replace, _apply, _delete, _delete_another])
async def test_what_was_read_before_somebody_else_wrote_is_neither_written_nor_removed(
    desk: Desk, write: Callable[[Desk], Any]
) -> None:
    with pytest.raises(ConflictError):
        await write(desk)
    assert (await desk.read())["metadata"] == desk.present["metadata"]


async def test_an_apply_at_the_version_that_is_there_is_written(desk: Desk) -> None:
    version = desk.present["metadata"]["resourceVersion"]
    await desk.cluster.apply(_written(desk.present, "ours", resourceVersion=version))
    assert (await desk.read())["data"] == {"by": "ours"}


async def test_what_exists_is_not_created_again(desk: Desk) -> None:
    with pytest.raises(AlreadyExistsError):
        await desk.cluster.create(_written(desk.present, "second"))
    assert (await desk.read())["data"] == desk.present["data"]
