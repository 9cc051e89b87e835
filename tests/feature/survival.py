"""The operator dies before or after each single write of an operation, and another one takes up what it left.

Every operation is begun anew, in a fresh namespace, for each write at which a process can die, until one comes to its
end: no list of writes has to be kept up to date. With ``again`` the one that takes up dies too, at an early
write; then every third write is enough.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import pytest
from tests.feature.harness import Lab
from tests.feature.witness import Witness
from tests.support.builders import NAMESPACE
from tests.support.fake_cluster import Crash

Act = Callable[[Lab], Awaitable[None] | None]
#: More writes than any operation takes.
MOST_WRITES = 60

WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
OFTEN = pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])


async def survive(
    lab: Lab,
    prepare: Act,
    act: Act,
    check: Act,
    *,
    after: bool,
    again: bool = False,
    minutes: float = 0.0,
) -> None:
    """Do ``act`` on what ``prepare`` made, with a process that dies; ``check`` what the last one made of it.

    ``minutes`` is how long the operation takes by the clock. A `Witness` looks on.
    """
    witness = Witness(lab).watch()
    for at in range(1, MOST_WRITES, 3 if again else 1):
        lab.proxies.clear()
        await _fresh(lab)
        await _do(prepare, lab)
        await lab.settle()
        client = lab.process.client
        client.count, client.crash_at, client.crash_after = 0, at, after
        finished = await _goes_on(lab, act, minutes=minutes)
        if not finished and again:
            await lab.start(crash_at=at % 4 + 1, crash_after=not after)
            if await _goes_on(lab, None, minutes=minutes):
                await lab.stop()
        if not finished:
            await lab.start()
            await lab.pass_time(minutes=minutes)
        lab.process.client.crash_at = None
        await _do(check, lab)
        witness.check()
        await lab.stop()
        if finished:
            assert at > 1, "nothing was written"
            return
    raise AssertionError("the operator never comes to an end")


async def _fresh(lab: Lab) -> None:
    await lab.start()
    await lab.settle()
    lab.cluster.remove_namespace(NAMESPACE)
    await lab.settle()
    lab.cluster.make_namespace(NAMESPACE)


async def _goes_on(lab: Lab, act: Act | None, *, minutes: float) -> bool:
    """Let the operator work; return whether it got to the end."""
    try:
        if act is not None:
            await _do(act, lab)
        await lab.pass_time(minutes=minutes)
    except Crash:
        await lab.stop()
        return False
    return True


async def _do(act: Act, lab: Lab) -> None:
    result = act(lab)
    if inspect.isawaitable(result):
        await result
