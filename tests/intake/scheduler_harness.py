"""A scheduler with a virtual clock."""

import asyncio
from typing import Any

from forwarder.intake.scheduler import Scheduler
from forwarder.model import Feed
from tests.factories import some_settings
from tests.virtual_clock import QuickClock

A, B, C = Feed("a"), Feed("b"), Feed("c")
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 5, 120


def create_scheduler(*feeds: Feed, **source: Any) -> tuple[Scheduler, QuickClock]:
    clock = QuickClock()
    scheduler = Scheduler(some_settings(source=source).source, clock)
    scheduler.watch(feeds)
    return scheduler, clock


async def wait_for_next(scheduler: Scheduler, clock: QuickClock) -> tuple[Feed, float]:
    """Claim the next feed, and return it with the seconds of waiting."""
    before = clock.monotonic()
    return await scheduler.claim_next(), clock.monotonic() - before


async def is_nothing_due(scheduler: Scheduler) -> bool:
    waiting = asyncio.create_task(scheduler.claim_next())
    for _ in range(5):
        await asyncio.sleep(0)
    is_waiting = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return is_waiting
