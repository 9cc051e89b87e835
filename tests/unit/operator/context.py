"""A context for one part of the operator alone, on an API server in memory."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.support.fake_cluster import FakeClient, FakeCluster

from mtls_operator.api import names
from mtls_operator.controller.context import Context
from mtls_operator.controller.keys import Key
from mtls_operator.controller.queue import WorkQueue
from mtls_operator.controller.recorder import Recorder
from mtls_operator.controller.reports import Reports
from mtls_operator.controller.settings import Settings
from mtls_operator.controller.world import World
from mtls_operator.push import Scope, Script

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(slots=True)
class Clock:
    """The time that everything here sees; a test moves it."""

    moment: datetime = START

    def now(self) -> datetime:
        return self.moment

    def add(self, **duration: float) -> None:
        self.moment += timedelta(**duration)


class NoPush:
    """Nothing here pushes."""

    def publish(self, scope: Scope, script: Script) -> None:
        raise AssertionError(f"{script.name} pushed to {scope}")

    def withdraw(self, scope: Scope, name: str) -> None:
        raise AssertionError(f"{name} withdrawn from {scope}")


@dataclass(slots=True)
class Place:
    """A clock, a cluster with the operator's namespace, and contexts on it."""

    clock: Clock = field(default_factory=Clock)
    server: FakeCluster = field(init=False)

    def __post_init__(self) -> None:
        self.server = FakeCluster(now=self.clock.now)
        self.server.make_namespace(names.OPERATOR_NAMESPACE)
        self.server.make_namespace("shop")

    def context(self, *, seed: int = 1, client: FakeClient | None = None) -> Context:
        """Return a context with no memory, as after a start."""
        client = client or FakeClient(self.server, latency=0)
        return Context(
            settings=Settings(),
            cluster=client,
            world=World(),
            queue=WorkQueue[Key](clock=asyncio.get_running_loop().time),
            push=NoPush(),
            reports=Reports(),
            recorder=Recorder(client, self.clock.now),
            now=self.clock.now,
            entropy=random.Random(seed).randbytes,
        )

    def writes(self) -> list[str]:
        """Return the writes since the last call, and forget them."""
        made, self.server.writes[:] = [str(write) for write in self.server.writes], []
        return made
