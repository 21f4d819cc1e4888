"""A loop that hangs is told from one that works, one that waits, and one that was stopped with its process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from forwarder.heartbeat import HeartbeatClock, Heartbeats, task_location
from tests.virtual_clock import QuickClock

WORK = 60.0


class HeartbeatHarness:
    """Heartbeats in a time of the test's own, and a clock for loops."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heartbeats = Heartbeats(lambda: self.now)
        self.heartbeats.max_work_seconds = WORK
        self.clock = HeartbeatClock(QuickClock(), self.heartbeats)
        self.never = asyncio.Event()

    async def begin(self, loop: Callable[[], Awaitable[None]], name: str = "source") -> asyncio.Task[None]:
        task = self.heartbeats.start(name, loop)
        for _ in range(10):
            await asyncio.sleep(0)
        return task

    async def after(self, seconds: float) -> dict[str, list[asyncio.Task[Any]]]:
        """The loops that are late, with a look every few seconds until then, and turns for all."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            for _ in range(10):
                await asyncio.sleep(0)
            self.heartbeats.stalled()
        return self.heartbeats.stalled()


async def test_a_loop_that_never_comes_back_is_late_after_the_longest_work_and_not_before() -> None:
    harness = HeartbeatHarness()

    async def stalls() -> None:
        harness.clock.now()
        await harness.never.wait()

    task = await harness.begin(stalls)
    assert await harness.after(WORK - 1) == {}
    assert list(await harness.after(2)) == ["source"]
    task.cancel()


async def test_a_late_loop_is_named_with_the_line_where_it_stands() -> None:
    harness = HeartbeatHarness()

    async def stalls() -> None:
        await harness.never.wait()

    task = await harness.begin(stalls)
    (stalled,) = (await harness.after(WORK + 1))["source"]
    name, _, line = task_location(stalled).rpartition(":")
    assert "named" in name
    assert line.isdigit()
    task.cancel()


async def test_who_waits_on_the_clock_is_not_late_before_the_wait_is_over() -> None:
    harness = HeartbeatHarness()
    asleep = asyncio.Event()

    class Slow(QuickClock):
        async def sleep(self, seconds: float) -> None:
            assert seconds == 3600
            await asleep.wait()

    clock = HeartbeatClock(Slow(), harness.heartbeats)

    async def backs_off() -> None:
        await clock.sleep(3600)

    task = await harness.begin(backs_off)
    assert await harness.after(3600) == {}
    assert list(await harness.after(WORK + 1)) == ["source"]
    task.cancel()


async def test_a_loop_may_wait_for_its_tasks_but_one_task_that_hangs_is_not_hidden_by_the_others() -> None:
    harness = HeartbeatHarness()
    turn = asyncio.Event()

    async def works() -> None:
        while True:
            await turn.wait()
            harness.clock.now()
            await asyncio.sleep(0)

    async def stalls() -> None:
        harness.clock.now()
        await harness.never.wait()

    async def root(*tasks: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for each in tasks:
                group.create_task(each())  # type: ignore[arg-type]  # coroutine functions, both

    turn.set()
    well = await harness.begin(lambda: root(works, works), "bus")
    ill = await harness.begin(lambda: root(works, stalls), "source")
    stalled = await harness.after(2 * WORK)
    assert list(stalled) == ["source"]
    assert len(stalled["source"]) == 1
    well.cancel()
    ill.cancel()


async def test_a_process_that_was_stopped_for_an_hour_finds_no_loop_late() -> None:
    harness = HeartbeatHarness()

    async def stalls() -> None:
        await harness.never.wait()

    task = await harness.begin(stalls)
    harness.heartbeats.stalled()
    harness.now += 3600
    assert harness.heartbeats.stalled() == {}
    assert list(await harness.after(WORK + 1)) == ["source"]
    task.cancel()


async def test_a_loop_that_ended_is_expected_no_more() -> None:
    harness = HeartbeatHarness()

    async def stalls() -> None:
        await harness.never.wait()

    task = await harness.begin(stalls)
    harness.heartbeats.stop_tracking("source")
    assert await harness.after(10 * WORK) == {}
    task.cancel()


async def test_a_thread_that_asks_for_the_time_is_nobody() -> None:
    harness = HeartbeatHarness()

    async def works_in_a_thread() -> None:
        await asyncio.to_thread(harness.clock.now)
        await harness.never.wait()

    task = await harness.begin(works_in_a_thread)
    assert list(await harness.after(WORK + 1)) == ["source"]
    task.cancel()
