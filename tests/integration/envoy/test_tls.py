"""The handshake: versions, resumption, and which certificates are asked for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.certs import SERVER, authority, leaf
from tests.support.clients import tls_context
from tests.support.envoy import eventually
from tests.support.lab import HOST, Lab, default_config

from mtls_operator.api.names import CLIENT_CA_SDS_KEY
from mtls_operator.envoy import RuleScript, client_ca_sds


def s_client(lab: Lab, *arguments: str, request: str = "") -> str:
    """Run ``openssl s_client`` with a good certificate and return its output."""
    certificate, key = lab.people.identity("good") or (Path(), Path())
    target = f"127.0.0.1:{lab.site.placement.tls_port}"
    command = [
        "openssl",
        "s_client",
        "-connect",
        target,
        "-servername",
        HOST,
        "-cert",
        certificate,
        "-key",
        key,
    ]
    done = subprocess.run(
        [*command, *arguments], input=request, capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout + done.stderr


REQUEST = f"GET /admin HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("ticket", [(), ("-no_ticket",)], ids=["ticket", "session-id"])
def test_a_session_to_resume_is_never_given(
    lab: Lab, tmp_path: Path, version: str, ticket: tuple[str, ...]
) -> None:
    session = tmp_path / "session.pem"
    output = s_client(lab, version, *ticket, "-ign_eof", "-sess_out", str(session), request=REQUEST)
    assert "200 OK" in output
    assert "New Session Ticket arrived" not in output
    assert "TLS session ticket:" not in output
    assert not session.exists()


@pytest.fixture
def resuming_server(lab: Lab, tmp_path: Path) -> Iterator[tuple[ssl.SSLContext, int]]:
    """A server of the same name that does give sessions; a session-id when its tickets are off."""
    pair = leaf(lab.people.ca, HOST, usage=SERVER, dns=(HOST,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) as client:
                    client.sendall(b"x")
                    client.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield context, listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS1.2", "TLS1.3"]
)
@pytest.mark.parametrize("options", [0, ssl.OP_NO_TICKET], ids=["ticket", "session-id"])
def test_a_session_that_is_offered_gets_a_full_handshake_and_the_same_decisions(
    lab: Lab, resuming_server: tuple[ssl.SSLContext, int], version: ssl.TLSVersion, options: int
) -> None:
    server, port = resuming_server
    server.options |= options
    context = tls_context(identity=lab.people.identity("good"), version=version)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as tls,
    ):
        tls.recv(1)
        session = tls.session
    assert session is not None
    with (
        socket.create_connection(("127.0.0.1", lab.site.placement.tls_port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as tls,
    ):
        assert tls.session_reused is False
        tls.sendall(REQUEST.encode())
        assert tls.recv(12) == b"HTTP/1.1 200"


def test_versions_before_tls_1_2_are_refused(lab: Lab) -> None:
    output = s_client(lab, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in output


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES256-SHA"])
def test_ciphers_without_forward_secrecy_or_authenticated_encryption_are_refused(
    lab: Lab, cipher: str
) -> None:
    assert "Cipher is (NONE)" in s_client(lab, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")


def test_renegotiation_is_refused(lab: Lab) -> None:
    output = s_client(lab, "-tls1_2", request="R\n")
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output or "error" in output.lower()


@pytest.fixture(scope="module")
def strict_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("strict"), config=replace(default_config(), min_tls="1.3"))
    yield lab
    lab.close()


def test_a_host_can_ask_for_tls_1_3(strict_lab: Lab) -> None:
    with strict_lab.http1("good", version=ssl.TLSVersion.TLSv1_3) as client:
        assert client.get("/admin", HOST).status == 200
    with pytest.raises(ssl.SSLError):
        strict_lab.http1("good", version=ssl.TLSVersion.TLSv1_2)


PRESENTED = RuleScript("presented", "block", (), 'f["cf.tls_client_auth.cert_presented"]', 418)
VERIFIED = RuleScript("verified", "block", (), 'f["cf.tls_client_auth.cert_verified"]', 419)


@pytest.fixture(scope="module")
def orphan_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("orphan"), client_ca_pem="")
    lab.push_rules(replace(lab.rules, rules=(VERIFIED, PRESENTED)))
    yield lab
    lab.close()


@pytest.mark.parametrize("person", ["good", "foreign", "expired"])
def test_without_any_ca_certificates_are_asked_for_and_none_is_valid(orphan_lab: Lab, person: str) -> None:
    with orphan_lab.http1(person) as client:
        assert client.get("/", HOST).status == 418
    with orphan_lab.http1() as client:
        assert client.get("/", HOST).status == 200


def test_a_certificate_in_the_name_of_the_ca_that_nobody_has_is_not_valid(orphan_lab: Lab) -> None:
    nobody = authority("a certificate authority that nobody has")
    orphan_lab.people.add("pretender", leaf(nobody, "pretender", index=1))
    with orphan_lab.http1("pretender") as client:
        assert client.get("/", HOST).status == 418


def test_an_intermediate_that_the_client_sends_is_the_issuer_and_must_be_trusted_itself(lab: Lab) -> None:
    intermediate = authority("intermediate", issuer=lab.people.ca)
    device = leaf(intermediate, "device", index=1)
    lab.people.add("device", device)
    certificate = lab.people.folder / "device.crt"
    certificate.write_text(device.certificate_pem + intermediate.certificate_pem)
    with lab.http1("device") as client:
        assert client.get("/admin", HOST).status == 403


def test_a_new_ca_counts_as_soon_as_its_file_and_script_are_there(lab: Lab) -> None:
    second = authority("second")
    lab.people.add("second", leaf(second, "second", index=1))
    first = lab.people.ca
    document = client_ca_sds(first.certificate_pem + second.certificate_pem)
    lab.site.change("host", {CLIENT_CA_SDS_KEY: document})
    eventually(lambda: lab.proxy.stats().client_ca in document, "the new CA bundle is in force")
    trust = (*lab.rules.issuers, replace(lab.rules.issuers[0], digest=second.digest))
    lab.push_rules(replace(lab.rules, issuers=trust))
    lab.push_revocation(lab.revocation_text((2,), None, first, second))
    with lab.http1("second") as client:
        assert client.get("/admin", HOST).status == 200
