"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio

from mtls_operator.controller.queue import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, Lane, WorkQueue

Queue = WorkQueue[str]


def _queue(interval: float = 0.0) -> Queue:
    return WorkQueue(clock=asyncio.get_running_loop().time, interval_of=lambda _: interval)


async def _take(queue: Queue, within: float) -> str | None:
    try:
        return await asyncio.wait_for(queue.get(), timeout=within)
    except TimeoutError:
        return None


async def test_a_key_that_is_added_twice_runs_once() -> None:
    queue = _queue()
    queue.add("a")
    queue.add("a")
    assert await _take(queue, 0.1) == "a"
    queue.done("a")
    assert await _take(queue, 10) is None


async def test_keys_run_in_the_order_of_their_due_times() -> None:
    queue = _queue()
    queue.add("late", delay=2)
    queue.add("early", delay=1)
    queue.add("now")
    assert [await _take(queue, 5) for _ in range(3)] == ["now", "early", "late"]


async def test_keys_that_are_due_together_run_in_the_order_added() -> None:
    queue = _queue()
    for key in "cab":
        queue.add(key)
    assert [await _take(queue, 1) for _ in range(3)] == ["c", "a", "b"]


async def test_an_earlier_due_time_wins() -> None:
    queue = _queue()
    queue.add("a", delay=100)
    queue.add("a", delay=1)
    assert await _take(queue, 2) == "a"
    queue.done("a")
    assert await _take(queue, 200) is None


async def test_a_later_due_time_does_not_put_a_key_off() -> None:
    queue = _queue()
    queue.add("a", delay=1)
    queue.add("a", delay=100)
    assert await _take(queue, 2) == "a"


async def test_a_key_that_is_added_while_it_runs_runs_once_more_and_never_twice_at_a_time() -> None:
    queue = _queue()
    queue.add("a")
    assert await _take(queue, 1) == "a"
    queue.add("a")
    queue.add("a")
    assert await _take(queue, 1) is None
    queue.done("a")
    assert await _take(queue, 1) == "a"
    queue.done("a")
    assert await _take(queue, 1) is None


async def test_the_first_of_a_burst_runs_at_once_and_the_rest_once_after_the_interval() -> None:
    queue = _queue(interval=0.5)
    clock = asyncio.get_running_loop().time
    began = clock()
    queue.add("a")
    assert await _take(queue, 1) == "a"
    assert clock() - began < 0.01
    queue.done("a")
    for _ in range(10):
        queue.add("a")
    assert await _take(queue, 1) == "a"
    assert 0.49 < clock() - began < 0.52
    queue.done("a")
    assert await _take(queue, 5) is None


async def test_a_failing_key_waits_twice_as_long_each_time_up_to_a_limit() -> None:
    queue = _queue()
    delays = []
    queue.add("a")
    for _ in range(2000):
        assert await _take(queue, 100) == "a"
        delays.append(queue.failed("a"))
    assert delays[:3] == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS]
    assert delays[-1] == LONGEST_RETRY_SECONDS


async def test_success_ends_the_back_off() -> None:
    queue = _queue()
    queue.add("a")
    for _ in range(5):
        await _take(queue, 100)
        queue.failed("a")
    await _take(queue, 100)
    queue.done("a", again_in=0)
    await _take(queue, 1)
    assert queue.failed("a") == FIRST_RETRY_SECONDS


async def test_an_event_does_not_wait_for_the_back_off() -> None:
    """A revocation must not wait a minute because the API server was away before it."""
    queue = _queue()
    queue.add("a")
    for _ in range(10):
        await _take(queue, 100)
        queue.failed("a")
    queue.add("a")
    assert await _take(queue, 0.1) == "a"


async def test_a_failing_key_does_not_hold_others_back() -> None:
    queue = _queue()
    queue.add("bad")
    await _take(queue, 1)
    queue.failed("bad")
    queue.add("good")
    assert await _take(queue, 0.01) == "good"


async def test_a_key_is_looked_at_again_when_its_reconciler_says_so() -> None:
    queue = _queue()
    queue.add("a")
    await _take(queue, 1)
    queue.done("a", again_in=30)
    assert await _take(queue, 29) is None
    assert await _take(queue, 2) == "a"


async def test_several_workers_get_every_key_once() -> None:
    queue = _queue()
    seen: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            await asyncio.sleep(0.01)
            seen.append(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for number in range(100):
        queue.add(str(number))
    await asyncio.sleep(5)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(seen, key=int) == [str(number) for number in range(100)]


async def test_what_is_only_due_later_does_not_count_as_ready() -> None:
    queue = _queue()
    queue.add("later", delay=100)
    queue.add("now")
    assert queue.ready_length() == 1
    assert len(queue) == 2


async def test_what_is_patient_runs_when_nothing_else_is_due() -> None:
    queue = _queue()
    queue.add("renewal", patient=True)
    queue.add("another renewal", patient=True)
    queue.add("new")
    queue.add("new, but late", delay=5)
    assert [await _take(queue, 10) for _ in range(4)] == [
        "new",
        "renewal",
        "another renewal",
        "new, but late",
    ]


async def test_what_is_patient_waits_for_its_due_time_too() -> None:
    queue = _queue()
    queue.add("renewal", delay=3, patient=True)
    assert await _take(queue, 2) is None
    assert await _take(queue, 2) == "renewal"


async def test_what_is_asked_for_at_once_is_patient_no_more_and_runs_once() -> None:
    queue = _queue()
    queue.add("a", patient=True)
    queue.add("b", patient=True)
    queue.add("b")
    assert [await _take(queue, 1) for _ in range(2)] == ["b", "a"]
    assert await _take(queue, 1) is None


async def test_what_hurries_is_not_put_off_by_patience() -> None:
    queue = _queue()
    queue.add("other", patient=True)
    queue.add("a")
    queue.add("a", patient=True)
    assert [await _take(queue, 1) for _ in range(2)] == ["a", "other"]


async def test_a_key_that_is_put_off_while_it_runs_comes_after_the_others() -> None:
    queue = _queue()
    queue.add("renewal")
    assert await _take(queue, 1) == "renewal"
    queue.add("renewal", patient=True)
    queue.add("new")
    queue.done("renewal")
    assert [await _take(queue, 1) for _ in range(2)] == ["new", "renewal"]


async def test_a_key_that_is_put_off_and_asked_for_while_it_runs_hurries() -> None:
    queue = _queue()
    queue.add("renewal")
    assert await _take(queue, 1) == "renewal"
    queue.add("renewal", patient=True)
    queue.add("renewal")
    queue.add("other", patient=True)
    queue.done("renewal")
    assert [await _take(queue, 1) for _ in range(2)] == ["renewal", "other"]


async def test_what_is_urgent_runs_before_what_was_due_earlier() -> None:
    queue: Queue = WorkQueue(clock=asyncio.get_running_loop().time, is_urgent=str.isupper)
    for key in ("a", "b", "URGENT"):
        queue.add(key)
        await asyncio.sleep(0.01)
    assert [await _take(queue, 1) for _ in range(3)] == ["URGENT", "a", "b"]


async def test_who_takes_only_what_is_urgent_waits_for_it() -> None:
    queue: Queue = WorkQueue(clock=asyncio.get_running_loop().time, is_urgent=str.isupper)
    queue.add("a")
    queue.add("B", delay=2)
    asyncio.get_running_loop().call_later(1, queue.add, "A")
    assert await asyncio.wait_for(queue.get((Lane.URGENT,)), 1.5) == "A"
    assert await asyncio.wait_for(queue.get((Lane.URGENT,)), 1.5) == "B"
    assert await _take(queue, 1) == "a"
