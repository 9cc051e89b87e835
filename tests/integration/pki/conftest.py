from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.issued import CLIENTS, LISTS, SERVERS, Shop

from mtls_operator.pki import Issued


@pytest.fixture(scope="session")
def shop() -> Shop:
    return Shop.open()


@pytest.fixture(scope="session")
def made(shop: Shop) -> Callable[[str], Issued]:
    """Issue a certificate by its name, once: RSA keys take long to make."""
    kept: dict[str, Issued] = {}

    def make(name: str) -> Issued:
        if name not in kept:
            build = CLIENTS[name] if name in CLIENTS else SERVERS[name][1]
            kept[name] = build(shop)
        return kept[name]

    return make


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, made: Callable[[str], Issued]) -> Issued:
    """Every kind of client certificate."""
    return made(request.param)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, made: Callable[[str], Issued]) -> tuple[str, Issued]:
    """Every kind of server certificate, with a host name that it is for."""
    return SERVERS[request.param][0], made(request.param)


@pytest.fixture(params=LISTS)
def crl(request: pytest.FixtureRequest, shop: Shop) -> str:
    """Every kind of revocation list."""
    return LISTS[request.param](shop)
