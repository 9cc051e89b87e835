"""The connection itself: TLS, credentials, and how much happens at once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from tests.support.certs import SERVER, Pair, authority, leaf
from tests.unit.cluster.api_server import ApiServer, running

from mtls_operator.cluster import Body, Kind, KubernetesCluster, UnavailableError, connect

DEADLINE = 10.0


@pytest.fixture(scope="module")
def api_ca() -> Pair:
    return authority("cluster CA")


@pytest.fixture
async def https_server(api_ca: Pair, tmp_path: Path) -> AsyncIterator[ApiServer]:
    pair = leaf(api_ca, "api", usage=SERVER, addresses=("127.0.0.1",))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*pair.write(tmp_path))
    async with running(tls=tls) as server:
        yield server


async def test_the_api_server_proves_itself_by_the_clusters_ca(https_server: ApiServer, api_ca: Pair) -> None:
    cluster = https_server.cluster(ca_pem=api_ca.certificate_pem)
    assert await cluster.get(Kind.SECRET, "shop", "a") == {}
    await cluster.close()


async def test_an_api_server_with_another_ca_is_told_nothing(https_server: ApiServer) -> None:
    """Whoever answers at its address without its certificate gets neither token nor keys."""
    cluster = https_server.cluster(token="t0ken", ca_pem=authority("cluster CA").certificate_pem)
    with pytest.raises(UnavailableError, match=r"(?i)certificate"):
        await cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    assert https_server.seen == []
    await cluster.close()


async def test_a_kubeconfig_leads_to_its_server_with_its_token(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                "users": [{"name": "u", "user": {"token": "from-file"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    cluster = await connect()
    await cluster.get(Kind.SECRET, "shop", "a")
    assert server.last.headers["Authorization"] == "Bearer from-file"
    await cluster.close()


async def test_a_proxy_of_the_environment_is_not_used(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets go to the API server directly, whatever the image or the node sets."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    cluster = server.cluster()
    assert await cluster.get(Kind.SECRET, "shop", "a") == {}
    await cluster.close()


async def test_writes_at_a_time_are_bounded_and_reads_do_not_wait_for_them(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    """The client of the fixture writes two at a time."""
    open_writes = most = 0
    two_are_open, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal open_writes, most
        if request.method == "GET":
            return web.json_response({"metadata": {"name": "read"}})
        open_writes += 1
        most = max(most, open_writes)
        if open_writes == 2:
            two_are_open.set()
        await go_on.wait()
        open_writes -= 1
        return web.json_response({})

    server.calls(answer)
    bodies: list[Body] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": str(n)}}
        for n in range(6)
    ]
    async with asyncio.timeout(DEADLINE):
        writing = [asyncio.create_task(cluster.apply(body)) for body in bodies]
        await two_are_open.wait()
        assert await cluster.get(Kind.SECRET, "shop", "a") == {"metadata": {"name": "read"}}
        go_on.set()
        await asyncio.gather(*writing)
    assert most == 2
    assert len({seen.path for seen in server.seen if seen.method == "PATCH"}) == 6


async def test_a_write_that_fails_gives_its_place_to_the_next(
    server: ApiServer, cluster: KubernetesCluster
) -> None:
    body: Body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "a"}}
    server.refuses(500)
    for _ in range(4):
        with pytest.raises(UnavailableError):
            await cluster.apply(body)
    server.answers(body)
    async with asyncio.timeout(DEADLINE):
        assert await cluster.apply(body) == body
