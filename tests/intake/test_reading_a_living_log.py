"""Whatever happens while pages are read, every failure is recorded once: the heart of the promise, as a property."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from forwarder.alloy.client import LogsClient
from forwarder.errors import SourceError
from forwarder.intake.reading import Reader, ReadingDone
from forwarder.intake.shaping import Shaper
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint
from tests.clocks import QuickClock
from tests.intake.world import WORKFLOW, Crash, Traits, World
from tests.samples import FEED, examples, some_settings

JUMPS = [timedelta(), timedelta(seconds=5), timedelta(minutes=9), timedelta(hours=2), timedelta(hours=10)]

traits = st.builds(
    Traits,
    sorted_by=st.sampled_from(["startedAt", "stoppedAt"]),
    first_pages_same=st.booleans(),
    most=st.sampled_from([1, 2, 3, 10, 30]),
    skew=st.sampled_from([timedelta(), timedelta(hours=3), timedelta(hours=-3)]),
    lists_running=st.booleans(),
    poisoned=st.booleans(),
    fault_rate=st.sampled_from([0.0, 0.05, 0.3]),
)


class Life:
    """Readings of one world, one after the other, over restarts."""

    def __init__(self, world: World, file: Path, **source: Any) -> None:
        self.world, self.file = world, file
        self.settings = some_settings(source={"workflows": [WORKFLOW], "page_size": 30, **source})
        self.begins = Checkpoint(since=world.clock.now())
        self.recorded: list[str] = []

    async def read(self, *, deep: bool = False) -> ReadingDone | None:
        """A reading by a process of its own: None where it was cut short or the process died."""
        world = self.world
        async with SqliteLedger(self.file, create=True) as ledger:
            await ledger.begin({FEED: self.begins})
            reader = Reader(
                cast("LogsClient", world),
                ledger,
                self.settings.source,
                Shaper.of(self.settings),
                world.clock,
                Metrics(),
                lambda: None,
            )
            done = None
            with suppress(SourceError, Crash):
                done = await reader.read(FEED, deep=deep)
            self.recorded += [owed.entry.execution_id for owed in await ledger.take(10_000, now=world.clock.now())]
            for status in await ledger.feeds():
                self.checkpoint = status.checkpoint
            books = await ledger.audit()
        # Another process takes all that is owed once more, and nothing is owed twice.
        assert books.recorded == books.owed == len(set(self.recorded))
        return done


worlds = given(st.randoms(use_true_random=False), traits, st.lists(st.sampled_from(JUMPS), max_size=8))


@worlds
@examples(40)
def test_every_failure_that_was_listed_is_recorded_once(draw: Random, traits: Traits, jumps: list[timedelta]) -> None:
    asyncio.run(live(draw, traits, jumps))


@pytest.mark.long
@worlds
@examples(200)
def test_every_failure_that_was_listed_is_recorded_once_in_thousands_of_worlds(
    draw: Random, traits: Traits, jumps: list[timedelta]
) -> None:
    asyncio.run(live(draw, traits, jumps))


async def live(draw: Random, traits: Traits, jumps: list[timedelta]) -> None:
    world = World(draw, QuickClock(), traits)
    began = world.api_now()
    with TemporaryDirectory() as folder:
        life = Life(world, Path(folder) / "ledger.db")
        for jump in jumps:
            done = await life.read()
            assert life.checkpoint.watermark is None or life.checkpoint.watermark <= world.api_now()
            event("complete" if done else "cut short")
            world.clock.advance(jump.total_seconds())
        world.calm = True
        assert await life.read(deep=True) is not None
    floor = life.checkpoint.floor
    assert floor is not None
    # A little too low is harmless: the API tells its time in whole seconds, and an answer takes its time.
    assert began - timedelta(minutes=5) <= floor <= began
    assert set(life.recorded) == {execution_id for execution_id, stop in world.stops.items() if stop > floor}
