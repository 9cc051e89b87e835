"""What can go wrong in the discovery server, by who has to act: the caller, or the other end of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PushError(Exception):
    """The server cannot do what its owner asked; the message says why."""


class CredentialsError(PushError):
    """The server's certificate, key or client CA cannot be used; what was in use before stays in use."""


class StartError(PushError):
    """The server did not start: it cannot bind its address, or was started before."""


class ScriptRefused(PushError, ValueError):  # noqa: N818 - says what happened to the script
    """A script that must not reach a proxy: its name, version, size or content."""


class Code(Enum):
    """Why a stream ends, in the words of gRPC (the value is the name of its status code)."""

    DONE = "OK"
    NOT_ALLOWED = "PERMISSION_DENIED"
    INVALID = "INVALID_ARGUMENT"
    TOO_MANY = "RESOURCE_EXHAUSTED"
    TOO_SLOW = "DEADLINE_EXCEEDED"
    REPLACED = "ABORTED"
    GONE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a stream as its proxy sees it. The message never tells what the proxy may not know."""

    code: Code
    message: str


class StreamEnded(Exception):  # noqa: N818 - an end, not always an error
    """A stream must end now, for the reason in ``close``."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.close = Close(code, message)
