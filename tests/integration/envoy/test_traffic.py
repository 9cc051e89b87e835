"""The clients of the tests under load: they reach their rate in every way, and no lost request escapes them."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.certs import SERVER, Pair, authority, leaf
from tests.support.envoy import eventually
from tests.support.lab import HOST, Lab
from tests.support.traffic import LOST, Identity, Traffic


def identity(pair: Pair) -> Identity:
    return Identity(pair.certificate_pem, pair.key_pem.decode())


class Forgetful(socketserver.ThreadingTCPServer):
    """Speaks HTTP/1.1 over TLS, and ends each connection instead of answering its second request."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context, self.received = context, 0
        super().__init__(("127.0.0.1", 0), Answerer)


class Answerer(socketserver.BaseRequestHandler):
    server: Forgetful

    def handle(self) -> None:
        try:
            with self.server.context.wrap_socket(self.request, server_side=True) as connection:
                for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""):
                    if connection.recv(65_536):
                        self.server.received += 1
                        connection.sendall(answer)
        except OSError:
            return


@pytest.fixture
def traffic(lab: Lab) -> Iterator[Traffic]:
    with closing(Traffic([f"127.0.0.1:{lab.site.placement.tls_port}"], HOST, "/admin")) as running:
        yield running


def wait_for(traffic: Traffic, client: str, phase: str, count: int) -> None:
    eventually(lambda: traffic.report().of(client, phase).sent >= count, f"{client} sent {count} requests")


def test_answers_are_counted_by_client_and_phase(lab: Lab, traffic: Traffic) -> None:
    traffic.start("good", identity(lab.people.pairs["good"]), rate=400)
    traffic.start("revoked", identity(lab.people.pairs["revoked"]), rate=100)
    traffic.start("nobody", None, rate=100)
    wait_for(traffic, "revoked", "start", 50)
    traffic.phase("second")
    wait_for(traffic, "revoked", "second", 50)
    wait_for(traffic, "nobody", "second", 50)
    report = traffic.report()
    for phase in ("start", "second"):
        assert set(report.of("good", phase).answers) == {200}, report.failures
        assert set(report.of("revoked", phase).answers) == {403}, report.failures
        assert set(report.of("nobody", phase).answers) == {403}, report.failures
    assert "second: " in str(report)


def test_connections_are_kept_for_many_requests_and_opened_for_single_ones(
    lab: Lab, traffic: Traffic
) -> None:
    traffic.start("good", identity(lab.people.pairs["good"]), rate=400)
    wait_for(traffic, "good", "start", 400)
    counted = traffic.report().of("good", "start")
    assert 0.15 < counted.connections / counted.sent < 0.35


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Forgetful]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf(authority("any"), HOST, usage=SERVER, dns=(HOST,)).write(tmp_path))
    server = Forgetful(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_that_gets_no_answer_is_lost_and_not_sent_again(forgetful: Forgetful) -> None:
    """Of the requests on a connection only the first is answered: a client that hides that asks again on a new one."""
    with closing(Traffic([f"127.0.0.1:{forgetful.server_address[1]}"], HOST, "/admin")) as traffic:
        traffic.start("good", None, rate=200)
        wait_for(traffic, "good", "start", 200)
        report = traffic.stop("good")
    counted = report.of("good", "start")
    assert set(counted.answers) == {200, LOST}
    assert report.failures["good"]
    assert counted.sent >= forgetful.received > counted.answers[200] > 0
