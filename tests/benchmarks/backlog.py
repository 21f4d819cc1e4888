"""Ledgers with a backlog: entries that are owed, recorded as intake records them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from forwarder.ledger import SqliteLedger
from forwarder.model import Checkpoint, Entry, Feed
from tests.benchmarks.once import copied

FEED = Feed("w-0")
PAGE = 1000


def owe(file: Path, entries: int, *, size: int = 1024) -> Path:
    """`size` is that of an entry's detail, in bytes."""
    return copied(f"owed-{entries}-{size}.db", lambda made: asyncio.run(_owe(made, entries, size)), file)


async def _owe(file: Path, entries: int, size: int) -> None:
    now = datetime.now(UTC)
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        for start in range(0, entries, PAGE):
            numbers = range(start, min(start + PAGE, entries))
            await ledger.record(FEED, [Entry(f"owed-{each:07d}", FEED, now, detail(each, size)) for each in numbers],
                                now=now)  # fmt: skip


def detail(number: int, size: int) -> bytes:
    """As hard to compress as an event is: to about a third."""
    start = f'{{"version":"1","executionId":"owed-{number:07d}","workflowId":"w-0","forwarder":{{}},"results":"'
    words = " ".join(f"{number * (at + 7919) % 99_991:x} order" for at in range(size // 10))
    return (start + words)[: size - 2].encode() + b'"}'
