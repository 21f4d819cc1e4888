"""The daemon's chores: it tells what is new, and whoever asks; and while nothing happens it writes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from forwarder.health import Health
from forwarder.ledger import Pulse, Reading, SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed, State
from forwarder.upkeep import Upkeep
from tests.clocks import NOON, QuickClock
from tests.loops import looped, until
from tests.samples import FEED, some_settings


class Kept:
    """A daemon's chores on a ledger, on a clock whose hours pass at once."""

    def __init__(self, ledger: SqliteLedger, file: Path) -> None:
        self.ledger = ledger
        self.clock = QuickClock()
        self.health = Health(self.clock.now)
        self.readings: dict[Feed, Reading] = {}
        settings = some_settings()
        self.upkeep = Upkeep(
            ledger, lambda: settings, lambda: self.readings, self.clock, self.health, Metrics(frozenset())
        )
        self._wal = file.with_name(file.name + "-wal")

    def written(self) -> bytes:
        """What was written to the disk, up to a checkpoint that a few tests do not come to."""
        return self._wal.read_bytes()

    async def pass_time(self, by: timedelta) -> None:
        end = self.clock.now() + by
        await until(lambda: self.clock.now() >= end)


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Kept]:
    file = folder / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.begin({FEED: Checkpoint()})
        daemon = Kept(ledger, file)
        running = asyncio.create_task(daemon.upkeep.run())
        try:
            await until(lambda: daemon.health.parts.get("ledger"))
            await daemon.pass_time(timedelta(minutes=2))
            yield daemon
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@looped
async def test_while_nothing_happens_nothing_is_written(tmp_path: Path) -> None:
    async with kept(tmp_path) as daemon:
        daemon.readings[FEED] = Reading(daemon.clock.now())
        await daemon.pass_time(timedelta(minutes=1))
        before = daemon.written()
        for _ in range(10):
            daemon.readings[FEED] = Reading(daemon.clock.now())
            await daemon.pass_time(timedelta(minutes=1))
        assert daemon.written() == before


@looped
async def test_whoever_asks_is_told_how_it_does_now(tmp_path: Path) -> None:
    async with kept(tmp_path) as daemon, SqliteLedger(tmp_path / "ledger.db") as verb:
        for _ in range(2):
            daemon.readings[FEED] = Reading(daemon.clock.now())
            asked_at = daemon.clock.now()
            await verb.ask(now=asked_at)
            await daemon.pass_time(timedelta(seconds=2))
            pulse = await verb.pulse()
            assert pulse is not None
            assert pulse.at >= asked_at
            assert [each.reading for each in await verb.feeds()] == [daemon.readings[FEED]]


@looped
async def test_a_feed_that_was_read_for_the_first_time_is_told_unasked(tmp_path: Path) -> None:
    async with kept(tmp_path) as daemon:
        daemon.readings[FEED] = Reading(daemon.clock.now())
        await daemon.pass_time(timedelta(seconds=2))
        assert [each.reading for each in await daemon.ledger.feeds()] == [daemon.readings[FEED]]


@looped
async def test_a_reading_is_told_once(tmp_path: Path) -> None:
    """So that telling costs as much as there is to tell, however many feeds there are."""
    others = [Feed(f"w-{number}") for number in range(3)]
    async with kept(tmp_path) as daemon, SqliteLedger(tmp_path / "ledger.db") as verb:
        await daemon.ledger.begin({feed: Checkpoint() for feed in others})
        daemon.readings.update({feed: Reading(daemon.clock.now()) for feed in [FEED, *others]})
        await daemon.pass_time(timedelta(seconds=2))
        await verb.note(Pulse(NOON, 1), {feed: Reading(NOON, "written over") for feed in [FEED, *others]})
        again = others[-1]
        del daemon.readings[again]
        daemon.readings[again] = Reading(daemon.clock.now())
        await verb.ask(now=daemon.clock.now())
        await daemon.pass_time(timedelta(seconds=2))
        told = {each.feed: each.reading for each in await verb.feeds()}
        assert told.pop(again) == daemon.readings[again]
        assert {reading.error for reading in told.values() if reading} == {"written over"}


@looped
async def test_a_question_from_a_clock_that_is_behind_is_answered_too(tmp_path: Path) -> None:
    async with kept(tmp_path) as daemon, SqliteLedger(tmp_path / "ledger.db") as verb:
        for now in (NOON + timedelta(days=1), NOON - timedelta(days=1)):
            before = await verb.pulse()
            await verb.ask(now=now)
            await daemon.pass_time(timedelta(seconds=2))
            assert await verb.pulse() != before


@looped
async def test_what_changes_is_told_unasked(tmp_path: Path) -> None:
    async with kept(tmp_path) as daemon:
        daemon.health.report("bus", State.FAILED, "it is missing")
        await daemon.pass_time(timedelta(seconds=2))
        pulse = await daemon.ledger.pulse()
        assert pulse is not None
        assert pulse.parts["bus"]["why"] == "it is missing"
