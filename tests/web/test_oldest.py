"""When the oldest owed entry was recorded, for whoever looks, however often."""

from datetime import datetime, timedelta
from pathlib import Path

from forwarder.ledger import Sent, SqliteLedger
from forwarder.model import Checkpoint
from forwarder.web.oldest import WORTH, OldestOwed
from tests.clocks import NOON, QuickClock
from tests.loops import looped
from tests.samples import FEED, entry


class Slow(SqliteLedger):
    """One with a backlog: a look through all of it takes `seconds`."""

    seconds = 0.0
    looks = 0

    def on(self, clock: QuickClock) -> None:
        self.clock = clock

    async def oldest_owed(self) -> datetime | None:
        self.looks += 1
        self.clock.advance(self.seconds)
        return await super().oldest_owed()


@looped
async def test_a_look_counts_for_fifty_times_as_long_as_it_took(tmp_path: Path) -> None:
    clock = QuickClock()
    async with Slow(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        await ledger.begin({FEED: Checkpoint()})
        await ledger.record(FEED, [entry("first"), entry("second")], now=NOON)
        ledger.seconds = 0.5
        oldest = OldestOwed(ledger, clock)
        for _ in range(10):
            assert await oldest.look(2) == NOON
            clock.advance(1)
        assert ledger.looks == 1
        clock.advance(WORTH * ledger.seconds)
        assert (await oldest.look(2), ledger.looks) == (NOON, 2)


@looped
async def test_where_little_is_owed_each_look_is_a_new_one(tmp_path: Path) -> None:
    clock = QuickClock()
    async with Slow(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        await ledger.begin({FEED: Checkpoint()})
        oldest = OldestOwed(ledger, clock)
        assert (await oldest.look(0), ledger.looks) == (None, 0)
        for hours in (0, 1):
            now = NOON + timedelta(hours=hours)
            await ledger.record(FEED, [entry(f"{hours}")], now=now)
            assert await oldest.look(1) == NOON
        assert ledger.looks == 2


@looped
async def test_a_backlog_that_is_gone_is_told_no_more(tmp_path: Path) -> None:
    clock = QuickClock()
    async with Slow(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        ledger.seconds = 10.0
        await ledger.begin({FEED: Checkpoint()})
        await ledger.record(FEED, [entry("a")], now=NOON)
        oldest = OldestOwed(ledger, clock)
        assert await oldest.look(1) == NOON
        assert await oldest.look(0) is None
        later = NOON + timedelta(hours=1)
        [owed] = await ledger.take(1, now=NOON)
        await ledger.settle([Sent(owed.token, "event")], now=later)
        await ledger.record(FEED, [entry("b")], now=later)
        assert await oldest.look(1) == later
