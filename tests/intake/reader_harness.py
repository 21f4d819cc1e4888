"""The reader with its client, ledger and event builder, connected to a fake API."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.demo.sample_data import execution
from forwarder.intake.reader import Reader
from forwarder.intake.transform import EventBuilder
from forwarder.ledger import SqliteLedger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint
from tests.factories import FEED, add_feed, some_settings
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.virtual_clock import QuickClock

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WORKFLOW = FEED.workflow_id
BROKEN = b'{"executionId": "broken", "status": tru}'


@dataclass
class ReaderHarness:
    """A reader of a fake API: `add` lists an execution there, `recorded` returns the ids since the last call.

    `new_reader` returns another reader of the same ledger, as after a restart.
    """

    alloy: FakeAlloy
    clock: QuickClock
    reader: Reader
    ledger: SqliteLedger
    new_reader: Callable[[], Reader]
    wakeups: list[None] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def add(
        self, execution_id: str, outcome: Any = "failed-status", *, ago: timedelta = timedelta(), **options: Any
    ) -> None:
        raw = options.pop("raw", None)
        started = self.clock.now() - ago
        record = execution(outcome, id=execution_id, started=started, payload={}, **options)
        self.alloy.api.add(WORKFLOW, record, raw=raw)

    async def recorded(self) -> list[str]:
        return sorted(claimed.entry.execution_id for claimed in await self.ledger.claim(1000, now=self.clock.now()))

    async def read(self, *, full_scan: bool = False) -> list[str]:
        await self.reader.read(FEED, full_scan=full_scan)
        return await self.recorded()

    async def checkpoint(self) -> Checkpoint:
        return await self.ledger.checkpoint(FEED)

    def pages(self) -> list[str]:
        numbers = [request.query["page"] for request in self.alloy.requests]
        self.alloy.requests.clear()
        return numbers


CLOCKS: list[QuickClock] = []


def api_now() -> datetime:
    """Return the time by the clock of the harness that was created last."""
    return CLOCKS[-1].now()


@asynccontextmanager
async def reader_harness(
    alloy: FakeAlloy, folder: Path, initial: Checkpoint | None = None, **source: Any
) -> AsyncIterator[ReaderHarness]:
    clock = QuickClock()
    CLOCKS.append(clock)
    wakeups: list[None] = []
    settings = some_settings(
        source={"base_url": alloy.url, "page_size": 3, "requests_per_second": 1000, "timeout": "2s", **source}
    )
    async with (
        SqliteLedger(folder / "ledger.db", create=True) as ledger,
        LogsClient(settings.source, SecretStr(API_KEY), clock) as client,
    ):
        await add_feed(ledger, FEED, initial or Checkpoint())
        builder = EventBuilder.from_settings(settings)
        metrics = Metrics()

        def new_reader() -> Reader:
            return Reader(client, ledger, settings.source, builder, clock, metrics, lambda: wakeups.append(None))

        yield ReaderHarness(alloy, clock, new_reader(), ledger, new_reader, wakeups, metrics)
