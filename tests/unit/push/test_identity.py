"""Who a certificate and a node id stand for."""

from __future__ import annotations

import pytest

from mtls_operator.api import names
from mtls_operator.push.identity import Identity, Node, identity_of, parse_identity, parse_node

URI = names.proxy_identity("shop", "0f8e-1").encode()


def context(*uris: bytes, **others: tuple[bytes, ...]) -> dict[str, tuple[bytes, ...]]:
    return {"transport_security_type": (b"ssl",), "peer_uri": uris, **others}


def test_the_one_uri_of_a_certificate_is_the_identity() -> None:
    assert identity_of(context(URI)) == Identity("shop", "0f8e-1")


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(context(), id="no URI"),
        pytest.param(context(URI, URI), id="the same URI twice"),
        pytest.param(context(URI, b"spiffe://elsewhere/x"), id="two URIs"),
        pytest.param(context(x509_subject_alternative_name=(URI,)), id="a name of another kind"),
        pytest.param({"peer_uri": (URI,)}, id="no TLS"),
        pytest.param({"transport_security_type": (b"insecure",), "peer_uri": (URI,)}, id="another transport"),
    ],
)
def test_anything_else_is_nobody(seen: dict[str, tuple[bytes, ...]]) -> None:
    assert identity_of(seen) is None


@pytest.mark.parametrize(
    "uri",
    [
        b"",
        URI + b"/",
        URI + b"\n",
        URI + b"\0",
        URI + b"?x",
        b" " + URI,
        URI.replace(b"spiffe", b"SPIFFE"),
        URI.replace(b"mtls-operator.dev", b"mtls-operatorxdev"),
        URI.replace(b"shop", b""),
        URI.replace(b"shop", b"shop/ns/other"),
        URI.replace(b"shop", b"%73hop"),
        URI.replace(b"shop", "shöp".encode()),
        URI.replace(b"shop", b"\xff"),
        URI.replace(b"shop", b".."),
        URI.replace(b"shop", b"x" * 300),
    ],
)
def test_a_uri_that_is_not_exactly_ours_is_nobody(uri: bytes) -> None:
    assert parse_identity(uri) is None


def test_an_identity_is_the_inverse_of_its_name() -> None:
    for namespace, uid in (("a", "b"), ("shop-1", "0f8e-44-x"), ("x" * 63, "1")):
        name = names.proxy_identity(namespace, uid).encode()
        assert parse_identity(name) == Identity(namespace, uid)


def test_a_node_id_names_a_pod() -> None:
    assert parse_node(names.node_id("shop", "web-1.x", "u-1")) == Node("shop", "web-1.x", "u-1")


@pytest.mark.parametrize(
    "node_id", ["", "/", "//", "shop/web", "shop/web/", "/web/u", "a/b/c/d", "a/b/c\n", "a/ b/c", "a/b/../c"]
)
def test_a_node_id_of_another_form_names_nothing(node_id: str) -> None:
    assert parse_node(node_id) is None
