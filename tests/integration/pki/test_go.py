"""What we sign, as Go's crypto/x509 judges it: the library of Kubernetes, Caddy and Traefik."""

from __future__ import annotations

import subprocess

from tests.support import gotools
from tests.support.issued import HOST, Shop

from mtls_operator.pki import Issued


def verify(shop: Shop, leaf: Issued, *, host: str = "", crl: str = "") -> subprocess.CompletedProcess[str]:
    order = {
        "ca": shop.authority.certificate_pem,
        "leaf": leaf.certificate_pem,
        "crl": crl,
        "host": host,
        "now": int(shop.now.timestamp()),
    }
    return gotools.run("verify", order)


def test_go_accepts_every_client_certificate(shop: Shop, client: Issued) -> None:
    done = verify(shop, client)
    assert done.returncode == 0, done.stdout


def test_go_accepts_every_server_certificate_for_its_host(shop: Shop, server: tuple[str, Issued]) -> None:
    host, issued = server
    done = verify(shop, issued, host=host)
    assert done.returncode == 0, done.stdout


def test_go_takes_neither_for_the_other(shop: Shop) -> None:
    assert "incompatible key usage" in verify(shop, shop.client(), host="gateway-7.example.com").stdout
    assert "incompatible key usage" in verify(shop, shop.server(HOST)).stdout


def test_go_refuses_a_certificate_of_a_namesake(shop: Shop) -> None:
    assert "certificate signed by unknown authority" in verify(Shop.open(), shop.client()).stdout


def test_go_reads_every_list(shop: Shop, crl: str) -> None:
    stranger = shop.client(2**31)
    done = verify(shop, stranger, crl=crl)
    assert done.returncode == 0, done.stdout


def test_go_finds_what_is_revoked_with_its_reason(shop: Shop) -> None:
    good, bad = shop.client(1), shop.client(2)
    crl = shop.crl(bad)
    assert verify(shop, good, crl=crl).returncode == 0
    assert verify(shop, bad, crl=crl).stdout == "revoked, reason 1\n"


def test_go_refuses_a_list_of_a_namesake(shop: Shop) -> None:
    assert "CRL: " in verify(shop, shop.client(), crl=Shop.open().crl()).stdout
