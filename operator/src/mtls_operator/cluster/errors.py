"""What can go wrong when talking to the API server, as few types as callers can decide about."""

from __future__ import annotations


class ClusterError(Exception):
    """A request that did not succeed; ``status`` is the HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(ClusterError):
    """The object, or its namespace, does not exist."""


class AlreadyExistsError(ClusterError):
    """A create met an object of the same name."""


class ConflictError(ClusterError):
    """A write was based on an older version of the object, or a precondition did not hold."""


class RejectedError(ClusterError):
    """The API server refuses this write whatever the time: invalid, forbidden, too large."""


class NotConfiguredError(ClusterError):
    """There is no way to an API server: neither a service account nor a kubeconfig that can be used."""


class UnavailableError(ClusterError):
    """The API server did not answer, or asked to come back later: try again."""


def error_for(status: int, reason: str, message: str) -> ClusterError:
    """Return the exception for a ``Status`` answer of the API server.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and ``metav1.StatusReason``.
    """
    kind: type[ClusterError]
    if status == 404:  # noqa: PLR2004 - HTTP status codes are their own names here
        kind = NotFoundError
    elif status == 409:  # noqa: PLR2004 - as above
        kind = AlreadyExistsError if reason == "AlreadyExists" else ConflictError
    elif status in (400, 401, 403, 405, 413, 415, 422):
        kind = RejectedError
    else:
        kind = UnavailableError
    return kind(message, status=status, reason=reason)
