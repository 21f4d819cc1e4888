"""The time when the oldest pending entry was recorded, cached."""

from datetime import datetime, timedelta
from pathlib import Path

from forwarder.ledger import Sent, SqliteLedger
from forwarder.model import Checkpoint
from forwarder.web.oldest_pending import CACHE_FACTOR, OldestPending
from tests.factories import FEED, entry
from tests.virtual_clock import NOON, QuickClock


class SlowLedger(SqliteLedger):
    """A ledger with a backlog: the query takes `seconds`."""

    seconds = 0.0
    queries = 0

    def on(self, clock: QuickClock) -> None:
        self.clock = clock

    async def oldest_pending(self) -> datetime | None:
        self.queries += 1
        self.clock.advance(self.seconds)
        return await super().oldest_pending()


async def test_result_is_cached_fifty_times_as_long_as_it_took(tmp_path: Path) -> None:
    clock = QuickClock()
    async with SlowLedger(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        await ledger.add_feeds({FEED: Checkpoint()})
        await ledger.record(FEED, [entry("first"), entry("second")], now=NOON)
        ledger.seconds = 0.5
        oldest = OldestPending(ledger, clock)
        for _ in range(10):
            assert await oldest.get(2) == NOON
            clock.advance(1)
        assert ledger.queries == 1
        clock.advance(CACHE_FACTOR * ledger.seconds)
        assert (await oldest.get(2), ledger.queries) == (NOON, 2)


async def test_fast_result_is_not_cached(tmp_path: Path) -> None:
    clock = QuickClock()
    async with SlowLedger(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        await ledger.add_feeds({FEED: Checkpoint()})
        oldest = OldestPending(ledger, clock)
        assert (await oldest.get(0), ledger.queries) == (None, 0)
        for hours in (0, 1):
            now = NOON + timedelta(hours=hours)
            await ledger.record(FEED, [entry(f"{hours}")], now=now)
            assert await oldest.get(1) == NOON
        assert ledger.queries == 2


async def test_result_of_an_earlier_backlog_is_dropped(tmp_path: Path) -> None:
    clock = QuickClock()
    async with SlowLedger(tmp_path / "ledger.db", create=True) as ledger:
        ledger.on(clock)
        ledger.seconds = 10.0
        await ledger.add_feeds({FEED: Checkpoint()})
        await ledger.record(FEED, [entry("a")], now=NOON)
        oldest = OldestPending(ledger, clock)
        assert await oldest.get(1) == NOON
        assert await oldest.get(0) is None
        later = NOON + timedelta(hours=1)
        [claimed] = await ledger.claim(1, now=NOON)
        await ledger.settle([Sent(claimed.token, "event")], now=later)
        await ledger.record(FEED, [entry("b")], now=later)
        assert await oldest.get(1) == later
