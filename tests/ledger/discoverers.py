"""Processes on a shared table that discover the feeds of users from a fake API. They poll nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.demo.sample_data import execution
from forwarder.health import Health
from forwarder.intake.discovery_loop import DiscoveryLoop
from forwarder.intake.scheduler import Scheduler
from forwarder.intake.source_health import SourceHealth
from forwarder.intake.watched_feeds import WatchedFeeds
from forwarder.ledger import shard_of
from forwarder.metrics import Metrics
from forwarder.model import Feed
from tests.factories import some_settings
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.intake.scheduler_harness import QUIET
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON, QuickClock

USERS = [f"u-{number}" for number in range(40)]


class Discoverer:
    """A process with its discovery. Its polls are not made, and succeed."""

    def __init__(self, process: Process, client: LogsClient, *workflows: str, discover: bool) -> None:
        self.process = process
        self.clock = clock = QuickClock()
        source = {"workflows": list(workflows), "discover": discover, "start_from": "now"}
        settings = some_settings(source=source).source
        self._scheduler = Scheduler(settings, clock)
        health = SourceHealth(Health(clock.now))
        self.watched = WatchedFeeds(process.ledger, settings, clock, self._scheduler, health, Metrics(), lambda _: None)
        self._loop = DiscoveryLoop(client, settings, clock, health, self.watched, lambda: 0, lambda _: None)

    async def beat(self, times: int = 1) -> None:
        """Write heartbeats, and follow the other processes as `DiscoveryLoop.follow` does."""
        for _ in range(times):
            self.watched.assign(await self.process.ledger.beat())
            if self.watched.changed_elsewhere.is_set():
                self.watched.changed_elsewhere.clear()
                await self.watched.refresh()

    async def discover(self) -> None:
        await self._loop.discover()

    async def poll(self) -> None:
        while (feed := self._scheduler.claim_due()[0]) is not None:
            self._scheduler.record_success(feed, QUIET, 1)
        await self.watched.save()

    def forget_list(self) -> None:
        """Let the ledger read the list of feeds again, as it does after a minute."""
        self.process.ledger._listed_at = None  # noqa: SLF001  # no clock of the test decides it

    @property
    def feeds(self) -> list[Feed]:
        """Return the feeds that this process polls."""
        return self._scheduler.feeds

    @property
    def users(self) -> list[str]:
        """Return the users whose feeds this process polls."""
        return sorted(feed.user_id or "" for feed in self._scheduler.feeds)

    async def marked(self) -> set[Feed]:
        """Return the feeds that the table marks as watched, as a process reads it that starts now."""
        await self.process.ledger.beat()
        return {each.feed for each in await self.process.ledger.feeds() if each.watched}


@dataclass
class Discoverers:
    """The processes of a test, and the API that they share. Each user has the workflow `w`."""

    table: SharedTable
    alloy: FakeAlloy
    stack: AsyncExitStack
    started: list[Discoverer] = field(default_factory=list)

    async def create(self, *workflows: str, discover: bool = True) -> Discoverer:
        """Return a process that has not joined."""
        settings = some_settings(source={"base_url": self.alloy.url, "requests_per_second": 1000}).source
        client = await self.stack.enter_async_context(LogsClient(settings, SecretStr(API_KEY), QuickClock()))
        return Discoverer(await self.table.start(), client, *workflows, discover=discover)

    async def start(self, *workflows: str) -> Discoverer:
        """Start a process, which joins."""
        process = await self.create(*workflows)
        process.watched.assign(await process.process.ledger.beat())
        await process.watched.restore()
        return process

    async def watching(self, count: int) -> list[Discoverer]:
        """Start processes that know of each other, and have discovered all feeds."""
        processes = [await self.start() for _ in range(count)]
        for _ in range(2):
            await beat(*processes)
            for each in processes:
                await each.discover()
        await beat(*processes)
        await beat(*processes)
        return processes

    def add_users(self, shards: frozenset[int]) -> set[str]:
        """Add users of these shards, and return them."""
        users = {user_id for user_id in (f"late-{number}" for number in range(60)) if shard_of(user_id) in shards}
        for user_id in users:
            self.add_user(user_id)
        return users

    async def pair(self) -> tuple[Discoverer, Discoverer]:
        """Start two processes that know of each other."""
        one, two = await self.start(), await self.start()
        await one.beat()
        self.alloy.requests.clear()
        return one, two

    def add_user(self, user_id: str) -> None:
        self.alloy.api.add("w", execution("success", id=f"of-{user_id}", started=NOON), user_id=user_id)

    def listed_users(self) -> list[str]:
        """Return the users whose workflows were requested since the last call."""
        users = [each.query["userId"] for each in self.alloy.requests if "userId" in each.query]
        self.alloy.requests.clear()
        return sorted(users)


async def beat(*processes: Discoverer) -> None:
    for each in processes:
        await each.beat()


async def unpolled(*processes: Discoverer) -> set[str]:
    """Return the users whose feeds none of these processes polls, although the table has them."""
    feeds = {each.feed for each in await processes[0].process.ledger.feeds()}
    return {feed.user_id or "" for feed in feeds if not any(feed in each.feeds for each in processes)}


@pytest.fixture
async def discoverers(table: SharedTable) -> AsyncIterator[Discoverers]:
    with FakeAlloy(now=lambda: NOON) as alloy:
        async with AsyncExitStack() as stack:
            found = Discoverers(table, alloy, stack)
            for user_id in USERS:
                found.add_user(user_id)
            yield found
