"""A scheduler with a virtual clock."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from forwarder.intake.failure_rates import LONG_MEMORY_SECONDS
from forwarder.intake.scheduler import Scheduler
from forwarder.model import Feed, FeedActivity
from tests.factories import some_settings
from tests.virtual_clock import NOON, QuickClock

A, B, C = Feed("a"), Feed("b"), Feed("c")
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 5, 120

LAST_WEEK = NOON - timedelta(days=7)
QUIET = FeedActivity(LAST_WEEK, NOON)
"""The activity of a feed that has been polled for a week without any execution."""


def failing_every(seconds: float, *, burst: float = 0.0) -> FeedActivity:
    """Return the activity of a feed in which an execution has failed every `seconds` for a week."""
    failures = LONG_MEMORY_SECONDS / seconds
    return FeedActivity(LAST_WEEK, NOON, 2 * failures, failures, burst)


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


async def intervals(scheduler: Scheduler, clock: QuickClock, activity: FeedActivity, polls: int = 20) -> list[float]:
    """Return the wait before each poll. After each poll, the feed has this activity."""
    waits = []
    for _ in range(polls):
        feed, wait = await wait_for_next(scheduler, clock)
        waits.append(wait)
        scheduler.record_success(feed, replace(activity, at=clock.now()), 1)
    return waits
