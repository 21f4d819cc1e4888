"""The stages of forwarding, each measured alone in failures a second.

Fetching includes decoding, as in the client. The next stage begins with decoded executions.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.alloy.decode import decode_page
from forwarder.clock import SystemClock
from forwarder.intake.classify import Classifier
from forwarder.intake.transform import EventBuilder
from forwarder.ledger import Sent, SqliteLedger
from forwarder.model import Checkpoint, Entry, Feed
from tests.benchmarks import publishers
from tests.benchmarks.pages import NEWEST, page
from tests.benchmarks.sink import start_sink
from tests.benchmarks.source import Source, start_source
from tests.factories import some_settings

SIZE = 2048
FEED = Feed("w-0")


def classifying_and_transforming() -> float:
    settings = some_settings()
    classifier, builder = Classifier.from_settings(settings.source), EventBuilder.from_settings(settings)
    listed = decode_page(page(30, size=SIZE, failing=1)).executions

    def work() -> int:
        executions = classifier.skip_obvious_successes(listed)
        for execution in executions:
            classifier.classify(execution)
            builder.build_or_minimal(execution, FEED, NEWEST)
        return len(executions)

    return rate_of(work)


def rate_of(work: Callable[[], int], seconds: float = 1.0) -> float:
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < seconds:
        done += work()
    return done / (time.perf_counter() - began)


def publishing() -> float:
    with start_sink() as bus:
        return publishers.forwarder(bus.url, storm_detail())(1.0)


def recording_and_settling() -> float:
    """Measure the ledger as a daemon uses it: 8 feeds record pages of 30, and entries are settled in tens meanwhile."""
    with TemporaryDirectory() as folder:
        return asyncio.run(_through_the_ledger(Path(folder) / "ledger.db", storm_detail(), 21_000))


async def _through_the_ledger(file: Path, detail: bytes, count: int) -> float:
    now = SystemClock().now()
    pages = iter([[Entry(f"{at:08d}-aa0cf1a3daa6c", FEED, now, detail) for at in range(at, at + 30)]
                  for at in range(0, count, 30)])  # fmt: skip
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        began = time.perf_counter()

        async def intake() -> None:
            for entries in pages:
                await ledger.known_ids([entry.execution_id for entry in entries])
                await ledger.record(FEED, entries, now=now)

        async def delivery() -> None:
            while (await ledger.counters()).sent < count:
                claimed = await ledger.claim(160, now=now)
                batches = [claimed[start : start + 10] for start in range(0, len(claimed), 10)]
                settlements = [
                    [Sent(each.token, "6daaa0cf-1a3d-aa6c-41b5-000000000000") for each in batch] for batch in batches
                ]
                await asyncio.gather(*(ledger.settle(each, bus="bench", now=now) for each in settlements))

        await asyncio.gather(*(intake() for _ in range(8)), delivery())
        return count / (time.perf_counter() - began)


def storm_detail() -> bytes:
    (execution,) = decode_page(page(1, size=SIZE, failing=1)).executions
    return EventBuilder.from_settings(some_settings()).build(execution, FEED, NEWEST).detail


def fetching() -> float:
    """Measure the client of the logs API with pages of 30, at the default concurrency."""
    with start_source(feeds=8, depth=30, size=SIZE) as api:
        return asyncio.run(_fetched(api))


async def _fetched(api: Source, seconds: float = 1.0) -> float:
    settings = some_settings(source={"base_url": api.url, "requests_per_second": 1000}).source
    done = 0
    began = time.perf_counter()

    async def fetch(client: LogsClient, workflow: str) -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            body = (await client.fetch_page(Feed(workflow), 0, 30)).body
            done += body.count(b'"executionId"')

    async with LogsClient(settings, SecretStr("planted-alloy-key"), SystemClock()) as client:
        await asyncio.gather(*(fetch(client, workflow) for workflow in api.workflows))
    return done / (time.perf_counter() - began)


STAGES: dict[str, Callable[[], float]] = {
    "fetching": fetching,
    "classifying and transforming": classifying_and_transforming,
    "recording and settling": recording_and_settling,
    "publishing": publishing,
}
