"""What becomes of an object of ours: the review in, the answer out. Pure: a dry run is the same as the real thing.

It refuses what the operator would refuse afterwards, so that the author sees it at once. Nothing depends on it: the
operator looks at every object again, and the webhook's configuration lets objects pass while nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from mtls_operator.api import names
from mtls_operator.plan.admission import Verdict, judge, judge_update
from mtls_operator.webhook.decision import Decision
from mtls_operator.webhook.review import Review, allowed, denied

#: Our kinds by the resource that a review names.
KINDS: Final[Mapping[tuple[str, str, str], str]] = {
    (names.GROUP, names.VERSION, names.RULE_PLURAL): names.RULE_KIND,
    (names.GROUP, names.VERSION, names.HOST_PLURAL): names.HOST_KIND,
    (names.GROUP, names.VERSION, names.CERTIFICATE_PLURAL): names.CERTIFICATE_KIND,
}
#: The API server drops warnings beyond 4 096 characters in all.
_WARNING_CHARACTERS: Final = 4096
#: Stands in for what the API server adds to a prefix (``generateName``) when the object is stored.
_SUFFIX: Final = "xxxxx"


def validate(review: Review) -> Decision:
    """Return the answer to a review of one of our kinds; what it is not made for is refused."""
    kind = KINDS.get(review.resource)
    if kind is None or review.subresource or review.operation not in ("CREATE", "UPDATE"):
        asked = "/".join(filter(None, (review.resource[2], review.subresource)))
        what = f"this webhook is for CREATE and UPDATE of our kinds; its configuration sent {review.operation} {asked}"
        return Decision(
            denied(review.uid, code=HTTPStatus.BAD_REQUEST.value, message=f"mtls-operator: {what}"),
            admitted=False,
            changed=False,
            reason=what,
        )
    verdict = _verdict(kind, review)
    if verdict.refusal:
        answer = denied(
            review.uid,
            code=HTTPStatus.UNPROCESSABLE_ENTITY.value,
            message=verdict.refusal,
            reason="Invalid",
        )
        return Decision(answer, admitted=False, changed=False, reason=verdict.refusal.split("\n")[0])
    warnings = _bounded(verdict.warnings)
    return Decision(
        allowed(review.uid, warnings=warnings),
        admitted=True,
        changed=False,
        reason=f"warnings: {len(warnings)}" if warnings else "",
    )


def _verdict(kind: str, review: Review) -> Verdict:
    body = _named(review)
    if review.operation == "UPDATE" and review.old is not None:
        return judge_update(kind, review.old, body)
    return judge(kind, body)


def _named(review: Review) -> Mapping[str, Any]:
    """Return the object with the namespace of the request, and a name when it has none yet."""
    metadata = review.object.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    filled = {**metadata, "namespace": metadata.get("namespace") or review.namespace}
    filled["name"] = metadata.get("name") or f"{review.name}{_SUFFIX}"
    return {**review.object, "metadata": filled}


def _bounded(warnings: Iterable[str]) -> list[str]:
    """Return what the API server passes on, with a word about what it would not."""
    kept: list[str] = []
    left = _WARNING_CHARACTERS - len(_MORE)
    for warning in warnings:
        left -= len(warning)
        if left < 0:
            return [*kept, _MORE]
        kept.append(warning)
    return kept


_MORE: Final = "and more: see the status of the object"
