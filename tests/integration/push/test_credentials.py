"""The server's own credentials: refused when they cannot serve, replaced while it runs."""

from __future__ import annotations

import socket
from dataclasses import replace

import grpc
import pytest
from tests.integration.push.authority import NAMESPACE, InternalAuthority
from tests.integration.push.conftest import Serve
from tests.integration.push.proxies import Play
from tests.integration.push.scripts import rules
from tests.integration.push.served import Reports

from mtls_operator.api import names
from mtls_operator.api.secret import Secret
from mtls_operator.push import CredentialsError, DiscoveryServer, Pod, Scope, ServerCredentials, StartError

NODE = names.node_id(NAMESPACE, "web-1", "pod-uid-1")


@pytest.fixture
def server() -> DiscoveryServer:
    return DiscoveryServer(address="127.0.0.1:0", on_report=Reports())


def bad(authority: InternalAuthority, kind: str) -> ServerCredentials:
    good = authority.server()
    return {
        "certificate": replace(good, certificate_chain_pem=b"not a certificate"),
        "key": replace(good, key_pem=Secret(b"not a key")),
        "foreign key": replace(good, key_pem=authority.server().key_pem),
        "client ca": replace(good, client_ca_pem=b""),
        "half a client ca": replace(
            good, client_ca_pem=good.client_ca_pem + b"-----BEGIN CERTIFICATE-----\nMII"
        ),
        "no ca at all": replace(good, client_ca_pem=good.key_pem.reveal()),
    }[kind]


KINDS = ["certificate", "key", "foreign key", "client ca", "half a client ca", "no ca at all"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_does_not_start_with_credentials_that_cannot_serve(
    server: DiscoveryServer, authority: InternalAuthority, kind: str
) -> None:
    with pytest.raises(CredentialsError):
        server.start(bad(authority, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_credentials_do_not_replace_those_in_use(
    serve: Serve, play: Play, authority: InternalAuthority, pod: Pod, kind: str
) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(Scope(NAMESPACE, "api"), rules("v1"))
    with pytest.raises(CredentialsError):
        served.server.rotate(bad(authority, kind))
    proxy = play(served.port)
    proxy.send(NODE)
    assert (proxy.read()).version == "v1"


def test_after_a_rotation_new_connections_see_the_new_authority_and_open_streams_go_on(
    serve: Serve, play: Play, pod: Pod
) -> None:
    served = serve()
    served.server.set_pod(pod)
    served.server.publish(Scope(NAMESPACE, "api"), rules("v1"))
    old = play(served.port)
    old.send(NODE)
    old.acknowledge(old.read())
    newer = InternalAuthority("internal 2")
    served.server.rotate(newer.server())
    served.server.publish(Scope(NAMESPACE, "api"), rules("v2"))
    assert (old.read()).version == "v2"
    assert play(served.port).code() == grpc.StatusCode.UNAVAILABLE
    new = play(served.port, newer.proxy(), trusted=newer.certificate)
    new.send(NODE)
    assert (new.read()).version == "v2"


def test_the_key_is_never_in_the_text_of_credentials(authority: InternalAuthority) -> None:
    credentials = authority.server()
    assert credentials.key_pem.reveal().decode()[30:60] not in repr(credentials)


def test_an_address_that_is_in_use_is_an_error(authority: InternalAuthority) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = DiscoveryServer(address=f"127.0.0.1:{taken.getsockname()[1]}", on_report=Reports())
        with pytest.raises(StartError, match="cannot listen"):
            server.start(authority.server())


def test_a_server_starts_once(serve: Serve, authority: InternalAuthority) -> None:
    with pytest.raises(StartError, match="before"):
        serve().server.start(authority.server())


def test_a_server_that_never_started_cannot_rotate_but_can_stop(
    server: DiscoveryServer, authority: InternalAuthority
) -> None:
    with pytest.raises(StartError):
        server.rotate(authority.server())
    server.stop(0.0)


def test_rotations_during_many_handshakes_break_none_of_them(
    serve: Serve, play: Play, authority: InternalAuthority
) -> None:
    """GRPC frees the old credentials while other handshakes are about to use them, if it is let."""
    served = serve()
    pods = [Pod(NAMESPACE, f"web-{number}", f"uid-{number}", "api") for number in range(60)]
    served.server.publish(Scope(NAMESPACE, "api"), rules("v1"))
    proxies = []
    for number, pod in enumerate(pods):
        served.server.set_pod(pod)
        if number % 10 == 0:
            served.server.rotate(authority.server())
        proxies.append(play(served.port))
        proxies[-1].send(names.node_id(pod.namespace, pod.name, pod.uid))
    assert {each.read().version for each in proxies} == {"v1"}
