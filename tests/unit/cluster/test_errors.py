from __future__ import annotations

import pytest

from mtls_operator.cluster import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from mtls_operator.cluster.errors import error_for


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (409, "", ConflictError),
        (400, "BadRequest", RejectedError),
        (403, "Forbidden", RejectedError),
        (413, "RequestEntityTooLarge", RejectedError),
        (422, "Invalid", RejectedError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "ServiceUnavailable", UnavailableError),
        (504, "Timeout", UnavailableError),
    ],
)
def test_an_answer_of_the_api_server_is_one_of_five_errors(
    status: int, reason: str, kind: type[ClusterError]
) -> None:
    error = error_for(status, reason, "what happened")
    assert type(error) is kind
    assert (error.status, error.reason, str(error)) == (status, reason, "what happened")
