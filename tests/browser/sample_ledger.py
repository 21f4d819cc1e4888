"""A ledger with the failures of one day, for screenshots."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec

from forwarder.ledger import Dead, Sent, SqliteLedger
from forwarder.model import Checkpoint, Entry, Feed

FEEDS = [Feed("sync-orders"), Feed("book-shipments"), Feed("update-contacts", "user-42")]
MESSAGES = (
    ("the warehouse does not know sku TEA-001", "422"),
    ("the shop's API answered 503, twenty times in a row", "503"),
    ("customer 8817 does not exist", "404"),
    ("connect ETIMEDOUT erp.example:443", "ETIMEDOUT"),
    ("the carrier refuses parcels above 31.5 kg", ""),
)
MINUTE = timedelta(minutes=1)


def record_one_day(file: Path) -> int:
    """Record a day of failures, all sent. Return their number."""
    # The browser's driver runs an event loop in the calling thread.
    with ThreadPoolExecutor(1) as thread:
        draw = Random(11)  # noqa: S311  # a history, not a secret
        return thread.submit(lambda: asyncio.run(_record(file, draw, datetime.now(UTC)))).result()


def record_dead_letters(file: Path, count: int) -> None:
    """Record failures that the bus has rejected, one of them with a long message, in a ledger that may be in use."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(_record_dead(file, count, datetime.now(UTC)))).result()


async def _record_dead(file: Path, count: int, now: datetime) -> None:
    async with SqliteLedger(file) as ledger:
        messages = ("the carrier refuses parcels above 31.5 kg", f"the response was {'no JSON and ' * 40}empty")
        entries = []
        for number in range(count):
            id_, error = f"dead-{number}", {"message": messages[number == 0]}
            detail = {"executionId": id_, "workflowId": FEEDS[0].workflow_id, "error": error, "forwarder": {}}
            entries.append(Entry(id_, FEEDS[0], now, msgspec.json.encode(detail)))
        await ledger.record(FEEDS[0], entries, now=now)
        claimed = await ledger.claim(count, now=now)
        await ledger.settle([Dead(each.token, "MalformedDetail", "Detail is malformed.") for each in claimed], now=now)


async def _record(file: Path, draw: Random, now: datetime) -> int:
    count = 0
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({feed: Checkpoint(floor=now) for feed in FEEDS})
        for back in range(1439, 2, -1):
            if draw.random() > (0.6 if back in range(20, 34) else 0.12):
                continue
            found_at, feed = now - back * MINUTE, draw.choice(FEEDS)
            entries = [
                _entry(draw, feed, found_at, f"{count + number:024x}") for number in range(draw.choice((1, 1, 2, 3)))
            ]
            count += await ledger.record(feed, entries, now=found_at)
            claimed = await ledger.claim(100, now=found_at)
            sent_at = found_at + timedelta(milliseconds=draw.randint(20, 200))
            await ledger.settle([Sent(each.token, f"{each.token:08x}-aws") for each in claimed], now=sent_at)
    return count


def _entry(draw: Random, feed: Feed, found_at: datetime, execution_id: str) -> Entry:
    stopped = found_at - timedelta(milliseconds=int(draw.lognormvariate(6.5, 0.8)))
    message, code = draw.choice(MESSAGES)
    error = {"message": message, "blockId": "f2eb053c-d04a-1a6c-8cd1-dbd6b8d016d0"} | ({"code": code} if code else {})
    detail = {
        "version": "1",
        "executionId": execution_id,
        "workflowId": feed.workflow_id,
        "error": error,
        "forwarder": {},
    }
    return Entry(execution_id, feed, stopped, msgspec.json.encode(detail))
