"""The workers, in virtual time: no failure of one key stops another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mtls_operator.cluster import ClusterError, ConflictError, RejectedError, UnavailableError
from mtls_operator.controller import keys
from mtls_operator.controller.keys import Key, Topic
from mtls_operator.controller.metrics import Metrics
from mtls_operator.controller.queue import WorkQueue
from mtls_operator.controller.workers import BURST_SECONDS, Workers, interval_of

ONE, OTHER = keys.certificate("shop", "one"), keys.certificate("shop", "other")


@dataclass(slots=True)
class Bench:
    """Workers whose reconciler a test writes; ``ran`` has each key with the time of its run."""

    workers: Workers
    queue: WorkQueue[Key]
    ran: list[tuple[Key, float]] = field(default_factory=list)
    act: Callable[[Key], Awaitable[float | None]] | None = None

    def fail(self, error: BaseException, *, key: Key = ONE, times: int = 1) -> None:
        """Let the next runs of a key fail."""
        left = times

        async def act(running: Key) -> float | None:
            nonlocal left
            if running == key and left:
                left -= 1
                raise error
            return None

        self.act = act

    def runs(self, key: Key) -> int:
        return sum(ran == key for ran, _ in self.ran)

    def failures(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["topic"], sample.labels["kind"]): sample.value
            for family in text_string_to_metric_families(self.workers.metrics.text().decode())
            for sample in family.samples
            if sample.name == "mtls_operator_reconcile_failures_total"
        }


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = asyncio.get_running_loop().time
    queue: WorkQueue[Key] = WorkQueue(clock=clock, interval_of=interval_of)
    made: Bench

    async def reconcile(key: Key) -> float | None:
        made.ran.append((key, clock()))
        return await made.act(key) if made.act is not None else None

    made = Bench(Workers(queue, dict.fromkeys(Topic, reconcile), Metrics(), 2), queue)
    made.workers.start()
    yield made
    await made.workers.stop()


async def test_a_key_is_given_to_the_reconciler_of_its_topic() -> None:
    seen: list[tuple[str, Key]] = []

    def named(topic: Topic) -> Callable[[Key], Awaitable[None]]:
        async def reconcile(key: Key) -> None:
            seen.append((topic, key))

        return reconcile

    queue: WorkQueue[Key] = WorkQueue(clock=asyncio.get_running_loop().time)
    workers = Workers(queue, {topic: named(topic) for topic in Topic}, Metrics(), 1)
    workers.start()
    every = [keys.INTERNAL, keys.authority("shop"), keys.host("shop", "api"), keys.rule("shop", "r"), ONE]
    for key in every:
        queue.add(key)
    await asyncio.sleep(1)
    await workers.stop()
    assert seen == [(key.topic, key) for key in every]


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (ConflictError("newer"), "conflict", ("reconcile.conflict", "info")),
        (UnavailableError("away"), "cluster", ("reconcile.failed", "warning")),
        (RejectedError("no right"), "cluster", ("reconcile.failed", "warning")),
        (ClusterError("odd"), "cluster", ("reconcile.failed", "warning")),
        (ZeroDivisionError("defect"), "bug", ("reconcile.crashed", "error")),
        (KeyError("labels"), "bug", ("reconcile.crashed", "error")),
    ],
)
async def test_a_failure_is_counted_logged_and_tried_again(
    bench: Bench, logged: list[Any], error: Exception, kind: str, line: tuple[str, str]
) -> None:
    bench.fail(error)
    bench.queue.add(ONE)
    await asyncio.sleep(5)
    assert bench.runs(ONE) == 2
    assert bench.failures() == {("certificate", kind): 1}
    assert [(entry["event"], entry["log_level"], entry["key"]) for entry in logged] == [
        (*line, "certificate/shop/one")
    ]


async def test_a_key_that_keeps_failing_keeps_no_other_from_running(bench: Bench) -> None:
    bench.fail(ZeroDivisionError(), times=1_000_000)
    bench.queue.add(ONE)
    for _ in range(20):
        bench.queue.add(OTHER)
        await asyncio.sleep(1)
    assert bench.runs(OTHER) == 20
    assert bench.workers.alive


async def test_a_key_that_keeps_failing_is_tried_ever_less(bench: Bench) -> None:
    bench.fail(UnavailableError("away"), times=1_000_000)
    bench.queue.add(ONE)
    await asyncio.sleep(600)
    assert 10 < bench.runs(ONE) < 25


async def test_a_key_whose_reconciler_hangs_holds_up_one_worker_only(bench: Bench) -> None:
    async def act(key: Key) -> None:
        if key == ONE:
            await asyncio.Event().wait()

    bench.act = act
    bench.queue.add(ONE)
    bench.queue.add(OTHER)
    await asyncio.sleep(1)
    assert bench.runs(OTHER) == 1


async def test_when_to_look_again_is_what_the_reconciler_says(bench: Bench) -> None:
    async def act(_: Key) -> float:
        return 30.0

    bench.act = act
    bench.queue.add(ONE)
    await asyncio.sleep(61)
    first, second, third = (at for _, at in bench.ran)
    assert (round(second - first), round(third - second)) == (30, 30)


async def test_only_a_success_counts_as_one(bench: Bench) -> None:
    before = bench.workers.last_success
    bench.fail(UnavailableError("away"))
    bench.queue.add(ONE)
    await asyncio.sleep(0.05)
    assert bench.workers.last_success == before
    await asyncio.sleep(1)
    assert bench.workers.last_success > before


async def test_stopping_gives_up_what_runs_and_begins_nothing_new(bench: Bench) -> None:
    given_up = []

    async def act(key: Key) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(key)
            raise

    bench.act = act
    bench.queue.add(ONE)
    await asyncio.sleep(0.1)
    await bench.workers.stop()
    bench.queue.add(OTHER)
    await asyncio.sleep(1)
    assert given_up == [ONE]
    assert bench.runs(OTHER) == 0


async def test_the_probe_sees_workers_that_have_ended(bench: Bench) -> None:
    assert bench.workers.alive
    await bench.workers.stop()
    assert not bench.workers.alive


async def test_a_worker_that_is_killed_is_seen_by_the_probe(bench: Bench) -> None:
    bench.workers._tasks[0].cancel()
    await asyncio.sleep(0.1)
    assert not bench.workers.alive


async def test_workers_that_never_started_are_not_alive() -> None:
    queue: WorkQueue[Key] = WorkQueue(clock=asyncio.get_running_loop().time)
    assert not Workers(queue, {}, Metrics(), 2).alive


@pytest.mark.parametrize(
    ("key", "seconds"),
    [
        (keys.authority("shop"), BURST_SECONDS),
        (keys.host("shop", "api"), BURST_SECONDS),
        (ONE, 0.0),
        (keys.rule("shop", "r"), 0.0),
        (keys.INTERNAL, 0.0),
    ],
)
def test_what_many_events_touch_at_once_runs_at_most_ten_times_a_second(key: Key, seconds: float) -> None:
    assert interval_of(key) == seconds
