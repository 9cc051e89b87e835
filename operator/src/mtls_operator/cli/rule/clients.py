"""Who sends the requests of the cases: clients with a good, a revoked, a foreign or no certificate, over HTTP/1.1."""

from __future__ import annotations

import secrets
import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from mtls_operator.cli.rule.wire import Sent
from mtls_operator.pki import (
    AUTHORITY_ENTROPY,
    SERIAL_ENTROPY,
    Authority,
    KeySpec,
    Subject,
    SubjectAltNames,
    issue_client,
    make_serial,
    new_authority,
)

#: Indices of the certificates; the revoked one is on the list.
REVOKED: Final = 2
_INDEX: Final = {"good": 1, "revoked": REVOKED, "foreign": 1}
LIFETIME: Final = timedelta(days=1)
_SECONDS: Final = 10.0
_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def authority(name: str, now: datetime) -> Authority:
    """Return a new CA that lives as long as the cases run."""
    return new_authority(name, now=now, lifetime=LIFETIME, entropy=secrets.token_bytes(AUTHORITY_ENTROPY))


class Clients:
    """Connections to the proxy, each kept open for the next case of the same client, host and version of TLS."""

    def __init__(self, folder: Path, port: int, managed: Authority, now: datetime) -> None:
        self._folder = folder
        self._port = port
        self._open: dict[tuple[str | None, str, str], tuple[ssl.SSLSocket, BinaryIO]] = {}
        self.issuer = managed.digest
        folder.mkdir(mode=0o700)
        foreign = authority("foreign", now)
        for name, index in _INDEX.items():
            issued = issue_client(
                foreign if name == "foreign" else managed,
                subject=Subject(common_name=name),
                sans=SubjectAltNames(),
                key=KeySpec(),
                validity=LIFETIME,
                serial=make_serial(index, secrets.token_bytes(SERIAL_ENTROPY)),
                now=now,
            )
            (folder / f"{name}.crt").write_text(issued.certificate_pem, "ascii")
            (folder / f"{name}.key").write_bytes(issued.key_pem.reveal())

    def send(self, sent: Sent) -> int:
        """Send a request and return the status of the answer, 0 when there is none."""
        lines = [
            f"{sent.method} {sent.target} HTTP/1.1",
            f"host: {sent.host}",
            *(f"{name}: {value}" for name, value in sent.headers),
        ]
        request = "\r\n".join([*lines, "", ""]).encode("ascii")
        key = (sent.client, sent.host, sent.tls)
        fresh = key not in self._open
        status = self._exchange(key, request)
        # A connection that was open may have been closed by the other side meanwhile.
        return self._exchange(key, request) if status == 0 and not fresh else status

    def close(self) -> None:
        """Close every connection."""
        for key in tuple(self._open):
            self._drop(key)

    def _exchange(self, key: tuple[str | None, str, str], request: bytes) -> int:
        try:
            connection, reader = self._connection(key)
            connection.sendall(request)
            status, keep = _answer(reader)
        except (OSError, ValueError):
            status, keep = 0, False
        if not keep:
            self._drop(key)
        return status

    def _connection(self, key: tuple[str | None, str, str]) -> tuple[ssl.SSLSocket, BinaryIO]:
        if key not in self._open:
            client, host, version = key
            plain = socket.create_connection(("127.0.0.1", self._port), _SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._context(client, version).wrap_socket(plain, server_hostname=host)
            self._open[key] = (connection, connection.makefile("rb"))
        return self._open[key]

    def _drop(self, key: tuple[str | None, str, str]) -> None:
        if key in self._open:
            connection, reader = self._open.pop(key)
            reader.close()
            connection.close()

    def _context(self, client: str | None, version: str) -> ssl.SSLContext:
        # Whether the proxy proves itself is no question here: it is ours, on this machine.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        context.minimum_version = context.maximum_version = _VERSIONS[version]
        if client is not None:
            context.load_cert_chain(self._folder / f"{client}.crt", self._folder / f"{client}.key")
        return context


def _answer(reader: BinaryIO) -> tuple[int, bool]:
    """Read one answer; return its status, and whether the connection stays open."""
    line = reader.readline(65_536)
    if not line:
        return 0, False
    status, length, keep = int(line.split()[1]), 0, True
    while field := reader.readline(65_536).rstrip(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"transfer-encoding" or (name.lower(), value.strip().lower()) == (
            b"connection",
            b"close",
        ):
            keep = False
    return status, keep and len(reader.read(length)) == length
