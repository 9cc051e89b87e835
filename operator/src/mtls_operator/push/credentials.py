"""The server's TLS: its certificate, its key, and the CA whose clients it listens to; checked before use.

gRPC itself logs a new certificate that cannot be used and goes on with the old one: here it is an error.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import grpc

from mtls_operator.api.secret import Secret
from mtls_operator.pki import PkiError, check_server_pair, read_certificate
from mtls_operator.push.errors import CredentialsError

#: How long a handshake that passed the lock may take to begin: it takes microseconds.
_LAST_USE_SECONDS: Final = 0.1
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """What the server proves itself with, and the internal CA (one or more certificates) of its clients."""

    certificate_chain_pem: bytes = field(repr=False)
    key_pem: Secret
    client_ca_pem: bytes = field(repr=False)


def check(credentials: ServerCredentials, *, now: float) -> None:
    """Raise ``CredentialsError`` when no TLS server can run with these; ``now`` is seconds since the epoch."""
    moment = datetime.fromtimestamp(now, UTC)
    problems = check_server_pair(credentials.certificate_chain_pem, credentials.key_pem, (), now=moment)
    if problems:
        raise CredentialsError("discovery server: " + " ".join(each.message for each in problems))
    authorities = _CERTIFICATE.findall(credentials.client_ca_pem)
    if not authorities or len(authorities) != credentials.client_ca_pem.count(b"-----BEGIN"):
        raise CredentialsError("discovery server: the client CA is not a PEM file of certificates")
    try:
        for authority in authorities:
            read_certificate(authority)
    except PkiError as error:
        raise CredentialsError(f"discovery server: the client CA cannot be used: {error}") from error


class Rotation:
    """The credentials for the next handshake; replaced while the server runs, from any thread.

    gRPC's core (1.85) asks at each handshake, and what it is given replaces, and frees, what other threads may
    be about to use: it asks inside a lock, but uses the answer outside of it. Hence an answer is given only
    when there is something new, and late: meanwhile new handshakes queue at the lock, and those that passed it
    before are done with the old.
    """

    def __init__(self, credentials: ServerCredentials) -> None:
        self._initial = _configuration(credentials)
        self._lock = threading.Lock()
        self._next: Any = None

    def replace(self, credentials: ServerCredentials) -> None:
        """Use these for all handshakes from now on."""
        with self._lock:
            self._next = _configuration(credentials)

    def server_credentials(self) -> Any:
        """Return gRPC's server credentials: they ask here at each handshake, and require a client's."""
        return grpc.dynamic_ssl_server_credentials(
            self._initial, self._fetch, require_client_authentication=True
        )

    def _fetch(self) -> Any:
        """Return the new configuration once, ``None`` for "as before"; called by gRPC, one call at a time."""
        if self._next is None:
            return None
        time.sleep(_LAST_USE_SECONDS)
        with self._lock:
            configuration, self._next = self._next, None
        return configuration


def _configuration(credentials: ServerCredentials) -> Any:
    pair = (credentials.key_pem.reveal(), credentials.certificate_chain_pem)
    return grpc.ssl_server_certificate_configuration((pair,), root_certificates=credentials.client_ca_pem)
