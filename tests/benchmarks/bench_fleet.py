"""A fleet: the throughput of one, two and four processes on one table, and the capacity that they consume.

The table is in dynalite, one process of Node.js, which also limits the throughput. The capacity units are those that it
reports, by the rules of DynamoDB. Each failure has 2 KB.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS, table_definition
from forwarder.ledger.dynamodb.table import Table
from forwarder.settings.validators.ledger_url import TableLocation
from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import STORM
from tests.benchmarks.sink import start_sink
from tests.benchmarks.source import start_source
from tests.harness.dynalite import new_table_name, running_dynalite, stop_dynalite, table_client
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess

GOALS = ()

SIZES = (1, 2, 4)
FEEDS = 200
RECORD_BYTES = 2048

HEARTBEAT_SECONDS = 5
"""The default of `ledger.heartbeat_interval`."""

MILLION = 1_000_000
DAY_SECONDS = 86_400
MAX_SECONDS = 600.0

DOLLARS_PER_MILLION_READS, DOLLARS_PER_MILLION_WRITES = 0.125, 0.625
"""On demand, us-east-1; see https://aws.amazon.com/dynamodb/pricing/on-demand/."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Units:
    """Capacity units."""

    read: float
    write: float

    def __sub__(self, other: "Units") -> "Units":
        return Units(self.read - other.read, self.write - other.write)

    def times(self, factor: float) -> "Units":
        return Units(self.read * factor, self.write * factor)

    @property
    def dollars(self) -> float:
        return (self.read * DOLLARS_PER_MILLION_READS + self.write * DOLLARS_PER_MILLION_WRITES) / MILLION

    @property
    def cells(self) -> list[str]:
        return [f"{self.read:,.0f}", f"{self.write:,.0f}", f"{self.dollars:.4f}"]


def run(bench: Bench) -> None:
    try:
        rows = [*storms(bench), *quiet(bench)]
    finally:
        stop_dynalite()
    bench.table("Capacity units", ["", "read units", "write units", "dollars"], rows)


def storms(bench: Bench) -> list[list[str]]:
    """Measure the rate at which failures that are listed at once are recorded and sent."""
    failures = 2_000 if bench.quick else 20_000
    rows = []
    for size in SIZES:
        results = [storm(size, failures) for _ in range(1 if bench.quick else 3)]
        rates = [rate for rate, _ in results]
        rates_text = ", ".join(f"{rate:,.0f}" for rate in rates)
        bench.note(f"  {size} processes: {median(rates):,.0f} failures/s, from {failures:,} (rounds: {rates_text})")
        units = results[-1][1]
        rows.append([f"million failures, {size} processes", *units.times(MILLION / failures).cells])
    return rows


def storm(processes: int, failures: int) -> tuple[float, Units]:
    """Return the failures per second from the first to the last event, and the units of all processes.

    The fleet is switched on when all processes have started, so that the first one does not read all feeds.
    """
    with (
        start_source(feeds=FEEDS, depth=failures // FEEDS, failing=1, size=RECORD_BYTES) as api,
        start_sink() as bus,
        fleet(processes, api.url, bus.url, api.workflows, heartbeat_seconds=1, enabled=False) as (location, daemons),
    ):
        for daemon in daemons:
            daemon.wait_until(daemon.has_started)
        asyncio.run(with_ledger(location, lambda ledger: switch(ledger, enabled=True)))
        began, first = wait_until_accepted(bus, 1)
        ended, accepted = wait_until_accepted(bus, failures)
        for daemon in daemons:
            daemon.stop()
        return (accepted - first) / (ended - began), consumed(location)


def wait_until_accepted(bus: Any, count: int) -> tuple[float, int]:
    """Return when the bus had accepted so many events, and how many it had by then. Raise TimeoutError."""
    end = time.perf_counter() + MAX_SECONDS
    while (accepted := bus.accepted_count()) < count:
        if time.perf_counter() > end:
            raise TimeoutError(f"{accepted} of {count} events")
        time.sleep(0.02)
    return time.perf_counter(), accepted


def quiet(bench: Bench) -> list[list[str]]:
    """Measure an idle fleet, and polls that find nothing."""
    seconds = 3 * HEARTBEAT_SECONDS if bench.quick else 12 * HEARTBEAT_SECONDS
    rows = []
    for size in SIZES:
        units, _ = measure_quiet(size, seconds, interval="1h")
        rows.append([f"idle day of a process, {size} processes", *units.times(DAY_SECONDS / seconds / size).cells])
    idle, _ = measure_quiet(1, seconds, interval="1h")
    polling, polls = measure_quiet(1, seconds, interval="1s")
    bench.note(f"  {polls:,} empty polls in {seconds} s")
    rows.append(["million empty polls", *(polling - idle).times(MILLION / polls).cells])
    return rows


def measure_quiet(processes: int, seconds: int, *, interval: str) -> tuple[Units, int]:
    """Return the units that all processes consume in this time without a failure, and their polls.

    The units are those of whole heartbeats, so both ends are read just after one.
    """
    source = {"min_interval": interval, "max_interval": interval}
    with (
        start_source(feeds=FEEDS, depth=5, failing=0, size=RECORD_BYTES) as api,
        start_sink() as bus,
        fleet(processes, api.url, bus.url, api.workflows, source=source) as (table, _),
    ):
        end = time.monotonic() + MAX_SECONDS
        while api.pages() < FEEDS and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(3 * HEARTBEAT_SECONDS)  # each feed has found its owner, and what changed is saved
        before, pages = consumed(table), api.pages()
        time.sleep(seconds)
        return consumed(table) - before, api.pages() - pages


@contextmanager
def fleet(
    processes: int,
    api: str,
    bus: str,
    workflows: Sequence[str],
    *,
    source: dict[str, Any] | None = None,
    heartbeat_seconds: int = HEARTBEAT_SECONDS,
    enabled: bool = True,
) -> Iterator[tuple[TableLocation, list[ForwarderProcess]]]:
    """Start processes on a new table. `enabled` is the switch of all."""
    location = TableLocation(new_table_name(), "eu-west-1", running_dynalite().endpoint_url)
    asyncio.run(create_table(location))
    asyncio.run(with_ledger(location, lambda ledger: switch(ledger, enabled=enabled)))
    url = f"dynamodb://{location.table}?region={location.region}&endpoint_url={location.endpoint_url}"
    with TemporaryDirectory() as folder, ExitStack() as stack:
        daemons = []
        for number in range(processes):
            directory = Path(folder, str(number))
            directory.mkdir()
            sections = STORM | {
                "run": {"log_level": "info"},
                "ledger": {"url": url, "heartbeat_interval": f"{heartbeat_seconds}s"},
            }
            sections["source"] = sections["source"] | {"workflows": list(workflows)} | (source or {})
            installation = Installation(directory, alloy=api, bus=bus, **sections)
            installation.create_vault()
            daemons.append(stack.enter_context(installation.start()))
        yield location, daemons


async def create_table(location: TableLocation) -> None:
    async with table_client(location.endpoint_url) as client:
        await client.create_table(**table_definition(location.table))


async def with_ledger(location: TableLocation, work: Callable[[DynamoLedger], Coroutine[Any, Any, T]]) -> T:
    """Return the result of work on the ledger of the fleet, without joining it."""
    retention = Retention(timedelta(days=90), timedelta(days=1))
    async with DynamoLedger(location, lambda: table_client(location.endpoint_url), retention) as ledger:
        return await work(ledger)


async def switch(ledger: DynamoLedger, *, enabled: bool) -> None:
    await ledger.save_fleet_switch(enabled=enabled, skip=False, now=datetime.now(UTC))


def consumed(location: TableLocation) -> Units:
    """Return the units of all processes as of their last heartbeats, also of those that have left."""

    async def read() -> Units:
        table = Table(location, lambda: table_client(location.endpoint_url))
        try:
            items = [item async for item in table.query(MEMBERS) if item["s"] != LEDGER.s]
        finally:
            await table.close()
        return Units(sum(item["ru"] for item in items), sum(item["wu"] for item in items))

    return asyncio.run(read())
