"""What becomes of a pod: the review in, the answer in. Pure, so that a dry run is the same as the real thing.

Everything that is not plainly allowed is refused (guarantee G1): the webhook is asked about labelled pods
only, and a labelled pod without the sidecar would let everybody in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from mtls_operator.inject import InjectRefused, InjectSettings, inject
from mtls_operator.webhook.patch import json_patch
from mtls_operator.webhook.review import Review, allowed, denied

_PODS: Final = ("", "v1", "pods")


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what the log says about it."""

    answer: dict[str, Any]
    admitted: bool
    changed: bool
    reason: str


def decide(review: Review, *, settings: InjectSettings) -> Decision:
    """Return the answer to a review of a pod that is created; anything else is refused.

    The user id of the sidecar is derived from the review's own id, which the API server chooses at random: no
    state and no randomness here, and a repeated question gets the same answer.
    """
    if (review.resource, review.subresource, review.operation) != (_PODS, "", "CREATE"):
        asked = "/".join(filter(None, (review.resource[2], review.subresource)))
        return _refuse(
            review,
            code=HTTPStatus.BAD_REQUEST,
            reason=f"this webhook is for CREATE of pods; its configuration sent {review.operation} {asked}",
        )
    entropy = hashlib.sha256(review.uid.encode()).digest()
    try:
        injection = inject(review.object, settings=settings, namespace=review.namespace, entropy=entropy)
    except InjectRefused as error:
        return _refuse(review, code=HTTPStatus.FORBIDDEN, reason=str(error))
    patch = json_patch(review.object, injection.pod)
    return Decision(
        allowed(review.uid, patch=patch), admitted=True, changed=injection.changed, reason=injection.reason
    )


def failed(review: Review) -> Decision:
    """Return the answer when deciding itself went wrong: refused, and where to look."""
    return _refuse(
        review,
        code=HTTPStatus.INTERNAL_SERVER_ERROR,
        reason="the webhook failed on this pod; its log says why",
    )


def _refuse(review: Review, *, code: HTTPStatus, reason: str) -> Decision:
    answer = denied(review.uid, code=code.value, message=f"mtls-operator: {reason}")
    return Decision(answer, admitted=False, changed=False, reason=reason)
