"""Clients that ask at a steady rate, over HTTP/1.1 and HTTP/2, on connections that are kept and on new ones.

They run in a process of their own (``tests/support/go/load``), which takes little of the processors that the proxies
need too. Everything is counted: a request that was lost is an answer with the status 0, and none is sent again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support import gotools

#: Of a request that got no answer.
LOST: Final = 0
_DEADLINE: Final = 30


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its chain and its key, in PEM."""

    chain: str
    key: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What one client was answered in one phase, by status, and how many connections it opened."""

    answers: Counter[int]
    connections: int

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return self.answers.total()


NOTHING: Final = Counted(Counter(), 0)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything counted so far; a request counts for the phase in which it was sent."""

    seconds: Mapping[str, float]
    clients: Mapping[str, Mapping[str, Counted]]
    failures: Mapping[str, Sequence[str]]

    def of(self, client: str, phase: str) -> Counted:
        """Return what a client was answered in a phase."""
        return self.clients.get(client, {}).get(phase, NOTHING)

    def sent_in(self, phase: str) -> int:
        """Return how many requests all clients sent in a phase."""
        return sum(self.of(client, phase).sent for client in self.clients)

    @property
    def rate(self) -> float:
        """Requests per second in sum, over all phases in which any was sent."""
        seconds = sum(taken for phase, taken in self.seconds.items() if self.sent_in(phase))
        return sum(self.sent_in(phase) for phase in self.seconds) / seconds if seconds else 0.0

    def __str__(self) -> str:
        """Return a table: a line for each phase and client."""
        lines = []
        for phase, seconds in self.seconds.items():
            sent = self.sent_in(phase)
            if not sent:
                continue
            lines.append(f"{phase}: {seconds:.1f} s, {sent / seconds:.0f} requests/s")
            for client in self.clients:
                counted = self.of(client, phase)
                if counted.sent:
                    statuses = ", ".join(f"{n} x {s or 'lost'}" for s, n in sorted(counted.answers.items()))
                    lines.append(f"  {client}: {statuses}; {counted.connections} connections")
        return "\n".join(lines)


class Traffic:
    """Clients of one host and path; they run until they are stopped, or with the process."""

    def __init__(self, addresses: Sequence[str], server: str, target: str) -> None:
        self._where = {"Addresses": list(addresses), "Server": server, "Target": target}
        self._process = gotools.start("load")

    def start(self, name: str, identity: Identity | None, *, rate: float) -> None:
        """Let a client ask that often each second, in sum; None: without a certificate."""
        pair = {} if identity is None else {"Chain": identity.chain, "Key": identity.key}
        self._order({"Do": "start", "Name": name, "Rate": rate, **self._where, **pair})

    def phase(self, name: str) -> None:
        """Count what is sent from now on under another name."""
        self._order({"Do": "phase", "Name": name})

    def stop(self, name: str) -> Report:
        """Stop a client, when all it has asked is answered."""
        return self._order({"Do": "stop", "Name": name})

    def report(self) -> Report:
        """Return what is counted so far."""
        return self._order({"Do": "report"})

    def close(self) -> None:
        """End every client at once."""
        self._process.kill()
        self._process.communicate(timeout=_DEADLINE)

    def _order(self, order: Mapping[str, Any]) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer["Error"]:
            raise RuntimeError(answer["Error"])
        return Report(
            seconds={phase["Name"]: phase["Seconds"] for phase in answer["Phases"]},
            clients={
                client: {phase: _counted(tally) for phase, tally in phases.items()}
                for client, phases in sorted((answer["Clients"] or {}).items())
            },
            failures=answer["Failures"] or {},
        )


def _counted(tally: Mapping[str, Any]) -> Counted:
    return Counted(
        Counter({int(status): number for status, number in tally["Answers"].items()}), tally["Connections"]
    )
