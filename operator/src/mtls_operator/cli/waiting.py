"""Waits until something is in force, and says what it waits for whenever that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mtls_operator.cli.errors import Refused
from mtls_operator.cli.screen import Screen

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


async def wait(look: Callable[[], Awaitable[str]], screen: Screen, *, timeout: float) -> float:  # noqa: ASYNC109 - of the whole wait, with a message of its own
    """Call ``look`` until it returns an empty text; what it returns until then is shown. Return the seconds taken.

    Raises:
        Refused: it takes longer than the timeout.
    """
    clock = asyncio.get_running_loop().time
    begun, pause, shown = clock(), _FIRST_PAUSE, ""
    while missing := await look():
        if missing != shown:
            screen.note(f"waiting: {missing}")
            shown = missing
        if clock() - begun >= timeout:
            raise Refused(f"not within {timeout:g} s: {missing}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return clock() - begun
