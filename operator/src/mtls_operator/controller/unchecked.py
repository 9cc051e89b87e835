"""Says of objects that were stored while nobody checked them that this was so.

The validating webhook fails open. Nothing is lost by that, since the operator reads every object itself; but its author
has seen no refusal and no warning, and learns from an Event that there was nobody to give one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from mtls_operator.api.conditions import conditions_of
from mtls_operator.api.meta import parse_meta
from mtls_operator.api.rule import Rule
from mtls_operator.cluster import Kind
from mtls_operator.controller.context import Context
from mtls_operator.plan.admission import is_plain, judge
from mtls_operator.plan.hostrules import compile_rule, try_rule
from mtls_operator.rules import Expression

_log = structlog.get_logger(__name__)

REASON: Final = "StoredUnchecked"
KINDS: Final = (Kind.RULE, Kind.HOST, Kind.CERTIFICATE)
#: An answer of the webhook's counts for as long.
ANSWER_SECONDS: Final = 2.0
_MOST_AT_ONCE: Final = 256

_Key = tuple[Kind, str, str]


@dataclass(slots=True)
class Unchecked:
    """Posts one Event for each spec that is new and that the webhook cannot have accepted, or has not seen.

    ``answers`` asks the webhook whether it is there.
    """

    context: Context
    answers: Callable[[], Awaitable[bool]]
    _new: dict[_Key, tuple[str, int]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _answer: tuple[float, bool] | None = None

    def seen(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Look at an object of ours whose spec no status is about yet; each spec is looked at once."""
        metadata = body["metadata"]
        key: _Key = (kind, metadata["namespace"], metadata["name"])
        spec = (str(metadata["uid"]), int(metadata.get("generation") or 0))
        if metadata.get("deletionTimestamp") or _reported(body) >= spec[1]:
            self._new.pop(key, None)
            return
        if self._new.get(key) == spec:
            return
        self._new[key] = spec
        if kind is Kind.CERTIFICATE and is_plain(body.get("spec")):
            return  # the webhook is not asked about these
        if len(self._tasks) >= _MOST_AT_ONCE:
            _log.warning("unchecked.dropped", kind=kind.kind, namespace=key[1], name=key[2])
            return
        task = asyncio.create_task(self._look(kind, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def gone(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Forget an object that was deleted."""
        self._new.pop((kind, body["metadata"]["namespace"], body["metadata"]["name"]), None)

    async def _look(self, kind: Kind, body: Mapping[str, Any]) -> None:
        # One at a time and beside the loop, which carries the revocations of others: one can take 0.1 s.
        async with self._turn:
            verdict = await self.context.aside(partial(judge, kind.kind, body, compiled=_compiled))
            answers = bool(verdict.refusal) or await self._webhook_answers()
        if verdict.refusal:
            mistake = verdict.refusal.split("\n")[0]
            message = (
                "This has a mistake that the admission webhook refuses. It was stored all the same: the webhook did "
                f"not answer, or the mistake is older than this change. {mistake}"
            )
        elif not answers:
            message = (
                "The admission webhook does not answer, so this was probably stored without its check. "
                "The operator has checked it and found no mistake."
            )
        else:
            return
        self.context.recorder.record(
            kind.kind, parse_meta(body), reason=REASON, message=message, warning=True
        )

    async def _webhook_answers(self) -> bool:
        """Ask, or say what was answered a moment ago: many objects that come at once ask one question."""
        clock = asyncio.get_running_loop().time
        if self._answer is None or clock() - self._answer[0] > ANSWER_SECONDS:
            answer = await self.answers()
            self._tell(answer=answer)
            self._answer = (clock(), answer)
        return self._answer[1]

    def _tell(self, *, answer: bool) -> None:
        """Log that the webhook went or came back."""
        if self._answer is not None and self._answer[1] is answer:
            return
        if answer:
            _log.info("webhook.answers")
        else:
            _log.warning("webhook.away")


def _reported(body: Mapping[str, Any]) -> int:
    """Return the generation that the status of an object is about; -1 when it has none."""
    seen = (condition.get("observedGeneration") for condition in conditions_of(body.get("status") or {}))
    return max((generation for generation in seen if isinstance(generation, int)), default=-1)


def _compiled(rule: Rule) -> Expression:
    """Compile a rule as the webhook does: it does not know the named lists and takes every name of one."""
    return try_rule(rule) if "$" in (rule.expression or "") else compile_rule(rule, {})[0]
