"""A schedule of feeds on a clock that is quick."""

import asyncio
from typing import Any

from forwarder.intake.schedule import Schedule
from forwarder.model import Feed
from tests.clocks import QuickClock
from tests.samples import some_settings

A, B, C = Feed("a"), Feed("b"), Feed("c")
SHORTEST, LONGEST = 5, 120


def scheduled(*feeds: Feed, **source: Any) -> tuple[Schedule, QuickClock]:
    clock = QuickClock()
    schedule = Schedule(some_settings(source=source).source, clock)
    schedule.watch(feeds)
    return schedule, clock


async def waited(schedule: Schedule, clock: QuickClock) -> tuple[Feed, float]:
    """The next feed, and how long it took."""
    before = clock.monotonic()
    return await schedule.next(), clock.monotonic() - before


async def nothing_is_due(schedule: Schedule) -> bool:
    waiting = asyncio.create_task(schedule.next())
    for _ in range(5):
        await asyncio.sleep(0)
    is_waiting = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return is_waiting
