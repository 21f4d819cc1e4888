"""The poller polls each feed again and again, keeps its last poll, and starts new feeds early enough."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.demo.sample_data import execution
from forwarder.health import Health
from forwarder.intake.poller import Poller
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from tests.factories import FEED, some_settings
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.intake.reader_harness import CLOCKS, WORKFLOW
from tests.virtual_clock import QuickClock
from tests.waiting import until


@dataclass
class PollerHarness:
    """A poller with the real client and ledger."""

    poller: Poller
    ledger: SqliteLedger
    clock: QuickClock

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
        yield PollerHarness(Poller(client, ledger, settings, clock, health, Metrics(), lambda: None), ledger, clock)


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
