"""Each loop sends heartbeats through its longest waits, and is stalled if one of its awaits never returns."""

import asyncio
from pathlib import Path

import pytest

from forwarder.heartbeat import Heartbeats
from tests.loop_scenarios import MAX_WORK_SECONDS, SCENARIOS, Scenario
from tests.loop_stubs import Steps
from tests.virtual_loop import cancel_all, run_in_virtual_time

CHECK_SECONDS = 9.0


class HeartbeatTime:
    """The time of the heartbeats: that of the event loop, or ahead of it."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_seconds


async def stalled_after(scenario: Scenario, steps: Steps, folder: Path) -> float | None:
    """Run a scenario and return when its loop stalls, or None. Every task of the loop must be tracked at the end."""
    loop, time = asyncio.get_running_loop(), HeartbeatTime()
    heartbeats = Heartbeats(time)
    heartbeats.max_work_seconds = MAX_WORK_SECONDS
    own_task = asyncio.current_task()
    async with scenario.open(steps, folder) as run:
        root = heartbeats.start(scenario.loop, run)
        try:
            while loop.time() < scenario.hours * 3600:
                await asyncio.sleep(CHECK_SECONDS)
                assert not root.done(), root
                if heartbeats.stalled():
                    return loop.time()
            tasks = asyncio.all_tasks() - {own_task, root}
            assert tracked_tasks(scenario.loop, heartbeats, time) - {root} == tasks
            return None
        finally:
            await cancel_all(asyncio.all_tasks() - {own_task})


def tracked_tasks(name: str, heartbeats: Heartbeats, time: HeartbeatTime) -> set[asyncio.Task[object]]:
    """Return the tasks that are stalled if no task runs for a day."""
    for _ in range(int(24 * 3600 / CHECK_SECONDS)):
        time.ahead_seconds += CHECK_SECONDS
        stalled = heartbeats.stalled()
    return set(stalled[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_loop_in_long_waits_is_not_stalled(name: str, tmp_path: Path) -> None:
    assert run_in_virtual_time(stalled_after(SCENARIOS[name], Steps(), tmp_path)) is None


@pytest.mark.parametrize("name", SCENARIOS)
def test_loop_is_stalled_by_each_await_that_hangs(name: str, tmp_path: Path) -> None:
    scenario, all_steps = SCENARIOS[name], Steps()
    run_in_virtual_time(stalled_after(scenario, all_steps, tmp_path))
    for step in all_steps.seen:
        steps = Steps(hang_at=step)
        stalled_at = run_in_virtual_time(stalled_after(scenario, steps, tmp_path))
        assert stalled_at is not None, step
        assert stalled_at - steps.hung_until <= MAX_WORK_SECONDS + 2 * CHECK_SECONDS, step
