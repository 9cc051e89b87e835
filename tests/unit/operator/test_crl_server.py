"""The port for signed lists: two forms, caches, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from mtls_operator.controller.crl_server import CrlServer, path_of
from mtls_operator.controller.served import ServedLists
from mtls_operator.controller.settings import Settings
from mtls_operator.pki import AUTHORITY_ENTROPY, new_authority, sign_crl
from mtls_operator.plan.readable import CRL_LIFETIME, CRL_RENEWAL, Signed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def signed(generation: int = 1, *, number: int = 1, at: datetime = NOW) -> Signed:
    authority = new_authority("CA", now=NOW, lifetime=timedelta(days=90), entropy=b"e" * AUTHORITY_ENTROPY)
    pem = sign_crl(authority, [], number=number, now=at, lifetime=CRL_LIFETIME)
    return Signed(generation, pem, "", at, number)


@dataclass(slots=True)
class Port:
    lists: ServedLists
    server: CrlServer
    http: aiohttp.ClientSession
    number: int = 0
    now: datetime = NOW

    async def ask(
        self, path: str, *, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.number}{path}"
        async with self.http.request(method, url, headers=named) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    lists = ServedLists()
    lists.put("shop", [signed()])
    async with aiohttp.ClientSession() as http:
        made: Port
        made = Port(lists, CrlServer(lists, lambda: made.now, most_connections=4), http)
        made.number = await made.server.start(0, address="127.0.0.1")
        yield made
        await made.server.stop()


LIST, PEM = path_of("shop", 1), path_of("shop", 1, "pem")


def test_certificates_name_the_path_that_is_served() -> None:
    assert Settings(crl_url="http://crl").crl_url_of("shop", 3) == "http://crl" + path_of("shop", 3)


async def test_a_list_is_served_in_both_forms(port: Port) -> None:
    status, body, headers = await port.ask(LIST)
    assert (status, headers["Content-Type"]) == (200, "application/pkix-crl")
    assert body[0] == 0x30
    status, body, headers = await port.ask(PEM)
    assert (status, headers["Content-Type"]) == (200, "application/x-pem-file")
    assert body.startswith(b"-----BEGIN X509 CRL-----")


async def test_head_has_the_headers_and_no_body(port: Port) -> None:
    status, body, headers = await port.ask(LIST, method="HEAD")
    _, whole, with_body = await port.ask(LIST)
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(whole)
    assert headers["ETag"] == with_body["ETag"]


async def test_caches_may_keep_a_list_until_the_next_one_is_due(port: Port) -> None:
    port.now = NOW + timedelta(hours=1)
    _, _, headers = await port.ask(LIST)
    left = CRL_RENEWAL - timedelta(hours=1)
    assert headers["Cache-Control"] == f"public, max-age={int(left.total_seconds())}"
    assert headers["Last-Modified"] == "Sun, 01 Mar 2026 12:00:00 GMT"


async def test_a_list_whose_successor_is_late_is_not_kept(port: Port) -> None:
    port.now = NOW + timedelta(days=2)
    status, _, headers = await port.ask(LIST)
    assert (status, headers["Cache-Control"]) == (200, "no-cache")


async def test_who_has_the_list_is_not_sent_it_again(port: Port) -> None:
    _, _, headers = await port.ask(LIST)
    tag = headers["ETag"]
    for names in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, body, again = await port.ask(LIST, If_None_Match=names)
        assert (status, body, again["ETag"]) == (304, b"", tag)
    assert (await port.ask(LIST, If_Modified_Since=headers["Last-Modified"]))[0] == 304


@pytest.mark.parametrize("tag", ['"other"', "rubbish", '"', ""])
async def test_who_has_another_list_is_sent_this_one(port: Port, tag: str) -> None:
    """A tag goes before a date (RFC 9110, 13.2.2)."""
    late = "Sun, 01 Mar 2026 13:00:00 GMT"
    assert (await port.ask(LIST, If_None_Match=tag, If_Modified_Since=late))[0] == 200


@pytest.mark.parametrize("date", ["Sun, 01 Mar 2026 11:59:59 GMT", "yesterday", ""])
async def test_an_older_or_unreadable_date_brings_the_list(port: Port, date: str) -> None:
    assert (await port.ask(LIST, If_Modified_Since=date))[0] == 200


async def test_the_forms_have_tags_of_their_own(port: Port) -> None:
    _, _, headers = await port.ask(LIST)
    assert (await port.ask(PEM, If_None_Match=headers["ETag"]))[0] == 200


async def test_a_new_list_is_served_at_once(port: Port) -> None:
    _, _, headers = await port.ask(LIST)
    port.lists.put("shop", [signed(number=2)])
    status, _, again = await port.ask(LIST, If_None_Match=headers["ETag"])
    assert status == 200
    assert again["ETag"] != headers["ETag"]


async def test_a_generation_that_counts_no_more_has_no_list(port: Port) -> None:
    port.lists.put("other", [signed()])
    port.lists.put("shop", [signed(2)])
    assert (await port.ask(LIST))[0] == 404
    assert (await port.ask(path_of("shop", 2)))[0] == 200
    assert (await port.ask(path_of("other", 1)))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/crl",
        "/crl/",
        "/crl/shop",
        "/crl/shop/",
        "/crl/shop/1",
        "/crl/shop/1.der",
        "/crl/shop/01.crl",
        "/crl/shop/%D9%A1.crl",
        "/crl/shop/1.crl/",
        "/crl/shop/2.crl",
        "/crl/nowhere/1.crl",
        "/crl/shop/" + "1" * 5000 + ".crl",
        "/crl/%2e%2e/shop/1.crl",
        "/metrics",
        "/healthz",
    ],
)
async def test_there_is_no_other_path(port: Port, path: str) -> None:
    assert (await port.ask(path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nobody_can_do_anything_but_read(port: Port, method: str) -> None:
    assert (await port.ask(LIST, method=method))[0] == 405


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what a socket does has no event
            await asyncio.sleep(0.005)


async def _silent(port: Port) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port.number)


async def test_a_connection_too_many_is_closed_and_the_others_are_served(port: Port) -> None:
    silent: list[Any] = [await _silent(port) for _ in range(port.server.most_connections)]
    await _until(lambda: port.server.open_connections == port.server.most_connections)
    reader, writer = await _silent(port)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    silent[0][1].close()
    await _until(lambda: port.server.open_connections < port.server.most_connections)
    assert (await port.ask(LIST))[0] == 200
    for _, one in silent[1:]:
        one.close()


async def test_a_connection_ends_after_its_time_whatever_it_does(port: Port) -> None:
    """Whoever sends a byte a minute, or does not read, takes nobody's place for long."""
    port.server.connection_seconds = 0.1
    reader, writer = await _silent(port)
    writer.write(b"GET /crl/shop/1.crl HTTP/1.1\r\nHost: ")
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
