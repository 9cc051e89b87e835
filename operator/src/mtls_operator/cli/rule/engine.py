"""What runs the cases: the reference evaluator, or the real Envoy with the same generated Lua behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from mtls_operator.rules import Expression, RequestError, evaluate


class EngineKind(StrEnum):
    """The engines by the names that users give."""

    REFERENCE = "reference"
    ENVOY = "envoy"


class Engine(Protocol):
    """Yields what an expression says about a request; a text says why there is no result."""

    def run(self, expression: Expression, request: Mapping[str, object]) -> bool | str:
        """Return the result."""

    def summary(self) -> str:
        """Return how the cases were run, a line for people."""


class Reference:
    """The evaluator in Python that defines what an expression means."""

    def __init__(self) -> None:
        self._count = 0

    def run(self, expression: Expression, request: Mapping[str, object]) -> bool | str:
        """See :class:`Engine`."""
        self._count += 1
        try:
            return evaluate(expression, request)
        except RequestError as error:
            return f"no request: {error}"

    def summary(self) -> str:
        """See :class:`Engine`."""
        return f"{self._count} evaluated by the reference"


@contextmanager
def engine(kind: EngineKind, *, envoy: str | None) -> Iterator[Engine]:
    """Provide an engine, and stop what it started.

    Raises:
        Unanswered: Envoy cannot be found or does not run.
    """
    if kind is EngineKind.REFERENCE:
        yield Reference()
        return
    from mtls_operator.cli.rule.envoy_engine import running_envoy  # noqa: PLC0415 - loads gRPC, which takes a while

    with running_envoy(envoy) as running:
        yield running
