"""A trigger has the workflow polled, repeatedly for a while, until something new appears."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from forwarder.intake.scheduler import Scheduler
from forwarder.intake.triggers import Triggers
from forwarder.model import Feed
from forwarder.runtime import background_tasks
from tests.factories import some_settings
from tests.intake.scheduler_harness import QUIET
from tests.virtual_clock import QuickClock

A, U, B = Feed("a"), Feed("a", "u"), Feed("b")


@dataclass
class TriggerHarness:
    """Feeds that were polled once, and whose next regular poll is due in an hour."""

    scheduler: Scheduler
    triggers: Triggers
    clock: QuickClock

    async def polls(self, within: float, new_at: float | None = None) -> list[tuple[str, float]]:
        """Return the polls of the next seconds, with their times. A new failure appears after `new_at` seconds."""
        started = self.clock.monotonic()
        found: list[tuple[str, float]] = []
        while True:
            feed = await self.scheduler.claim_next()
            now = self.clock.monotonic()
            if now - started > within:
                self.scheduler.record_success(feed, QUIET, 1)
                return found
            found.append((str(feed), now - started))
            if new_at is not None and now - started >= new_at:
                self.triggers.resolve(feed, now)
            self.scheduler.record_success(feed, QUIET, 1)


@asynccontextmanager
async def trigger_harness(*feeds: Feed) -> AsyncIterator[TriggerHarness]:
    clock = QuickClock()
    scheduler = Scheduler(some_settings(source={"min_interval": "1h", "max_interval": "1h"}).source, clock)
    scheduler.watch(feeds)
    triggers = Triggers(scheduler, clock)
    for _ in feeds:
        scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    clock.advance(60)
    async with background_tasks(triggers.run()):
        yield TriggerHarness(scheduler, triggers, clock)


async def test_trigger_without_new_failure_polls_four_times() -> None:
    """The polls follow the trigger after 0, 1, 5 and 30 seconds."""
    async with trigger_harness(A, B) as harness:
        assert harness.triggers.trigger("a", None) == 1
        polls = await harness.polls(600)
        assert [name for name, _ in polls] == ["a"] * 4
        assert [when for _, when in polls] == pytest.approx([0, 1, 5, 30], abs=0.01)


@pytest.mark.parametrize(("new_at", "polled_after"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 5])])
async def test_new_failure_ends_the_triggered_polls(new_at: float, polled_after: list[float]) -> None:
    async with trigger_harness(A) as harness:
        harness.triggers.trigger("a", None)
        assert [when for _, when in await harness.polls(600, new_at)] == pytest.approx(polled_after, abs=0.01)


async def test_poll_started_before_the_trigger_does_not_resolve_it() -> None:
    async with trigger_harness(A) as harness:
        before = harness.clock.monotonic()
        harness.clock.advance(1)
        harness.triggers.trigger("a", None)
        harness.triggers.resolve(A, before)
        assert len(await harness.polls(600)) == 4


async def test_new_failure_in_one_feed_resolves_the_whole_workflow() -> None:
    async with trigger_harness(A, U) as harness:
        assert harness.triggers.trigger("a", None) == 2
        assert [name for name, _ in await harness.polls(600, new_at=0)] == [str(A), str(U)]


async def test_trigger_of_unwatched_workflow_causes_no_poll() -> None:
    async with trigger_harness(A) as harness:
        assert harness.triggers.trigger("elsewhere", None) == 0
        assert await harness.polls(600) == []


async def test_second_trigger_restarts_the_polls() -> None:
    async with trigger_harness(A) as harness:
        harness.triggers.trigger("a", None)
        assert len(await harness.polls(20)) == 3
        harness.clock.advance(2)
        harness.triggers.trigger("a", None)
        assert len(await harness.polls(600)) == 4
