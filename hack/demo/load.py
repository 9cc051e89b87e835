"""Clients that ask all the time, and count every answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from clients import Client, Identity
from scene import Table

#: Requests on one connection before the next is opened: handshakes count, too.
_PER_CONNECTION = 20
_PAUSE_SECONDS = 0.05
_NO_ANSWER = 0


class Caller:
    """One client: asks at a steady rate until it is stopped. It always expects the same status.

    ``identity`` may be replaced at any time; the next connection has it. A connection that fails counts as one request
    without an answer.
    """

    def __init__(
        self, connect: Callable[[Identity | None], Client], identity: Identity | None, expected: int
    ) -> None:
        self.identity, self.expected = identity, expected
        self.answers: Counter[int] = Counter()
        self._connect, self._stopped = connect, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def total(self) -> int:
        """All requests so far."""
        return sum(self.answers.values())

    @property
    def other(self) -> int:
        """Requests that were not answered as expected."""
        return self.total - self.answers[self.expected]

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                client = self._connect(self.identity)
            except OSError:
                self.answers[_NO_ANSWER] += 1
                time.sleep(_PAUSE_SECONDS)
                continue
            try:
                self._ask(client)
            except (OSError, http.client.HTTPException):
                self.answers[_NO_ANSWER] += 1
            finally:
                with suppress(OSError):
                    client.close()

    def _ask(self, client: Client) -> None:
        for _ in range(_PER_CONNECTION):
            if self._stopped.is_set():
                return
            self.answers[client.status("/")] += 1
            time.sleep(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Let it end after its present request."""
        self._stopped.set()
        self._thread.join(30)


def report(callers: Mapping[str, Caller], table: Table) -> None:
    """Print what each client got, and count in the table's verdict who got anything else."""
    print(f"\n  {'client, all the time':<28}{'requests':<10}{'answered':<16}other answers", flush=True)
    for name, caller in callers.items():
        fine = f"{caller.answers[caller.expected]} with {caller.expected}"
        verdict = table.verdict(fine=caller.total > 0 and caller.other == 0)
        print(f"  {name:<28}{caller.total:<10}{fine:<16}{caller.other:<15}{verdict}", flush=True)
