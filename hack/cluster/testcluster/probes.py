"""Questions that tell whether a process is ready for those that depend on it."""

from __future__ import annotations

import enum
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from testcluster.errors import ClusterError

_TIMEOUT: Final = 2.0
_POLL_SECONDS: Final = 0.1


class Kind(enum.StrEnum):
    """How to ask."""

    HTTP = "http"
    HTTPS = "https"
    UNIX = "unix"


@dataclass(frozen=True, slots=True)
class Probe:
    """One question: a URL that must answer 200, or a Unix socket that must accept."""

    kind: Kind
    target: str
    #: For HTTPS, the folder with ``ca.crt`` and the client's ``admin.crt`` and ``admin.key``.
    folder: str = ""


def succeeds(probe: Probe) -> bool:
    """Ask once; anything but the expected answer within two seconds is a no."""
    try:
        if probe.kind is Kind.UNIX:
            return _accepts(probe.target)
        return _answers(probe)
    except (OSError, http.client.HTTPException):
        return False


def wait(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Ask until the answer is yes.

    Raises:
        ClusterError: it was still no after ``seconds``; the message names ``what``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not after {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)


def _accepts(target: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(target)
    return True


def _answers(probe: Probe) -> bool:
    url = urlsplit(probe.target)
    connection: http.client.HTTPConnection
    if probe.kind is Kind.HTTPS:
        folder = Path(probe.folder)
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        connection = http.client.HTTPSConnection(
            url.hostname or "", url.port, timeout=_TIMEOUT, context=context
        )
    else:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", url.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()
