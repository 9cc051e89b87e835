"""A running discovery server and what it reported."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from mtls_operator.push import DiscoveryServer, Report

DEADLINE = 15.0


class Reports:
    """What the server reported, with a way to wait for more."""

    def __init__(self) -> None:
        self._all: list[tuple[float, Report]] = []
        self._changed = threading.Condition()

    def __call__(self, report: Report) -> None:
        with self._changed:
            self._all.append((time.monotonic(), report))
            self._changed.notify_all()

    def all(self, **wanted: object) -> list[Report]:
        return [each for _, each in self._all if _matches(each, wanted)]

    def wait(self, *, count: int = 1, timeout: float = DEADLINE, **wanted: object) -> tuple[float, Report]:
        """Return when (monotonic) and what the ``count``-th report with these fields was."""

        def found() -> list[tuple[float, Report]]:
            return [each for each in self._all if _matches(each[1], wanted)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout), (
                f"no {wanted} among {[each for _, each in self._all]}"
            )
            return found()[count - 1]


def _matches(report: Report, wanted: dict[str, object]) -> bool:
    return all(getattr(report, name) == value for name, value in wanted.items())


@dataclass(slots=True)
class Served:
    """A running server with what it reported."""

    server: DiscoveryServer
    port: int
    reports: Reports
