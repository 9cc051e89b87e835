"""When the operator says that it is dead: then the kubelet restarts it, which must be worth it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import cast

import pytest
from tests.unit.operator.context import Place

from mtls_operator.controller import keys
from mtls_operator.controller.clock import Pulse
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.wiring import STUCK_SECONDS, Operator
from mtls_operator.controller.workers import Workers

ABSENT = cast("None", None)


async def _nothing(_: Key) -> None:
    return


@pytest.fixture
async def operator(place: Place) -> AsyncIterator[Operator]:
    """An operator of which only queue and workers are there: nothing else is asked by the probes."""
    context = place.context()
    metrics = Metrics()
    made = Operator(
        context=context,
        cluster=ABSENT,  # type: ignore[arg-type]  # not asked
        discovery=ABSENT,  # type: ignore[arg-type]  # not asked
        dispatch=ABSENT,  # type: ignore[arg-type]  # not asked
        workers=Workers(context.queue, dict.fromkeys(Topic, _nothing), metrics, 2),
        metrics=metrics,
        watches=ABSENT,  # type: ignore[arg-type]  # not asked
        passwords=ABSENT,  # type: ignore[arg-type]  # not asked
        grants=ABSENT,  # type: ignore[arg-type]  # not asked
        lists=ABSENT,  # type: ignore[arg-type]  # not asked
        given=ABSENT,  # type: ignore[arg-type]  # not asked
        status_port=ABSENT,  # type: ignore[arg-type]  # not asked
        internal=ABSENT,  # type: ignore[arg-type]  # not asked
        pulse=Pulse(context.now, on_leap=list, on_pause=list),
    )
    yield made
    made.pulse.stop()
    await made.workers.stop()


def stuck(operator: Operator) -> None:
    operator.workers.last_success = time.monotonic() - STUCK_SECONDS - 1


async def test_until_the_first_lists_are_complete_it_is_alive_and_not_ready(operator: Operator) -> None:
    assert operator.alive() == ""
    assert operator.ready() == "the first lists are not complete"


async def test_then_it_is_both(operator: Operator) -> None:
    operator.workers.start()
    operator.synced = True
    assert (operator.alive(), operator.ready()) == ("", "")


async def test_with_nothing_to_do_it_may_be_idle_for_ever(operator: Operator) -> None:
    operator.workers.start()
    operator.synced = True
    stuck(operator)
    assert operator.alive() == ""


async def test_work_that_is_only_due_later_is_nothing_to_do(operator: Operator) -> None:
    operator.workers.start()
    operator.synced = True
    operator.context.queue.add(keys.INTERNAL, delay=3600)
    stuck(operator)
    assert operator.alive() == ""


async def test_work_that_is_due_and_never_succeeds_is_death(operator: Operator) -> None:
    operator.synced = True
    operator.workers.start()
    operator.context.queue.add(keys.INTERNAL)
    stuck(operator)
    assert operator.alive() == "no reconcile has succeeded for 301 s"


async def test_a_worker_that_has_ended_is_death(operator: Operator) -> None:
    operator.synced = True
    operator.workers.start()
    await operator.workers.stop()
    assert operator.alive() == "a worker has died"
