"""The serving certificate: read from a mounted folder, followed while it is rotated.

A TLS context is never changed once it serves: a certificate whose key does not fit would leave it broken. A
new one is made from the new files, and only a complete one takes over, for the next handshake; open
connections keep what they have. Files that do not load leave the last good certificate in use (guarantee G2).
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import structlog

from mtls_operator.api import names

log: Final = structlog.get_logger(__name__)

#: How the kubelet publishes a mounted Secret: this link moves from one complete folder to the next.
_DATA_LINK: Final = "..data"

_Signature = tuple[str, int, int, int, int]


class ServingCertificateError(Exception):
    """The serving certificate cannot be used; the message names the folder and says why."""


class ServingCertificate:
    """The certificate of a folder, as a TLS context to listen with and a check for newer files."""

    def __init__(self, directory: Path) -> None:
        """Load the certificate; raise ServingCertificateError when it cannot be used."""
        self._directory = directory
        self._seen = _signature(directory)
        self._current = _load(directory)
        self._failure = ""
        #: Listen with this one; it hands each handshake to the context that is current then.
        self.context: Final = _load(directory)
        self.context.sni_callback = self._use_current

    def refresh(self) -> bool:
        """Take over a newer certificate; return whether one was taken over.

        Files that cannot be used are logged once for each reason and looked at again the next time.
        """
        try:
            signature = _signature(self._directory)
            if signature == self._seen:
                return False
            self._current = _load(self._directory)
        except ServingCertificateError as error:
            self._report(str(error))
            return False
        # What was seen before loading: should the files have moved meanwhile, the next look loads them again.
        self._seen, self._failure = signature, ""
        log.info("serving_certificate_reloaded", directory=str(self._directory))
        return True

    def _report(self, problem: str) -> None:
        if problem != self._failure:
            log.error("serving_certificate_unusable", directory=str(self._directory), problem=problem)
        self._failure = problem

    def _use_current(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


async def follow(certificate: ServingCertificate, *, every: float) -> None:
    """Look for a newer certificate until cancelled; ``every`` is in seconds."""
    while True:
        await asyncio.sleep(every)
        certificate.refresh()


def _files(directory: Path) -> tuple[Path, Path]:
    """Return certificate and key of one generation of the folder, not one file of each of two."""
    link = directory / _DATA_LINK
    generation = link.resolve() if link.exists() else directory
    return generation / names.TLS_CERT_KEY, generation / names.TLS_KEY_KEY


def _signature(directory: Path) -> _Signature:
    certificate, key = _files(directory)
    try:
        first, second = certificate.stat(), key.stat()
    except OSError as error:
        raise ServingCertificateError(f"{directory}: {error.strerror}: {error.filename}") from error
    return (str(certificate), first.st_ino, first.st_mtime_ns, second.st_ino, second.st_mtime_ns)


def _load(directory: Path) -> ssl.SSLContext:
    certificate, key = _files(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The empty password keeps OpenSSL from asking the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ServingCertificateError(
            f"{directory}: no usable pair of {certificate.name} and {key.name}: {error}"
        ) from error
    return context
