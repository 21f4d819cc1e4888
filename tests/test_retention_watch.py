"""The retention watch warns before the logs API purges unread failures, and afterwards names the period and feeds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.health import Health
from forwarder.ledger import DaemonStatus, PollResult, RetentionGap, SqliteLedger
from forwarder.ledger.retention_gap import GAP_DISPLAY_TIME, MAX_GAP_FEEDS
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed, State
from forwarder.retention_watch import COMPONENT, RetentionWatch
from forwarder.settings import Settings
from tests.factories import FEED, some_settings
from tests.virtual_clock import NOON, QuickClock

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
OTHER = Feed("w-2", "u-1")


class WatchHarness:
    """A process with a retention watch on a virtual clock. `restart` replaces the process."""

    def __init__(self, ledger: SqliteLedger, clock: QuickClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.settings: Settings = some_settings()
        self.restart()

    def restart(self) -> None:
        self.health = Health(self.clock.now)
        self.metrics = Metrics(frozenset())
        self.polls: dict[Feed, PollResult] = {}
        self.watch = RetentionWatch(
            self.ledger, lambda: self.settings, lambda: self.polls, self.clock, self.health, self.metrics
        )

    async def save_switch(self, *, enabled: bool, skip: bool = False) -> None:
        on_enable = "skip" if skip else "catch_up"
        self.settings = some_settings(enabled=enabled, on_enable=on_enable)
        await self.ledger.save_switch(enabled=enabled, skip=skip, now=self.clock.now())

    async def pass_time(self, by: timedelta, *, reads: tuple[Feed, ...] = (), step: timedelta = HOUR) -> None:
        """Let time pass with a check in each step. The feeds `reads` are polled in each."""
        for _ in range(max(1, by // step)):
            self.clock.advance(step.total_seconds())
            self.read(*reads)
            await self.watch.check()

    def read(self, *feeds: Feed, error: str = "") -> None:
        for feed in feeds:
            self.polls[feed] = PollResult(self.clock.now(), error)

    def state(self) -> State | None:
        component = self.health.components.get(COMPONENT)
        return None if component is None else component.state

    def reason(self) -> str:
        return self.health.components[COMPONENT].reason

    def unread_seconds(self) -> float:
        return self.metrics.registry.get_sample_value("forwarder_source_unread_seconds") or 0.0


@asynccontextmanager
async def watched(folder: Path, *feeds: Feed, checkpoint: Checkpoint | None = None) -> AsyncIterator[WatchHarness]:
    async with SqliteLedger(folder / "ledger.db", create=True) as ledger:
        await ledger.add_feeds({feed: checkpoint or Checkpoint(full_scan_at=NOON) for feed in feeds or (FEED,)})
        await ledger.save_watched(feeds or (FEED,))
        harness = WatchHarness(ledger, QuickClock())
        await harness.save_switch(enabled=True)
        yield harness


async def test_read_feed_is_no_component(tmp_path: Path) -> None:
    async with watched(tmp_path) as process:
        await process.watch.check()
        await process.pass_time(10 * DAY, reads=(FEED,))
        assert process.state() is None
        assert process.unread_seconds() <= HOUR.total_seconds()
        assert await process.ledger.retention_gap() is None


@pytest.mark.parametrize("cause", ["refused", "disabled"])
async def test_unread_feed_is_degraded_a_day_before(tmp_path: Path, cause: str) -> None:
    async with watched(tmp_path) as process:
        await process.watch.check()
        if cause == "disabled":
            await process.save_switch(enabled=False)
        await process.pass_time(6 * DAY - HOUR)
        assert process.state() is None
        await process.pass_time(2 * HOUR)
        assert process.state() is State.DEGRADED
        assert process.reason() == (
            f"{FEED} not read since 2026-11-02T12:00:00Z: the logs API keeps executions for 7 days"
        )
        assert process.unread_seconds() == (6 * DAY + HOUR).total_seconds()
        process.read(FEED, error="refused")
        await process.pass_time(HOUR)
        assert process.state() is State.DEGRADED
        await process.pass_time(HOUR, reads=(FEED,))
        assert process.state() is State.HEALTHY
        assert await process.ledger.retention_gap() is None


async def test_period_and_feeds_are_named_after_the_limit(tmp_path: Path) -> None:
    async with watched(tmp_path, FEED, OTHER) as process:
        await process.watch.check()
        await process.pass_time(7 * DAY, reads=(OTHER,))
        assert process.state() is State.FAILED
        gap = await process.ledger.retention_gap()
        assert gap == RetentionGap(NOON, (str(FEED),), 1, NOON + 7 * DAY)
        with capture_logs() as lines:
            await process.pass_time(2 * DAY, reads=(OTHER,))
            assert lines == []
            await process.pass_time(HOUR, reads=(FEED, OTHER))
        read_at = NOON + 9 * DAY + HOUR
        gap = await process.ledger.retention_gap()
        assert gap == RetentionGap(NOON, (str(FEED),), 1, NOON + 7 * DAY, read_at - 7 * DAY, read_at)
        assert [line["reason"] for line in lines if line["log_level"] == "error"] == [gap.sentence]
        assert f"after 2026-11-02T12:00:00Z until 2026-11-04T13:00:00Z may be missing from {FEED}" in gap.sentence
        assert process.state() is State.FAILED
        await process.pass_time(2 * DAY, reads=(FEED, OTHER))
        assert process.state() is State.HEALTHY


async def test_stop_for_too_long_is_found_before_first_poll(tmp_path: Path) -> None:
    """The saved poll is newer than the last full scan, and the machine was down after it."""
    async with watched(tmp_path) as process:
        stopped_at = NOON + HOUR
        await process.ledger.save_daemon_status(DaemonStatus(stopped_at, 1), {FEED: PollResult(stopped_at)})
        process.clock.advance((8 * DAY).total_seconds())
        process.restart()
        await process.watch.check()
        assert process.state() is State.FAILED
        await process.pass_time(MINUTE, reads=(FEED,), step=MINUTE)
        gap = await process.ledger.retention_gap()
        assert gap is not None
        read_at = NOON + 8 * DAY + MINUTE
        assert (gap.start, gap.end, gap.read_at) == (stopped_at, read_at - 7 * DAY, read_at)
        process.restart()
        await process.ledger.save_daemon_status(DaemonStatus(read_at, 1), {FEED: PollResult(read_at)})
        await process.watch.check()
        assert await process.ledger.retention_gap() == gap
        assert gap.is_displayed(read_at + GAP_DISPLAY_TIME - HOUR)
        assert not gap.is_displayed(read_at + GAP_DISPLAY_TIME)


async def test_kill_while_unread_keeps_the_gap(tmp_path: Path) -> None:
    async with watched(tmp_path) as process:
        await process.watch.check()
        await process.pass_time(8 * DAY)
        process.restart()
        await process.watch.check()
        assert process.state() is State.FAILED
        gap = await process.ledger.retention_gap()
        assert gap is not None
        assert (gap.start, gap.found_at) == (NOON, NOON + 7 * DAY)


async def test_short_stop_is_no_gap(tmp_path: Path) -> None:
    async with watched(tmp_path) as process:
        process.clock.advance((5 * DAY).total_seconds())
        await process.watch.check()
        await process.pass_time(DAY, reads=(FEED,))
        assert (process.state(), await process.ledger.retention_gap()) == (None, None)


async def test_feed_of_another_process_is_read_by_its_full_scans(tmp_path: Path) -> None:
    """The other process may save its polls weeks apart, because it does so when its health changes."""
    async with watched(tmp_path) as process:
        await process.watch.check()
        for _ in range(20):
            process.clock.advance((12 * HOUR).total_seconds())
            now = process.clock.now()
            await process.ledger.record(FEED, [], now=now, checkpoint=Checkpoint(full_scan_at=now))
            await process.watch.check()
        assert (process.state(), await process.ledger.retention_gap()) == (None, None)
        await process.pass_time(7 * DAY)
        assert process.state() is State.FAILED


@pytest.mark.parametrize("by", [30 * DAY, -30 * DAY])
async def test_jump_of_the_clock_is_no_gap(tmp_path: Path, by: timedelta) -> None:
    async with watched(tmp_path) as process:
        await process.watch.check()
        await process.pass_time(DAY, reads=(FEED,))
        process.clock.advance(HOUR.total_seconds())
        process.read(FEED)
        process.clock.jump(by)  # between a poll and the check that sees it
        await process.watch.check()
        await process.pass_time(DAY, reads=(FEED,))
        process.clock.jump(-by)
        await process.pass_time(10 * DAY, reads=(FEED,))
        assert (process.state(), await process.ledger.retention_gap()) == (None, None)


async def test_skipped_period_is_no_gap(tmp_path: Path) -> None:
    async with watched(tmp_path) as process:
        await process.watch.check()
        await process.save_switch(enabled=False, skip=True)
        await process.pass_time(9 * DAY)
        assert (process.state(), process.unread_seconds()) == (None, 0)
        process.settings = some_settings(enabled=True, on_enable="skip")
        await process.watch.check()  # the switch is not saved yet
        await process.save_switch(enabled=True, skip=True)
        await process.watch.check()
        await process.pass_time(DAY, reads=(FEED,))
        assert (process.state(), await process.ledger.retention_gap()) == (None, None)


async def test_new_feed_counts_from_its_floor(tmp_path: Path) -> None:
    """With `start_from = "now"`, a feed that was never read wants the failures after its floor."""
    async with watched(tmp_path, checkpoint=Checkpoint(local_floor=NOON)) as process:
        await process.watch.check()
        await process.pass_time(6 * DAY - HOUR)
        assert process.state() is None
        await process.pass_time(2 * DAY)
        assert process.state() is State.FAILED


async def test_new_feed_from_the_beginning_is_no_gap(tmp_path: Path) -> None:
    async with watched(tmp_path, checkpoint=Checkpoint()) as process:
        process.clock.advance((30 * DAY).total_seconds())
        await process.watch.check()
        assert process.state() is None


async def test_feed_that_was_not_watched_is_no_gap(tmp_path: Path) -> None:
    async with watched(tmp_path, FEED, OTHER) as process:
        await process.watch.check()
        await process.ledger.save_watched([FEED])
        await process.pass_time(9 * DAY, reads=(FEED,))
        await process.ledger.save_watched([FEED, OTHER])
        await process.watch.check()
        await process.pass_time(DAY, reads=(FEED, OTHER))
        assert (process.state(), await process.ledger.retention_gap()) == (None, None)


async def test_gap_names_a_bounded_number_of_feeds(tmp_path: Path) -> None:
    feeds = [Feed(f"w-{number:03}") for number in range(100)]
    async with watched(tmp_path, *feeds) as process:
        await process.watch.check()
        await process.pass_time(8 * DAY)
        gap = await process.ledger.retention_gap()
        assert gap is not None
        assert (len(gap.feeds), gap.feed_count) == (MAX_GAP_FEEDS, 100)
        assert "w-019 and 80 more" in gap.sentence


async def test_check_without_a_gap_writes_nothing(tmp_path: Path) -> None:
    async with watched(tmp_path) as process:
        wal = tmp_path / "ledger.db-wal"
        before = wal.read_bytes()
        await process.watch.check()
        await process.pass_time(5 * DAY)
        assert wal.read_bytes() == before
