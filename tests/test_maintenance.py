"""The daemon's maintenance saves what has changed, and writes nothing while nothing happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forwarder.health import Health
from forwarder.ledger import DaemonStatus, PollResult, SqliteLedger
from forwarder.maintenance import Maintenance
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed, State
from tests.factories import FEED, some_settings
from tests.ledger.ledger_files import execute_sql
from tests.virtual_clock import NOON, QuickClock
from tests.waiting import until


class MaintenanceHarness:
    """The maintenance of a daemon with a ledger, on a virtual clock."""

    def __init__(self, ledger: SqliteLedger, file: Path) -> None:
        self.ledger = ledger
        self.clock = QuickClock()
        self.health = Health(self.clock.now)
        self.polls: dict[Feed, PollResult] = {}
        settings = some_settings()
        self.maintenance = Maintenance(
            ledger, lambda: settings, lambda: self.polls, self.clock, self.health, Metrics(frozenset())
        )
        self._wal = file.with_name(file.name + "-wal")

    def written(self) -> bytes:
        """Return the bytes written to disk since the last checkpoint of the write-ahead log."""
        return self._wal.read_bytes()

    def ledger_state(self) -> State:
        return self.health.components["ledger"].state

    async def pass_time(self, by: timedelta) -> None:
        end = self.clock.now() + by
        await until(lambda: self.clock.now() >= end)


@asynccontextmanager
async def running_maintenance(folder: Path) -> AsyncIterator[MaintenanceHarness]:
    file = folder / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        daemon = MaintenanceHarness(ledger, file)
        running = asyncio.create_task(daemon.maintenance.run())
        try:
            await until(lambda: daemon.health.components.get("ledger"))
            await daemon.pass_time(timedelta(minutes=2))
            yield daemon
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_idle_maintenance_writes_nothing(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        daemon.polls[FEED] = PollResult(daemon.clock.now())
        await daemon.pass_time(timedelta(minutes=1))
        before = daemon.written()
        for _ in range(10):
            daemon.polls[FEED] = PollResult(daemon.clock.now())
            await daemon.pass_time(timedelta(minutes=1))
        assert daemon.written() == before


async def test_first_poll_of_a_feed_is_saved(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        daemon.polls[FEED] = PollResult(daemon.clock.now())
        await daemon.pass_time(timedelta(seconds=2))
        assert [each.last_poll for each in await daemon.ledger.feeds()] == [daemon.polls[FEED]]


@pytest.mark.parametrize(("interval", "reason"), [(120.0, "longest"), (60.0, "rate"), (76.0, "longest")])
async def test_other_plan_of_a_feed_is_saved(tmp_path: Path, interval: float, reason: str) -> None:
    """The command `status` would show the plan of the first poll for days."""
    async with running_maintenance(tmp_path) as daemon:
        daemon.polls[FEED] = PollResult(daemon.clock.now(), interval_seconds=60.0, reason="longest")
        await daemon.pass_time(timedelta(seconds=2))
        before = daemon.written()
        daemon.polls[FEED] = PollResult(daemon.clock.now(), interval_seconds=62.0, reason="longest")
        await daemon.pass_time(timedelta(minutes=10))
        assert daemon.written() == before
        daemon.polls[FEED] = PollResult(daemon.clock.now(), interval_seconds=interval, reason=reason)
        await daemon.pass_time(timedelta(minutes=2))
        assert [each.last_poll for each in await daemon.ledger.feeds()] == [daemon.polls[FEED]]


async def test_poll_is_saved_once(tmp_path: Path) -> None:
    """The cost of a save depends on the number of changed feeds, not on the number of all feeds."""
    others = [Feed(f"w-{number}") for number in range(3)]
    async with running_maintenance(tmp_path) as daemon, SqliteLedger(tmp_path / "ledger.db") as command_ledger:
        await daemon.ledger.add_feeds({feed: Checkpoint() for feed in others})
        daemon.polls.update({feed: PollResult(daemon.clock.now()) for feed in [FEED, *others]})
        await daemon.pass_time(timedelta(seconds=2))
        await command_ledger.save_daemon_status(
            DaemonStatus(NOON, 1), {feed: PollResult(NOON, "written over") for feed in [FEED, *others]}
        )
        again = others[-1]
        del daemon.polls[again]
        daemon.polls[again] = PollResult(daemon.clock.now())
        daemon.health.report("bus", State.FAILED, "it is missing")
        await daemon.pass_time(timedelta(seconds=2))
        saved = {each.feed: each.last_poll for each in await command_ledger.feeds()}
        assert saved.pop(again) == daemon.polls[again]
        assert {reading.error for reading in saved.values() if reading} == {"written over"}


async def test_saved_polls_of_removed_feeds_are_forgotten(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        daemon.polls.update({Feed("removed"): PollResult(NOON), FEED: PollResult(NOON)})
        await daemon.pass_time(timedelta(seconds=2))
        before = set(daemon.maintenance._saved_polls)  # noqa: SLF001  # memory is visible only there
        del daemon.polls[Feed("removed")]
        await daemon.pass_time(timedelta(seconds=2))
        after = set(daemon.maintenance._saved_polls)  # noqa: SLF001
    assert (before, after) == ({FEED, Feed("removed")}, {FEED})


async def test_changed_health_is_saved(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        daemon.health.report("bus", State.FAILED, "it is missing")
        await daemon.pass_time(timedelta(seconds=2))
        status = await daemon.ledger.daemon_status()
        assert status is not None
        assert status.components["bus"]["reason"] == "it is missing"


async def test_failing_retention_is_logged_and_tried_again(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        started = daemon.clock.now()
        with capture_logs() as lines:
            execute_sql(tmp_path / "ledger.db", "ALTER TABLE lags RENAME TO moved")
            await daemon.pass_time(timedelta(minutes=3))
        failures = [line for line in lines if line["event"] == "retention failed"]
        minutes = (daemon.clock.now() - started) / timedelta(minutes=1)
        assert 2 <= len(failures) <= minutes + 1
        assert {(line["log_level"], bool(line["reason"])) for line in failures} == {("warning", True)}
        execute_sql(tmp_path / "ledger.db", "ALTER TABLE moved RENAME TO lags")
        await daemon.pass_time(timedelta(minutes=1))
        with capture_logs() as lines:
            await daemon.pass_time(timedelta(minutes=3))
        assert lines == []


async def test_ledger_that_works_again_is_healthy_again(tmp_path: Path) -> None:
    async with running_maintenance(tmp_path) as daemon:
        execute_sql(tmp_path / "ledger.db", "ALTER TABLE metadata RENAME TO moved")
        await daemon.pass_time(timedelta(seconds=10))
        assert daemon.ledger_state() is State.FAILED
        execute_sql(tmp_path / "ledger.db", "ALTER TABLE moved RENAME TO metadata")
        await daemon.pass_time(timedelta(seconds=10))
        assert daemon.ledger_state() is State.HEALTHY
