"""An event loop whose clock jumps to the next timer instead of waiting for it: minutes pass in microseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

#: A loop with no timer and no input would wait for ever: nothing in a test may.
_REAL_DEADLINE = 10.0
#: Every round of the loop takes this long, as work does: a clock that stands still never reaches a due time.
_STEP = 1e-6


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for input without waiting; where there is none, time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.now += _STEP
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(_REAL_DEADLINE)
            if not ready:
                raise AssertionError("the test waits for something that nothing will bring about")
            return ready
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; ``time`` starts at 1000 seconds."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.now = 1000.0
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run at once what the operator gives to a thread: while one worked, hours could pass on this clock."""
        assert executor is None
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits it
            future.set_exception(error)
        return future

    def advance(self, seconds: float) -> None:
        """Let time pass in which the loop stands still."""
        self._jumping.now += seconds


def factories() -> dict[str, Any]:
    """Return what pytest-asyncio's loop hook wants."""
    return {"virtual": VirtualLoop}
