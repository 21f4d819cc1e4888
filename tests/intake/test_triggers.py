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
from tests.virtual_clock import QuickClock

A, U, B = Feed("a"), Feed("a", "u"), Feed("b")


@dataclass
class TriggerHarness:
    """Feeds that were all read once, and will not be due by themselves for an hour."""

    scheduler: Scheduler
    triggers: Triggers
    clock: QuickClock

    async def polls(self, within: float, new_at: float | None = None) -> list[tuple[str, float]]:
        """Which feeds are read in this time, and when; one of them shows something new at a time."""
        started = self.clock.monotonic()
        found: list[tuple[str, float]] = []
        while True:
            feed = await self.scheduler.claim_next()
            now = self.clock.monotonic()
            if now - started > within:
                self.scheduler.record_success(feed, 0)
                return found
            found.append((str(feed), now - started))
            if new_at is not None and now - started >= new_at:
                self.triggers.resolve(feed, now)
            self.scheduler.record_success(feed, 0)


@asynccontextmanager
async def trigger_harness(*feeds: Feed) -> AsyncIterator[TriggerHarness]:
    clock = QuickClock()
    scheduler = Scheduler(some_settings(source={"min_interval": "1h", "max_interval": "1h"}).source, clock)
    scheduler.watch(feeds)
    triggers = Triggers(scheduler, clock)
    for _ in feeds:
        scheduler.record_success(await scheduler.claim_next(), 0)
    clock.advance(60)
    async with background_tasks(triggers.run()):
        yield TriggerHarness(scheduler, triggers, clock)


async def test_while_nothing_new_appears_it_is_looked_for_after_1_5_and_30_seconds() -> None:
    async with trigger_harness(A, B) as at:
        assert at.triggers.trigger("a", None) == 1
        polls = await at.polls(600)
        assert [name for name, _ in polls] == ["a"] * 4
        assert [when for _, when in polls] == pytest.approx([0, 1, 5, 30], abs=0.01)


@pytest.mark.parametrize(("new_at", "polled_after"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 5])])
async def test_once_something_new_appeared_it_is_looked_for_no_more(new_at: float, polled_after: list[float]) -> None:
    async with trigger_harness(A) as at:
        at.triggers.trigger("a", None)
        assert [when for _, when in await at.polls(600, new_at)] == pytest.approx(polled_after, abs=0.01)


async def test_what_a_reading_found_that_began_before_the_nudge_does_not_answer_it() -> None:
    async with trigger_harness(A) as at:
        before = at.clock.monotonic()
        at.clock.advance(1)
        at.triggers.trigger("a", None)
        at.triggers.resolve(A, before)
        assert len(await at.polls(600)) == 4


async def test_what_appears_in_one_feed_of_a_workflow_answers_for_all_of_them() -> None:
    async with trigger_harness(A, U) as at:
        assert at.triggers.trigger("a", None) == 2
        assert [name for name, _ in await at.polls(600, new_at=0)] == [str(A), str(U)]


async def test_a_workflow_that_is_not_watched_is_not_looked_for() -> None:
    async with trigger_harness(A) as at:
        assert at.triggers.trigger("elsewhere", None) == 0
        assert await at.polls(600) == []


async def test_a_second_nudge_begins_the_looks_anew() -> None:
    async with trigger_harness(A) as at:
        at.triggers.trigger("a", None)
        assert len(await at.polls(20)) == 3
        at.clock.advance(2)
        at.triggers.trigger("a", None)
        assert len(await at.polls(600)) == 4
