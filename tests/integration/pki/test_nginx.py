"""Another gateway with our ``ca.crt`` and ``ca.crl``: nginx as Debian ships it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.clients import Answer, Http1, tls_context
from tests.support.issued import HOST, Shop
from tests.support.nginx import Nginx

from mtls_operator.pki import Issued

GOOD, BAD = 1, 2
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def certificates(shop: Shop) -> dict[int, Issued]:
    return {index: shop.client(index) for index in (GOOD, BAD)}


def serve(shop: Shop, folder: Path, crl: str) -> Nginx:
    server = shop.server(HOST)
    return Nginx(
        folder,
        server=(server.certificate_pem, server.key_pem.reveal()),
        ca=shop.authority.certificate_pem,
        crl=crl,
    )


@pytest.fixture(scope="module")
def nginx(
    shop: Shop, certificates: dict[int, Issued], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    with closing(serve(shop, tmp_path_factory.mktemp("nginx"), shop.crl(certificates[BAD]))) as running:
        yield running


def ask(nginx: Nginx, folder: Path, issued: Issued | None, version: ssl.TLSVersion) -> Answer:
    identity = None
    if issued is not None:
        identity = folder / "leaf.crt", folder / "leaf.key"
        identity[0].write_text(issued.certificate_pem)
        identity[1].write_bytes(issued.key_pem.reveal())
    with Http1(nginx.port, tls_context(identity=identity, version=version), HOST) as client:
        return client.get("/", HOST)


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS1.2", "TLS1.3"])
def test_nginx_lets_a_good_certificate_in(
    nginx: Nginx, tmp_path: Path, certificates: dict[int, Issued], version: ssl.TLSVersion
) -> None:
    answer = ask(nginx, tmp_path, certificates[GOOD], version)
    assert answer.status == 200
    assert answer.body.startswith(b"SUCCESS CN=gateway-7,")


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS1.2", "TLS1.3"])
def test_nginx_refuses_a_revoked_certificate(
    nginx: Nginx, tmp_path: Path, certificates: dict[int, Issued], version: ssl.TLSVersion
) -> None:
    answer = ask(nginx, tmp_path, certificates[BAD], version)
    assert answer.status == 400
    assert b"The SSL certificate error" in answer.body


def test_nginx_refuses_a_certificate_of_a_namesake_and_nobody(nginx: Nginx, tmp_path: Path) -> None:
    assert ask(nginx, tmp_path, Shop.open().client(GOOD), VERSIONS[1]).status == 400
    assert ask(nginx, tmp_path, None, VERSIONS[1]).status == 400


def test_nginx_lets_a_restored_certificate_in_with_the_next_list(
    shop: Shop, tmp_path: Path, certificates: dict[int, Issued]
) -> None:
    with closing(serve(shop, tmp_path, shop.crl(number=2))) as running:
        assert ask(running, tmp_path, certificates[BAD], VERSIONS[1]).status == 200
