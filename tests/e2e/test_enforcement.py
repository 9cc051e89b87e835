"""Who gets in: through the Service and on every pod, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import socket

import httpx
import pytest
from tests.support.clients import Http1
from tests.support.tenant import HOSTNAME, Tenant


def test_everybody_gets_in_but_where_a_rule_wants_a_certificate(shop: Tenant) -> None:
    for address in (None, *shop.addresses()):
        for opener in (shop.http1, shop.http2):
            for who, path, expected in (
                (None, "/", 200),
                (None, "/admin", 403),
                (None, "/admin/users", 403),
                ("good", "/", 200),
                ("good", "/admin", 200),
            ):
                with opener(who, address) as connection:
                    assert connection.get(path, HOSTNAME).status == expected, (address, opener, who, path)


def test_a_certificate_of_another_namespace_is_worth_nothing_here(shop: Tenant, make_tenant: object) -> None:
    other: Tenant = make_tenant()  # type: ignore[operator]  # the fixture is a function
    other.certificate("good")
    other.wait_ready("clientcertificates", "good")
    context = other.context("good")
    with Http1(443, context, HOSTNAME, address=shop.service()) as connection:
        assert connection.get("/", HOSTNAME).status == 200
        assert connection.get("/admin", HOSTNAME).status == 403


def test_the_application_learns_who_asks_only_from_us(shop: Tenant) -> None:
    forged = [("X-Forwarded-Client-Cert", 'Hash=0;Subject="CN=admin"')]
    with shop.http1("good") as connection:
        seen = connection.get("/admin", HOSTNAME, forged).seen["headers"]["x-forwarded-client-cert"]
    assert len(seen) == 1
    assert "CN=good" in seen[0]
    with shop.http1(None) as connection:
        assert "x-forwarded-client-cert" not in connection.get("/", HOSTNAME, forged).seen["headers"]


@pytest.mark.parametrize(
    "target",
    [
        "//admin",
        "/%61dmin",
        "/x/../admin",
        "/admin%2f..%2fadmin",
        "/admin;x",
        "/admin/;x",
        "\\admin",
        "/\\admin",
        "/x\\..\\admin",
        f"https://{HOSTNAME}/admin",
    ],
)
def test_no_spelling_of_a_protected_path_gets_past_the_rule(shop: Tenant, target: str) -> None:
    address = shop.addresses()[0]
    with shop.http1(None, address) as connection:
        assert connection.get(target, HOSTNAME).status in (307, 400, 403)
    with shop.http2(None, address) as connection:
        assert connection.get(target, HOSTNAME).status in (0, 307, 400, 403)


def test_host_and_server_name_must_agree(shop: Tenant) -> None:
    address = shop.addresses()[0]
    with shop.http1("good", address) as connection:
        assert connection.get("/", "other.example.com").status == 421
        assert connection.get("/", "API.example.com:443.").status in (200, 400, 421)
        assert connection.get("/admin", "API.EXAMPLE.COM").status == 200
    with shop.http1("good", address, sni="other.example.com") as connection:
        assert connection.get("/", HOSTNAME).status == 421


def test_the_application_cannot_be_reached_past_the_sidecar(shop: Tenant) -> None:
    for address in shop.addresses():
        with pytest.raises(OSError):  # noqa: PT011 - refused or unreachable, by the kind of network
            socket.create_connection((address, 8080), timeout=1)


def test_the_status_port_answers_nothing_but_status(shop: Tenant) -> None:
    base = f"http://{shop.addresses()[0]}:9902"
    assert httpx.get(f"{base}/ready").status_code == 200
    for path in ("/config_dump", "/quitquitquit", "/server_info", "/stats/../config_dump", "/"):
        assert httpx.get(base + path).status_code in (400, 404)
    assert httpx.post(f"{base}/quitquitquit").status_code == 404
