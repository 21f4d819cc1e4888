"""A stalled loop is distinguished from one that works, one that waits, and one whose process was suspended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from forwarder import heartbeat
from forwarder.heartbeat import Heartbeats, task_location

WORK_SECONDS = 60.0


class HeartbeatHarness:
    """Heartbeats in a time that only the test advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heartbeats = Heartbeats(lambda: self.now)
        self.heartbeats.max_work_seconds = WORK_SECONDS
        self.never = asyncio.Event()

    async def begin(self, loop: Callable[[], Awaitable[None]], name: str = "source") -> asyncio.Task[None]:
        task = self.heartbeats.start(name, loop)
        for _ in range(10):
            await asyncio.sleep(0)
        return task

    async def after(self, seconds: float) -> dict[str, list[asyncio.Task[Any]]]:
        """Return the stalled loops after a time in which they are checked every few seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            for _ in range(10):
                await asyncio.sleep(0)
            self.heartbeats.stalled()
        return self.heartbeats.stalled()

    async def hangs(self) -> None:
        heartbeat.beat()
        await self.never.wait()


async def test_hanging_loop_is_stalled_after_max_work_seconds() -> None:
    harness = HeartbeatHarness()
    task = await harness.begin(harness.hangs)
    assert await harness.after(WORK_SECONDS - 1) == {}
    assert list(await harness.after(2)) == ["source"]
    task.cancel()


async def test_stalled_task_is_located_by_function_and_line() -> None:
    harness = HeartbeatHarness()

    async def hangs() -> None:
        await harness.never.wait()

    task = await harness.begin(hangs)
    (stalled,) = (await harness.after(WORK_SECONDS + 1))["source"]
    name, _, line = task_location(stalled).rpartition(":")
    assert "named" in name
    assert line.isdigit()
    task.cancel()


async def test_announced_wait_is_stalled_only_after_its_end() -> None:
    harness = HeartbeatHarness()

    async def waits() -> None:
        heartbeat.beat(3600)
        await harness.never.wait()

    task = await harness.begin(waits)
    assert await harness.after(3600) == {}
    assert list(await harness.after(WORK_SECONDS + 1)) == ["source"]
    task.cancel()


async def test_beat_after_an_announced_wait_ends_the_announcement() -> None:
    harness = HeartbeatHarness()

    async def wakes_early() -> None:
        heartbeat.beat(3600)
        await asyncio.sleep(0)
        await harness.hangs()

    task = await harness.begin(wakes_early)
    assert list(await harness.after(WORK_SECONDS + 1)) == ["source"]
    task.cancel()


async def test_working_tasks_do_not_hide_a_hanging_one() -> None:
    """A loop may wait for the tasks that it created without an end, because they send heartbeats."""
    harness = HeartbeatHarness()

    async def works() -> None:
        while True:
            heartbeat.beat()
            await asyncio.sleep(0)

    async def root(*tasks: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for each in tasks:
                group.create_task(each())  # type: ignore[arg-type]  # coroutine functions, both
            heartbeat.beat(float("inf"))

    healthy = await harness.begin(lambda: root(works, works), "bus")
    hanging = await harness.begin(lambda: root(works, harness.hangs), "source")
    stalled = await harness.after(2 * WORK_SECONDS)
    assert list(stalled) == ["source"]
    assert len(stalled["source"]) == 1
    healthy.cancel()
    hanging.cancel()


async def test_waiting_for_tasks_leaves_only_a_hanging_one_stalled() -> None:
    """The task that waits is not stalled, even for hours; the one for which it waits is."""
    harness = HeartbeatHarness()
    tasks: list[asyncio.Task[None]] = []

    async def works() -> None:
        while True:
            heartbeat.beat()
            await asyncio.sleep(0)

    async def waits() -> None:
        tasks.append(asyncio.create_task(works()))
        tasks.append(asyncio.create_task(harness.hangs()))
        await heartbeat.wait_until_done(tasks)

    root = await harness.begin(waits)
    assert (await harness.after(WORK_SECONDS + 1))["source"] == [tasks[1]]
    root.cancel()
    await asyncio.wait([root])
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()


async def test_suspended_process_has_no_stalled_loop() -> None:
    harness = HeartbeatHarness()
    task = await harness.begin(harness.hangs)
    harness.heartbeats.stalled()
    harness.now += 3600
    assert harness.heartbeats.stalled() == {}
    assert list(await harness.after(WORK_SECONDS + 1)) == ["source"]
    task.cancel()


async def test_ended_loop_is_not_tracked() -> None:
    harness = HeartbeatHarness()
    task = await harness.begin(harness.hangs)
    harness.heartbeats.stop_tracking("source")
    assert await harness.after(10 * WORK_SECONDS) == {}
    task.cancel()


def test_beat_outside_of_a_loop_does_nothing() -> None:
    """Commands use the components of the loops without a supervisor, and some of them without an event loop."""
    heartbeat.beat()
