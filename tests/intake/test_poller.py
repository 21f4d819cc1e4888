"""The poller polls each feed again and again, keeps its last poll, and starts new feeds early enough."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from forwarder.alloy.client import LogsClient, Page
from forwarder.demo.sample_data import execution
from forwarder.errors import LedgerUnavailable
from forwarder.health import Health
from forwarder.intake.allocation import MAX_QUIET_SHARE
from forwarder.intake.long_scans import LONG_SCAN_PAGES
from forwarder.intake.poll_plan import IntervalReason
from forwarder.intake.poller import Poller
from forwarder.ledger import Fleet, FleetMember, PollResult, SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, some_settings
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.intake.reader_harness import CLOCKS, WORKFLOW
from tests.intake.scheduler_harness import failing_every
from tests.virtual_clock import QuickClock
from tests.waiting import until


@dataclass
class PollerHarness:
    """A poller with the real client and ledger. `new_poller` returns another one, as after a restart or reload."""

    poller: Poller
    ledger: SqliteLedger
    clock: QuickClock
    health: Health
    new_poller: Callable[[], Poller]

    async def poll_all(self) -> None:
        """Run the poller until each feed was polled."""
        running = asyncio.create_task(self.poller.run())
        try:
            await until(lambda: set(self.poller.polls) == set(self.poller.scheduler.feeds) != set())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def recorded(self) -> list[str]:
        return sorted(claimed.entry.execution_id for claimed in await self.ledger.claim(100, now=self.clock.now()))


@asynccontextmanager
async def poller_harness(alloy: FakeAlloy, folder: Path, **source: Any) -> AsyncIterator[PollerHarness]:
    clock = QuickClock()
    CLOCKS.append(clock)
    settings = some_settings(source={"base_url": alloy.url, "requests_per_second": 1000, "timeout": "2s", **source})
    async with (
        SqliteLedger(folder / "ledger.db", create=True) as ledger,
        LogsClient(settings.source, SecretStr(API_KEY), clock) as client,
    ):
        health = Health(clock.now)

        def new_poller() -> Poller:
            return Poller(client, ledger, settings, clock, health, Metrics(), lambda: None)

        yield PollerHarness(new_poller(), ledger, clock, health, new_poller)


async def test_feed_is_polled_again_and_its_last_poll_is_kept(alloy: FakeAlloy, tmp_path: Path) -> None:
    async with poller_harness(alloy, tmp_path, workflows=[WORKFLOW]) as harness:
        running = asyncio.create_task(harness.poller.run())
        try:
            await until(lambda: FEED in harness.poller.polls)
            first = harness.poller.polls[FEED]
            await until(lambda: harness.poller.polls[FEED].at > first.at)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert first.error == ""


async def test_discovered_feed_starts_one_interval_earlier(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The feed may have existed since shortly after the last discovery."""
    source = {"workflows": [], "discover": True, "discover_interval": "10m", "start_from": "now"}
    async with poller_harness(alloy, tmp_path, **source) as harness:
        for id_, seconds in (("earlier", 900), ("within", 300)):
            started = harness.clock.now() - timedelta(seconds=seconds)
            alloy.api.add("v", execution("failed-status", id=id_, started=started, payload={}), user_id="u1")
        assert await harness.poller.run_once() == []
        assert await harness.recorded() == ["within"]


async def test_feed_that_failed_often_is_polled_first_after_a_restart(alloy: FakeAlloy, tmp_path: Path) -> None:
    quiet, hot = Feed("quiet"), Feed("hot")
    source = {"workflows": [quiet, hot], "concurrency": 1, "start_from": "beginning"}
    async with poller_harness(alloy, tmp_path, **source) as harness:
        for number in range(10):
            failed = execution("failed-status", id=f"f-{number}", started=harness.clock.now(), payload={})
            alloy.api.add("hot", failed)
        alloy.api.add_workflow("quiet")
        await harness.poll_all()
        await asyncio.sleep(0.2)  # a request of the poll that was cancelled may still arrive
        alloy.requests.clear()
        harness.poller = harness.new_poller()
        await harness.poll_all()
    assert "/hot/" in alloy.requests[0].path


async def test_poll_of_a_removed_feed_is_forgotten(alloy: FakeAlloy, tmp_path: Path) -> None:
    """Discovered feeds come and go for months. A removed feed is forgotten after its last poll."""
    source = {"workflows": [WORKFLOW], "discover": True, "discover_interval": "1m"}
    async with poller_harness(alloy, tmp_path, **source) as harness:
        removed = Feed("v", "u1")
        alloy.api.add("v", execution("failed-status", id="f-1", started=harness.clock.now(), payload={}), user_id="u1")
        running = asyncio.create_task(harness.poller.run())
        try:
            await until(lambda: removed in harness.poller.polls)
            alloy.api.remove_workflow("v")
            await until(lambda: set(harness.poller.polls) == {FEED})
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_long_scans_do_not_hold_up_other_feeds(
    alloy: FakeAlloy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, read_page, released = ["long-1", "long-2"], LogsClient.fetch_page, asyncio.Event()

    async def slow_at_depth(client: LogsClient, feed: Feed, page: int, limit: int) -> Page:
        if page > LONG_SCAN_PAGES:
            await released.wait()
        return await read_page(client, feed, page, limit)

    monkeypatch.setattr(LogsClient, "fetch_page", slow_at_depth)
    async with poller_harness(
        alloy, tmp_path, workflows=[*long, WORKFLOW], concurrency=2, page_size=1, start_from="beginning"
    ) as harness:
        for number in range(3 * LONG_SCAN_PAGES):
            for workflow in long:
                alloy.api.add(
                    workflow, execution("failed-status", id=f"{workflow}-{number}", started=harness.clock.now())
                )
        alloy.api.add(WORKFLOW, execution("failed-status", id="short", started=harness.clock.now()))
        running = asyncio.create_task(harness.poller.run())
        try:
            await until(lambda: set(harness.poller.polls) == {FEED})
            assert "short" in await harness.recorded()
            released.set()
            await until(lambda: len(harness.poller.polls) == 3)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_feed_removed_during_its_poll_is_forgotten(alloy: FakeAlloy, tmp_path: Path) -> None:
    """A removed feed whose last poll failed is removed for good by the next discovery, which a poll may outlast."""
    async with poller_harness(alloy, tmp_path, workflows=[WORKFLOW]) as harness:
        await harness.ledger.add_feeds({Feed("removed"): Checkpoint()})
        await harness.poller.run_once()
        await harness.poller._poll(Feed("removed"))  # noqa: SLF001  # the end of a poll that outlasted the removal
        assert set(harness.poller.polls) == {FEED}


async def test_forgotten_poll_requests_a_save_of_the_status(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The number of polls is the same if a new feed was polled meanwhile, and its first poll must be saved."""
    async with poller_harness(alloy, tmp_path, workflows=[WORKFLOW]) as harness:
        await harness.poller.run_once()
        harness.poller.polls[Feed("removed")] = PollResult(harness.clock.now())
        harness.health.changed.clear()
        await harness.poller._watched.save()  # noqa: SLF001  # a change of the feeds without a change of health
        assert harness.health.changed.is_set()


def fleet_of(*ids: str) -> Fleet:
    """Return a fleet of these members, of which the first is this process."""
    return Fleet(tuple(FleetMember(each, "host") for each in ids), ids[0])


def fleet_with_another_owner(feed: Feed) -> Fleet:
    """Return a fleet of two in which the other process polls this feed."""
    fleets = (fleet_of("own", f"other-{number}") for number in count())
    return next(fleet for fleet in fleets if not fleet.is_own(feed))


async def test_feed_of_another_process_is_forgotten(alloy: FakeAlloy, tmp_path: Path) -> None:
    """The other process saves its polls and observations in the ledger. Older ones must not replace them here."""
    async with poller_harness(alloy, tmp_path, workflows=[WORKFLOW]) as harness:
        running = asyncio.create_task(harness.poller.run())
        try:
            await until(lambda: FEED in harness.poller.polls)
            harness.poller.assign(fleet_with_another_owner(FEED))
            await until(lambda: not harness.poller.polls)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        now, checkpoint = harness.clock.now(), await harness.ledger.checkpoint(FEED)
        observed = replace(checkpoint, activity=replace(failing_every(10.0), at=now))
        await harness.ledger.record(FEED, [], now=now, checkpoint=observed)
        harness.poller.assign(fleet_of("own"))
        await harness.poll_all()
        assert harness.poller.polls[FEED].reason == IntervalReason.OFTEN


async def test_process_of_a_fleet_has_its_part_of_feeds_and_requests(alloy: FakeAlloy, tmp_path: Path) -> None:
    """Four processes share 8 requests a second: each has 2, and uses a quarter of them for quiet feeds."""
    workflows = [f"w-{number}" for number in range(40)]
    async with poller_harness(alloy, tmp_path, workflows=workflows, requests_per_second=8) as harness:
        for workflow in workflows:
            alloy.api.add_workflow(workflow)
        harness.poller.assign(fleet_of("own", "a", "b", "c"))
        await harness.poll_all()
        own = len(harness.poller.scheduler.feeds)
        assert 0 < own < len(workflows)
        intervals = [poll.interval_seconds or 0.0 for poll in harness.poller.polls.values()]
        assert min(intervals) >= own / (MAX_QUIET_SHARE * 2)


@pytest.mark.parametrize("operation", ["feeds", "add_feeds", "save_watched"])
async def test_poller_waits_for_a_ledger_that_cannot_be_used(
    alloy: FakeAlloy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    async with poller_harness(alloy, tmp_path, workflows=[WORKFLOW]) as harness:
        alloy.api.add_workflow(WORKFLOW)
        failing = FailingOperation(getattr(harness.ledger, operation), failures=2)
        monkeypatch.setattr(harness.ledger, operation, failing)
        await harness.poll_all()
        assert failing.failures == 0
        assert harness.health.components["ledger"].reason == "the disk is full"


async def test_discovery_waits_for_a_ledger_that_cannot_be_used(
    alloy: FakeAlloy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with poller_harness(alloy, tmp_path, discover=True, discover_interval="1h") as harness:
        alloy.api.add("v", execution("failed-status", id="f-1", started=harness.clock.now(), payload={}), user_id="u1")
        failing = FailingOperation(harness.ledger.add_feeds, failures=2)
        monkeypatch.setattr(harness.ledger, "add_feeds", failing)
        await harness.poll_all()
        assert Feed("v", "u1") in harness.poller.polls
        assert failing.failures == 0


class FailingOperation:
    """An operation of a ledger that fails a few times."""

    def __init__(self, operation: Callable[..., Awaitable[Any]], *, failures: int) -> None:
        self._operation = operation
        self.failures = failures

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("the disk is full", hint="free some space")
        return await self._operation(*arguments, **options)
