"""What a nudge does: the workflow is looked at, again and again for a while, until something new appears."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from forwarder.intake.nudges import Nudges
from forwarder.intake.schedule import Schedule
from forwarder.model import Feed
from forwarder.supervise import beside
from tests.clocks import QuickClock
from tests.loops import looped
from tests.samples import some_settings

A, U, B = Feed("a"), Feed("a", "u"), Feed("b")


@dataclass
class Watch:
    """Feeds that were all read once, and will not be due by themselves for an hour."""

    schedule: Schedule
    nudges: Nudges
    clock: QuickClock

    async def reads(self, within: float, new_at: float | None = None) -> list[tuple[str, float]]:
        """Which feeds are read in this time, and when; one of them shows something new at a time."""
        began = self.clock.monotonic()
        found: list[tuple[str, float]] = []
        while True:
            feed = await self.schedule.next()
            now = self.clock.monotonic()
            if now - began > within:
                self.schedule.done(feed, 0)
                return found
            found.append((str(feed), now - began))
            if new_at is not None and now - began >= new_at:
                self.nudges.appeared(feed, now)
            self.schedule.done(feed, 0)


@asynccontextmanager
async def watch(*feeds: Feed) -> AsyncIterator[Watch]:
    clock = QuickClock()
    schedule = Schedule(some_settings(source={"min_interval": "1h", "max_interval": "1h"}).source, clock)
    schedule.watch(feeds)
    nudges = Nudges(schedule, clock)
    for _ in feeds:
        schedule.done(await schedule.next(), 0)
    clock.advance(60)
    async with beside(nudges.run()):
        yield Watch(schedule, nudges, clock)


@looped
async def test_while_nothing_new_appears_it_is_looked_for_after_1_5_and_30_seconds() -> None:
    async with watch(A, B) as at:
        assert at.nudges.nudge("a", None) == 1
        reads = await at.reads(600)
        assert [name for name, _ in reads] == ["a"] * 4
        assert [when for _, when in reads] == pytest.approx([0, 1, 5, 30], abs=0.01)


@pytest.mark.parametrize(("new_at", "looks"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 5])])
@looped
async def test_once_something_new_appeared_it_is_looked_for_no_more(new_at: float, looks: list[float]) -> None:
    async with watch(A) as at:
        at.nudges.nudge("a", None)
        assert [when for _, when in await at.reads(600, new_at)] == pytest.approx(looks, abs=0.01)


@looped
async def test_what_a_reading_found_that_began_before_the_nudge_does_not_answer_it() -> None:
    async with watch(A) as at:
        before = at.clock.monotonic()
        at.clock.advance(1)
        at.nudges.nudge("a", None)
        at.nudges.appeared(A, before)
        assert len(await at.reads(600)) == 4


@looped
async def test_what_appears_in_one_feed_of_a_workflow_answers_for_all_of_them() -> None:
    async with watch(A, U) as at:
        assert at.nudges.nudge("a", None) == 2
        assert [name for name, _ in await at.reads(600, new_at=0)] == [str(A), str(U)]


@looped
async def test_a_workflow_that_is_not_watched_is_not_looked_for() -> None:
    async with watch(A) as at:
        assert at.nudges.nudge("elsewhere", None) == 0
        assert await at.reads(600) == []


@looped
async def test_a_second_nudge_begins_the_looks_anew() -> None:
    async with watch(A) as at:
        at.nudges.nudge("a", None)
        assert len(await at.reads(20)) == 3
        at.clock.advance(2)
        at.nudges.nudge("a", None)
        assert len(await at.reads(600)) == 4
