"""A person with ``kubectl mtls`` in front of the laboratory's cluster."""

from __future__ import annotations

import argparse
import io
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock

from tests.feature.harness import Lab
from tests.support.builders import NAMESPACE
from tests.support.fake_cluster import FakeClient
from tests.unit.cli.terminal import Ended, run

from mtls_operator.cli import clock
from mtls_operator.cli.errors import Exit, Refused, Unanswered
from mtls_operator.cli.main import build_parser
from mtls_operator.cli.screen import Screen
from mtls_operator.cluster import Body, Cluster, ClusterError, Kind, RejectedError

_MODULES = ("cert.issue", "cert.revoke", "cert.restore", "cert.renew", "ca.rotate")


@dataclass(slots=True)
class DeskClient(FakeClient):
    """A connection of a person; ``forbidden`` are namespaces of which neither Secrets nor ConfigMaps may be read."""

    forbidden: frozenset[str] = field(default=frozenset())

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body | None:
        self._check(kind, namespace)
        return await FakeClient.get(self, kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> Any:
        self._check(kind, namespace)
        return await FakeClient.list(self, kind, namespace, labels=labels)

    async def close(self) -> None:
        """Close nothing."""

    def _check(self, kind: Kind, namespace: str | None) -> None:
        secret_of_tenant = kind is Kind.SECRET and bool(self.forbidden)
        if namespace in self.forbidden or secret_of_tenant:
            raise RejectedError(f"{kind.plural} is forbidden", status=403, reason="Forbidden")


def look(lab: Lab, *words: str, forbidden: tuple[str, ...] = ()) -> Ended:
    """Run a command that waits for nobody, on a loop of its own: operator and clock stand still meanwhile."""
    ended: list[Ended] = []
    now = lab.now()

    async def connect(**_: object) -> DeskClient:
        return DeskClient(lab.cluster, latency=0, forbidden=frozenset(forbidden))

    def work() -> None:
        with (
            mock.patch("mtls_operator.cli.access.connect", connect),
            mock.patch.object(clock, "utc_now", return_value=now),
        ):
            ended.append(run(*words, "-n", NAMESPACE))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return ended[0]


async def do(lab: Lab, *words: str) -> Ended:
    """Run a command on the loop of the operator, which works meanwhile. The person's clock is two minutes ahead."""
    out, err = io.StringIO(), io.StringIO()
    parsed: argparse.Namespace = build_parser().parse_args([*words, "-n", NAMESPACE])
    works: list[Callable[[Cluster, str], Awaitable[Any]]] = []
    screen = Screen(out, err)
    patches = [mock.patch(f"mtls_operator.cli.{name}.on_cluster") for name in _MODULES]
    code = Exit.FINE
    try:
        for one, name in zip(patches, _MODULES, strict=True):
            __import__(f"mtls_operator.cli.{name}")
            one.start().side_effect = lambda _access, work: works.append(work)
        ahead = timedelta(minutes=2)
        mock.patch.object(clock, "utc_now").start().return_value = lab.now() + ahead
        parsed.run(parsed, screen)
        answer = await works[0](DeskClient(lab.cluster), NAMESPACE)
        if isinstance(answer, str) and answer:
            out.write(answer)
    except Refused as error:
        screen.complain(str(error))
        code = Exit.REFUSED
    except (Unanswered, ClusterError) as error:
        screen.complain(str(error))
        code = Exit.UNANSWERED
    finally:
        mock.patch.stopall()
    return Ended(int(code), out.getvalue(), err.getvalue())


def answer_on_terminal(text: str) -> Any:
    """Let a person at a terminal answer questions."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return mock.patch.object(sys, "stdin", Terminal(text + "\n"))
